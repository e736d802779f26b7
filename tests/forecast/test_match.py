"""Comparisons at equal cost: epochs against brute force, schedules that are kept, and operations that are counted."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import Lab, ignore
from world import World

from sota_bench.errors import UserError
from sota_bench.forecast import counted_stage
from sota_bench.forecast.combination import Combinations
from sota_bench.forecast.flops import FlopCounter
from sota_bench.forecast.match import scaled_epochs, sentence, settle_schedules
from sota_bench.forecast.predict import Prediction, predict
from sota_bench.forecast.predictor import Predictor
from sota_bench.grid import load
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.plan.plan import Plan
from sota_bench.stages.protocol import RunContext

phases = st.lists(st.tuples(st.integers(1, 6), st.floats(0.5, 8)), min_size=1, max_size=3)


@settings(deadline=None)
@given(phases, st.floats(0.5, 80))
def test_no_factor_comes_nearer_to_the_budget(written: list[tuple[int, float]], budget: float) -> None:
    epochs, costs = [count for count, _ in written], [cost for _, cost in written]

    def off(counts: list[int]) -> float:
        return abs(sum(count * cost for count, cost in zip(counts, costs, strict=True)) - budget)

    scaled = scaled_epochs(epochs, costs, budget)
    assert min(scaled) >= 1
    total = sum(count * cost for count, cost in written)
    factors = [(step + 0.3371) / 100 for step in range(int(100 * max(2.0, 2 * budget / total)))]
    others = min(off([max(1, math.floor(factor * count + 0.5)) for count in epochs]) for factor in factors)
    assert off(scaled) <= others + 1e-6 * budget


def test_phases_keep_their_proportions() -> None:
    assert scaled_epochs([2, 4], [1.0, 1.0], 12.0) == [4, 8]
    assert scaled_epochs([6, 3], [1.0, 4.0], 6.0) == [2, 1]
    assert scaled_epochs([5], [1.0], 5.2) == [5]
    assert scaled_epochs([3], [10.0], 1.0) == [1]


GRID = """
[grid]
match = "{match}"
seeds = {seeds}
[data]
source = "folder:{images}"
[recipe]
backbone = "test_resnet"
batch_size = 16
[factors]
resize = ["32x4", "16x4", "16x2 32x2"]
tta = ["off", "flip"]
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "store", "cpu", 2)


def written(lab: Lab, folder: Path, match: str = "flops", seeds: str = "[0, 1]") -> Path:
    file = folder / "grid.toml"
    file.write_text(GRID.format(match=match, images=lab.images, seeds=seeds))
    return file


def pixels(plan: Plan) -> dict[str, float]:
    """Operations in proportion to pixels, by training stage."""
    return {s.key: float(s.params.phase.size) ** 2 for s in plan.stages.values() if s.kind == "train"}


def test_every_cell_gets_the_baseline_s_operations(
    lab: Lab, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlopCounter, "per_image", lambda self, plan: pixels(plan))
    grid = settle_schedules(load(written(lab, tmp_path)), machine, measure=True)
    plan, _ = make_plan(grid, machine)
    trained = {trial.trial.cell.id: [(p.size, p.epochs) for p in trial.phases] for trial in plan.trials}
    # 4 epochs at 32 px cost as much as 16 at 16 px; 2 + 2 make 5/8 of it, 3 + 3 make 15/16
    assert trained["c00"] == [(32, 4)]
    assert trained["c02"] == trained["c03"] == [(16, 16)]
    assert trained["c04"] == [(16, 3), (32, 3)]
    assert {trial.trial.cell.text["resize"] for trial in plan.trials} == {"32x4", "16x4", "16x2 32x2"}
    with_tta = [trial for trial in plan.trials if trial.trial.cell.id in ("c02", "c03") and trial.trial.seed == 0]
    assert with_tta[0].training == with_tta[1].training
    text = sentence("flops", grid.matched)
    assert "c02 trains 16x16 instead of 16x4" in text and "at most 6% more or less" in text


def test_without_a_baseline_cell_the_budget_is_that_of_the_first_levels(
    lab: Lab, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlopCounter, "per_image", lambda self, plan: pixels(plan))
    file = written(lab, tmp_path)
    file.write_text(file.read_text().replace("[data]", 'design = "leave-one-out"\n[data]'))
    grid = load(file)
    assert grid.baseline_cell is None and grid.cells()[0].text == {"resize": "16x2 32x2", "tta": "flip"}
    matched = settle_schedules(grid, machine, measure=True).matched
    assert matched.keys() == {cell.id for cell in grid.cells()}
    # 48 images for 4 epochs at 32 px, the first level; the cell of all last levels costs 5/8 of that as written
    assert all(cell.budget == 48 * 4 * 32**2 for cell in matched.values())
    assert matched["c00"].cost_written == pytest.approx(5 / 8 * matched["c00"].budget)
    assert matched["c00"].schedule == "16x3 32x3" and matched["c01"].schedule == "32x4"


