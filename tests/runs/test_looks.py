"""Planned looks of a run: which trials each needs, what its record keeps, and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sota_bench.errors import UserError
from sota_bench.grid import Grid, load
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.plan.plan import Plan
from sota_bench.runs import looks
from sota_bench.runs.expected import cells_of_grid, expected_cost, seeds_until_decided
from sota_bench.stats import Analysis, analyze
from sota_bench.stats.sequential import plan_looks

GRID = """
[grid]
name = "looked"
seeds = [0, 1, 2]
design = "one-at-a-time"
smallest_effect = 1.0
stop = "decided"
max_seeds = 6
[data]
source = "known-effects"
fraction = 0.05
[recipe]
backbone = "test_resnet"
resize = "32x1"
[factors]
lr = [0.001, 0.002]
mixup = [0.0, 0.2]
tta = ["off", "flip"]
"""


@pytest.fixture
def grid_of(tmp_path: Path) -> Callable[..., Grid]:
    def make(**stopping: Any) -> Grid:
        (tmp_path / "grid.toml").write_text(GRID)
        return load(tmp_path / "grid.toml", stopping=stopping)

    return make


@pytest.fixture
def wide(tmp_path: Path, grid_of: Callable[..., Grid]) -> Plan:
    """The plan of all seeds that may run."""
    grid = grid_of()
    return make_plan(grid.with_seeds(looks.new_history(grid).seeds), Machine(tmp_path / "store", "cpu", 1))[0]


def analysed(plan: Plan, runs: dict[str, int], history: looks.LookHistory) -> Analysis:
    """The analysis of made-up accuracies at the next look: the learning rate adds 9 points, Mixup and TTA nothing."""
    noise = np.random.default_rng(0).normal(0, 0.6, (6, 4))
    noise[:, 3] = noise[:, 0] + 0.01 * noise[:, 3]  # TTA judges the baseline's own trainings
    rows = []
    for number, cell in enumerate(plan.grid.cells()):
        for seed in range(runs[cell.id]):
            accuracy = 50 + 9 * (cell.text["lr"] == "0.002") + noise[seed, number]
            rows.append({"cell": cell.id, **cell.text, "seed": seed, "status": "done", "accuracy": accuracy})
    factors = {name: list(dict.fromkeys(cell.text[name] for cell in plan.grid.cells())) for name in plan.grid.factors}
    look = history.next_look
    assert look is not None
    return analyze(
        pd.DataFrame(rows), response="accuracy", factors=factors, within=["tta"], delta=1.0, unit="pp", look=look,
        decided=history.decided_before(look, "accuracy"),
    )  # fmt: skip


def look_at(plan: Plan, history: looks.LookHistory, cells: Iterable[str]) -> tuple[looks.LookHistory, Analysis]:
    """The history with its next look."""
    look = history.next_look
    assert look is not None
    runs = looks.runs_of_look(history, look, plan, list(cells))
    trainings = looks.trainings_of(plan, looks.trials_of_runs(plan, history.seeds, runs))
    analysis = analysed(plan, runs, history)
    return looks.after_look(history, look, runs, [analysis], trainings, 1.5), analysis


def test_only_cells_of_open_questions_get_more_seeds(wide: Plan, grid_of: Callable[..., Grid]) -> None:
    history = looks.new_history(grid_of())
    assert (history.planned, history.seeds) == ((3, 4, 6), (0, 1, 2, 3, 4, 5))
    history, _ = look_at(wide, history, ())
    assert history.runs == dict.fromkeys(("c00", "c01", "c02", "c03"), 3)
    assert history.trainings == 9  # TTA trains nothing
    assert history.open == (("mixup", "0.2"),) and history.looks[0].undecided == ("mixup 0.2 vs 0.0",)
    compared = cells_of_grid(wide.grid)
    history, _ = look_at(wide, history, compared[history.open[0]])
    assert history.runs == {"c00": 4, "c01": 3, "c02": 4, "c03": 3}
    assert history.trainings == 11
    trials = looks.trials_of_runs(wide, history.seeds, history.runs)
    plan = wide.restricted(trials)
    assert {trial.trial.id for trial in plan.trials} == trials and len(trials) == 14
    assert set().union(*(stage.trials for stage in plan.stages.values())) == trials
    assert set(plan.stages) < set(wide.stages)


def test_the_record_is_read_as_it_was_written(tmp_path: Path, wide: Plan, grid_of: Callable[..., Grid]) -> None:
    grid = grid_of()
    history, analysis = look_at(wide, looks.new_history(grid), ())
    history = looks.ended(history, "budget", [analysis], cells_of_grid(wide.grid), wide)
    file = looks.record_file(tmp_path / "store", wide, grid.seeds)
    looks.write_history(file, history)
    assert looks.read_history(file, grid) == history
    assert looks.record_file(tmp_path / "store", wide, (0, 1)) != file
    lr, mixup, tta = history.costs
    assert (lr.look, lr.seeds, lr.trainings) == (1, 3, 6) and tta.trainings == 3
    assert mixup.fixed_seeds is not None and mixup.fixed_trainings == 2 * mixup.fixed_seeds
    assert history.fixed_trainings == 3 * max(cost.fixed_seeds or 0 for cost in history.costs)


def test_a_damaged_record_is_no_record(tmp_path: Path, grid_of: Callable[..., Grid]) -> None:
    file = tmp_path / "record.json"
    for content in ("", "{}", "[1]", '{"planned": 3}'):
        file.write_text(content)
        assert looks.read_history(file, grid_of()) == looks.new_history(grid_of())


def test_looks_cannot_be_planned_anew_after_one(tmp_path: Path, wide: Plan, grid_of: Callable[..., Grid]) -> None:
    history, _ = look_at(wide, looks.new_history(grid_of()), ())
    looks.write_history(tmp_path / "record.json", history)
    with pytest.raises(UserError, match=r"grid\.max_seeds: .*at most 6 seeds.*--seeds 6,7,8"):
        looks.read_history(tmp_path / "record.json", grid_of(max_seeds=9))
    smaller = grid_of().model_copy(update={"smallest_effects": {"accuracy": 0.5}})
    with pytest.raises(UserError, match=r"grid\.smallest_effect: .*1 on accuracy"):
        looks.read_history(tmp_path / "record.json", smaller)


def test_a_question_that_cannot_be_estimated_asks_for_no_more_seeds(wide: Plan, grid_of: Callable[..., Grid]) -> None:
    history, _ = look_at(wide, looks.new_history(grid_of()), ())
    record = history.looks[0]
    lost = tuple(replace(question, estimate=None, decided=False) for question in record.questions)
    assert replace(history, looks=(replace(record, questions=lost),)).open == ()


def test_cost_is_at_most_all_seeds_and_likely_less(wide: Plan, grid_of: Callable[..., Grid]) -> None:
    cost = expected_cost(wide, looks.new_history(grid_of()))
    assert cost.questions == 3 and cost.most == 3 * 6
    assert 3 * 3 < cost.likely < cost.most


def test_each_response_asks_every_question(wide: Plan, grid_of: Callable[..., Grid]) -> None:
    history = looks.new_history(grid_of())
    asked = ("accuracy", "nll")
    both = expected_cost(replace(wide, grid=wide.grid.model_copy(update={"response": asked})), history)
    one = expected_cost(wide, history)
    assert both.questions == 2 * one.questions and both.most == one.most
    assert one.likely < both.likely <= both.most  # a cell runs until all of its responses are decided


def test_expected_seeds_fall_with_the_effect() -> None:
    plan = plan_looks(3, 20)
    few, many = (seeds_until_decided(plan, questions).mean() for questions in (1, 10))
    assert 3 < few < many < 20
    assert seeds_until_decided(plan, 0).shape[1] == 0


def test_seeds_that_follow_are_new(grid_of: Callable[..., Grid]) -> None:
    grid = grid_of(max_seeds=8).with_seeds((5, 2, 4294967295))
    further = [seed for seed, _ in zip(grid.further_seeds, range(4), strict=False)]
    assert further == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("text", "stopping", "message"),
    [
        ("", {"budget": "40 min"}, r"--budget: grid\.budget: .*--until-decided"),
        ("", {"max_seeds": 9}, r"--max-seeds: grid\.max_seeds: .*--until-decided"),
        ("", {"stop": "decided", "max_seeds": 2}, r"--max-seeds: grid\.max_seeds: 2 is fewer than the 3 seeds"),
        ("added_seeds = [7]", {"stop": "decided"}, r"grid\.added_seeds: .*plans its seeds"),
        ("", {"stop": "decided", "budget": "soon"}, r"--budget: grid\.budget: 'soon' is not a duration"),
    ],
)
def test_seeds_and_options_that_disagree_are_refused(
    tmp_path: Path, text: str, stopping: dict[str, Any], message: str
) -> None:
    plain = GRID.replace('stop = "decided"\nmax_seeds = 6', text)
    (tmp_path / "grid.toml").write_text(plain)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "grid.toml", stopping=stopping)
