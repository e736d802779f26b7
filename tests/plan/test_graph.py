"""What is shared, what is not, and in which order stages run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sota_bench.data.source import Source
from sota_bench.errors import UserError
from sota_bench.grid import load
from sota_bench.plan import graph
from sota_bench.plan.environment import Environment
from sota_bench.plan.images import grid_images
from sota_bench.plan.order import cost
from sota_bench.plan.plan import Plan

PlanOf = Callable[..., Plan]

GRID = """
[grid]
name = "g"
seeds = [0, 1]
[recipe]
backbone = "test_vit"
resize = "64x5"
[factors]
normalize = ["dataset", "none"]
resize = ["64x5", "32x3 64x2"]
mitigation = ["none", "low-lr"]
tta = ["off", "flip"]
"""


def trials(plan: Plan) -> dict[tuple[str, ...], object]:
    return {(*trial.trial.cell.text.values(), str(trial.trial.seed)): trial for trial in plan.trials}


def test_a_mitigation_shares_all_before_the_rise_and_tta_shares_the_whole_training(plan_of: PlanOf) -> None:
    planned = trials(plan_of(GRID))
    none = planned["dataset", "32x3 64x2", "none", "off", "0"]
    low = planned["dataset", "32x3 64x2", "low-lr", "off", "0"]
    flip = planned["dataset", "32x3 64x2", "none", "flip", "0"]
    assert none.training[0] == low.training[0]
    assert none.training[1] != low.training[1]
    assert none.training == flip.training
    assert none.final.key != flip.final.key


def test_the_plain_evaluation_stands_beside_the_augmented_one(plan_of: PlanOf) -> None:
    planned = trials(plan_of(GRID))
    flip, off = (planned["dataset", "64x5", "none", level, "0"] for level in ("flip", "off"))
    assert off.final.key in {evaluation.key for evaluation in flip.evaluations}
    assert flip.final.views == "flip"


def test_seeds_and_levels_are_not_shared(plan_of: PlanOf) -> None:
    planned = trials(plan_of(GRID))
    base = planned["dataset", "64x5", "none", "off", "0"]
    assert base.training != planned["dataset", "64x5", "none", "off", "1"].training
    assert base.training != planned["none", "64x5", "none", "off", "0"].training


def test_a_mitigation_without_a_rise_is_not_a_cell(plan_of: PlanOf) -> None:
    plan = plan_of(GRID)
    without = [trial for trial in plan.trials if trial.inapplicable]
    assert len(without) == 2 * 2 * 2
    assert all("needs a rise" in str(trial.inapplicable) for trial in without)


def test_epochs_are_counted_once_for_each_shared_phase(plan_of: PlanOf) -> None:
    plan = plan_of(GRID)
    # 2 seeds x 2 normalizations x (fixed x 2 TTA + rising x 2 mitigations x 2 TTA), 5 epochs each.
    assert plan.epochs_asked == 2 * 2 * (2 + 4) * 5
    # 2 x 2 x (fixed 5 + shared 3 + 2 mitigations x 2)
    assert plan.epochs_planned == 2 * 2 * (5 + 3 + 2 * 2)


def test_a_rising_schedule_is_evaluated_at_every_size_after_every_phase(plan_of: PlanOf) -> None:
    trial = trials(plan_of(GRID))["dataset", "32x3 64x2", "none", "off", "0"]
    assert {(e.phase, e.size) for e in trial.evaluations} == {(0, 32), (0, 64), (1, 32), (1, 64)}
    assert [e.size for e in trial.evaluations if e.final] == [64]


def test_every_resolution_and_phase_is_judged_by_the_same_images(plan_of: PlanOf) -> None:
    plan = plan_of(GRID)
    digests = {stage.params.data.digest for stage in plan.stages.values() if stage.kind == "evaluate"}
    assert len(digests) == 1


def test_parents_come_first_and_a_branch_is_finished_before_the_next(plan_of: PlanOf) -> None:
    plan = plan_of(GRID)
    keys = list(plan.stages)
    for stage in plan.stages.values():
        for parent in stage.parents.values():
            assert keys.index(parent) < keys.index(stage.key)
    trained = [stage for stage in plan.stages.values() if stage.kind == "train" and "checkpoint" in stage.parents]
    for stage in trained:
        between = keys[keys.index(stage.parents["checkpoint"]) + 1 : keys.index(stage.key)]
        assert all(plan.stages[key].parents.get("checkpoint") is not None for key in between)


def test_statistics_are_computed_once(plan_of: PlanOf) -> None:
    kinds = Counter(stage.kind for stage in plan_of(GRID).stages.values())
    assert kinds["prepare"] == kinds["statistics"] == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("identity", {"threads": 2}),
        ("identity", {"name": "another CPU"}),
        ("versions", {"torch": "2.12"}),
        ("versions", {"timm": "1.0.31"}),
        ("precision", "bf16"),
    ],
)
def test_no_training_is_reused_from_another_device_or_software(
    plan_of: PlanOf, environment: Environment, field: str, value: Any
) -> None:
    def trainings(plan: Plan) -> set[str]:
        return {key for key, stage in plan.stages.items() if stage.kind in ("train", "evaluate")}

    now = getattr(environment, field)
    changed = replace(environment, **{field: {**now, **value} if isinstance(value, dict) else value})
    assert not trainings(plan_of(GRID)) & trainings(plan_of(GRID, changed))


def test_a_setting_that_no_stage_reads_changes_no_key(plan_of: PlanOf) -> None:
    more = GRID.replace('name = "g"', 'name = "h"\nsmallest_effect = 2.0\nminutes_per_iteration = 1.0')
    assert set(plan_of(GRID).stages) == set(plan_of(more).stages)


def test_another_grid_with_more_images_shares_the_trainings(plan_of: PlanOf) -> None:
    small = GRID.replace("[recipe]", "[recipe]\nfraction = 0.5").replace("seeds = [0, 1]", "seeds = [0]")
    both = GRID.replace("[factors]", "[factors]\nfraction = [0.5, 1.0]").replace("seeds = [0, 1]", "seeds = [0]")
    trained = {key for key, stage in plan_of(small).stages.items() if stage.kind == "train"}
    assert trained <= set(plan_of(both).stages)


def test_a_phase_above_the_stored_resolution_is_refused_unless_allowed(plan_of: PlanOf) -> None:
    above = GRID.replace('"64x5", "32x3 64x2"', '"64x5", "160x5"')
    with pytest.raises(UserError, match="160 px is above the 128 px"):
        plan_of(above)
    allowed = plan_of(above.replace("[recipe]", "[recipe]\nupsample = true"))
    assert allowed.images.upsampled == [160]


def test_longer_work_costs_more(plan_of: PlanOf) -> None:
    stages = [stage for stage in plan_of(GRID).stages.values() if stage.kind == "train"]
    costs = {(stage.params.phase.size, stage.epochs): cost(stage) for stage in stages}
    assert costs[64, 5] > costs[64, 2] > costs[32, 3]


@pytest.mark.parametrize(
    ("recipe", "stored"),
    [
        ("", 112),  # crops of 35% of the area: 0.59 of 112 is 66
        ("crop_scale = 1.0", 80),
        ("crop_scale = 0.08", 128),  # not more than twice
        ("eval_crop = 0.7\ncrop_scale = 0.8", 96),
        ('resize = "32x1 48x1"\neval_size = 48', 88),
    ],
)
def test_images_are_stored_so_large_that_no_crop_is_enlarged(plan_of: PlanOf, recipe: str, stored: int) -> None:
    lines = "" if "resize" in recipe else 'resize = "64x1"\n'
    text = f'[grid]\nname = "g"\nseeds = [0]\n[recipe]\nbackbone = "test_vit"\n{lines}{recipe}\n[factors]\nlr = [0.1]\n'
    plan = plan_of(text)
    assert plan.images.size == stored
    assert next(stage for stage in plan.stages.values() if stage.kind == "prepare").params.size == stored


@pytest.mark.parametrize(
    ("split", "left", "problem"),
    [
        ("select", 0, "painted has no images to select by; add images to val/<class>/"),
        ("train", 1, "only 1 image is left to train on, and 2 are needed"),
    ],
)
def test_images_to_train_on_and_to_judge_by_are_looked_for_before_anything_runs(
    tmp_path: Path, environment: Environment, painted: Source, split: str, left: int, problem: str
) -> None:
    file = tmp_path / "grid.toml"
    file.write_text('[recipe]\nresize = "32x1"\n[factors]\nlr = [0.001, 0.002]\n')
    grid, whole = load(file), painted.scan()
    rows = whole.items["split"] == split
    few = replace(whole, items=whole.items[~rows | (rows & (rows.cumsum() <= left))].reset_index(drop=True))
    with pytest.raises(UserError, match=problem):
        graph.build(grid, environment, grid_images(grid, painted, few), tmp_path / "m.csv", 1)


def test_titles_tell_stages_apart(plan_of: PlanOf) -> None:
    titles = Counter(stage.title for stage in plan_of(GRID).stages.values())
    assert [title for title, count in titles.items() if count > 1] == []


@pytest.mark.parametrize(
    ("design", "title"),
    [
        ("full", "evaluate at 64 px, mixup 0.2, tta flip, seed 0"),
        ("one-at-a-time", "evaluate at 64 px, baseline, seed 0"),
        ("leave-one-out", "evaluate at 64 px, every factor at its last level, seed 0"),
    ],
)
def test_a_title_names_the_levels_that_all_its_trials_share(plan_of: PlanOf, design: str, title: str) -> None:
    plan = plan_of(
        f'[grid]\nname = "g"\nseeds = [0]\ndesign = "{design}"\n[recipe]\nbackbone = "test_vit"\nresize = "64x1"\n'
        '[factors]\nmixup = [0.0, 0.2]\ntta = ["off", "flip"]\n'
    )
    titles = [stage.title for stage in plan.stages.values()]
    assert title in titles
    assert any(text.startswith("train 64 px x1, mixup 0.2, seed 0") for text in titles) == (design != "leave-one-out")


def test_the_device_decides_statistics_only_where_it_computes_them(plan_of: PlanOf, environment: Environment) -> None:
    other = replace(environment, identity={**environment.identity, "name": "another CPU"})
    here, there = (
        {stage.kind: key for key, stage in plan_of(GRID, env).stages.items()} for env in (environment, other)
    )
    assert here["statistics"] == there["statistics"] and here["prepare"] == there["prepare"]
    assert here["train"] != there["train"] and here["evaluate"] != there["evaluate"]