def test_every_cell_gets_the_baseline_s_minutes_and_pays_its_first_steps_once(
    lab: Lab, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    def predicted(self: Predictor, plan: Plan, workers: int) -> Prediction:
        return predict(plan, Combinations(plan, workers), world.measure, list(plan.stages), 0.0)

    monkeypatch.setattr(Predictor, "calibrate", lambda *arguments: None)
    monkeypatch.setattr(Predictor, "predict", predicted)
    grid = settle_schedules(load(written(lab, tmp_path, "minutes")), machine, measure=True)
    # An epoch takes 48 x 1e-5 x 32^2 s at 32 px and a fourth of it at 16 px; each phase takes 0.5 s more.
    epoch = 48 * 1e-5 * 32**2 / 60
    budget = 0.5 / 60 + 4 * epoch
    assert {cell: matched.schedule for cell, matched in grid.matched.items() if cell in ("c00", "c02", "c04")} == {
        "c00": "32x4", "c02": "16x16", "c04": "16x2 32x2"
    }  # fmt: skip
    assert all(matched.budget == pytest.approx(budget) for matched in grid.matched.values())
    assert grid.matched["c02"].cost == pytest.approx(budget)
    assert grid.matched["c04"].cost == pytest.approx(2 * 0.5 / 60 + 2.5 * epoch)


def test_schedules_stay_when_measurements_change(
    lab: Lab, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlopCounter, "per_image", lambda self, plan: pixels(plan))
    file = written(lab, tmp_path)
    first = settle_schedules(load(file), machine, measure=True)
    monkeypatch.setattr(FlopCounter, "per_image", lambda self, plan: dict.fromkeys(pixels(plan), 1.0))
    again = settle_schedules(load(file), machine, measure=True)
    assert again.schedules == first.schedules
    assert make_plan(again, machine)[0].stages.keys() == make_plan(first, machine)[0].stages.keys()
    other_seeds = settle_schedules(load(file, seeds=[5]), machine, measure=True)
    assert other_seeds.schedules == first.schedules
    changed = settle_schedules(load(file, ["recipe.batch_size=8"]), machine, measure=True)
    assert changed.schedules != first.schedules


def test_a_grid_that_is_not_matched_yet_says_what_to_do(lab: Lab, tmp_path: Path, machine: Machine) -> None:
    with pytest.raises(UserError, match="not matched for minutes yet; start with run"):
        settle_schedules(load(written(lab, tmp_path, "minutes")), machine, measure=False)
    assert not machine.store.exists()


def test_matching_epochs_changes_nothing(lab: Lab, tmp_path: Path, machine: Machine) -> None:
    grid = load(written(lab, tmp_path, "epochs"))
    assert settle_schedules(grid, machine, measure=True) is grid


def test_operations_are_counted_forward_and_backward(lab: Lab) -> None:
    ran = lab.run('resize = "32x1"')
    stage = ran.stage("train")
    inputs = {role: lab.folders[key] for role, key in stage.parents.items()}
    workspace = lab.folder / "counted"
    workspace.mkdir()
    counted = counted_stage.execute(stage, RunContext(inputs, workspace, "cpu", ignore)).values
    assert counted["counted_images"] == 48
    forward = ran.evaluated()["flops"]
    # the backward pass costs twice the forward one, but for the first layer, whose images need no gradient
    assert 2.5 * forward < counted["counted_flops"] / 48 < 3.0 * forward


@pytest.mark.slow
def test_counting_through_the_engine_is_kept_and_exact(lab: Lab, tmp_path: Path, machine: Machine) -> None:
    plan, _ = make_plan(load(written(lab, tmp_path)), machine)
    counter = FlopCounter(machine.store)
    per_image = counter.per_image(plan)
    sizes = {plan.stages[key].params.phase.size: value for key, value in per_image.items()}
    forward = {size: lab.run(f'resize = "{size}x1"').evaluated()["flops"] for size in (16, 32)}
    assert sizes[32] / sizes[16] == pytest.approx(forward[32] / forward[16], rel=0.05)
    log: list[str] = []
    assert FlopCounter(machine.store, log.append).per_image(plan) == per_image and log == []
