"""Progressive resizing: phases share their beginnings, the ceiling holds, every size is judged by the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from lab import Lab
from safetensors.numpy import load_file

from ablations.progressive_resizing import ProgressiveResizing
from sota_bench.errors import UserError
from sota_bench.grid.recipe import recipe_type
from sota_bench.grid.resize_schedule import parse_schedule
from sota_bench.plan.plan import Plan


def evaluated(plan: Plan, trial: int = 0) -> list[tuple[int, int, bool]]:
    """(phase, evaluation size, is the trial's own) of a trial."""
    return [(one.phase, one.size, one.final) for one in plan.trials[trial].evaluations]


def pixels(schedule: str) -> int:
    return sum(phase.epochs * phase.size**2 for phase in parse_schedule(schedule))


def test_it_is_on_where_there_is_more_than_one_phase() -> None:
    recipe = recipe_type()
    assert not ProgressiveResizing.active(recipe(resize="64x5"))
    assert ProgressiveResizing.active(recipe(resize="64x3 128x2"))
    assert ProgressiveResizing.active(recipe(resize="128x3 64x2"))


def test_the_card_tells_the_share_of_pixels() -> None:
    share = pixels("64x3 128x2") / pixels("128x5")
    assert f"{100 * share:.0f}% of the pixels" in ProgressiveResizing.card.cost


def test_schedules_share_their_beginning(lab: Lab) -> None:
    """The technique adds nothing to a stage: a phase is the same whatever comes after it."""
    plan = lab.plan(factors='resize = ["24x2", "24x2 32x1", "24x2 40x1", "24x2 32x1 40x1"]')
    training = [trial.training for trial in plan.trials]
    assert len({keys[0] for keys in training}) == 1
    assert training[1][1] == training[3][1]
    assert len({key for keys in training for key in keys}) == 4
    assert plan.epochs_planned == 2 + 1 + 1 + 1


def test_every_size_is_evaluated_after_every_phase(lab: Lab) -> None:
    plan = lab.plan('resize = "24x1 32x1 40x1"')
    expected = [(phase, size, (phase, size) == (2, 40)) for phase in range(3) for size in (24, 32, 40)]
    assert evaluated(plan) == expected


def test_one_size_is_evaluated_once_at_its_own_size(lab: Lab) -> None:
    assert evaluated(lab.plan('resize = "24x1"')) == [(0, 24, True)]
    assert evaluated(lab.plan('resize = "24x1"\neval_size = 32')) == [(0, 32, True)]


def test_the_evaluation_size_is_a_setting_of_its_own(lab: Lab) -> None:
    """It changes no training, and a schedule that ends smaller is judged where the setting says."""
    plan = lab.plan('resize = "24x1 32x1"', "eval_size = [0, 40]")
    assert plan.trials[0].training == plan.trials[1].training
    assert [trial.final.size for trial in plan.trials] == [32, 40]


def test_all_sizes_are_judged_by_the_same_images(lab: Lab) -> None:
    """The trap: a validation split drawn anew at each resolution."""
    ran = lab.run('resize = "24x1 32x1"', seeds=(0,))
    plan = lab.plan('resize = "24x1 32x1"', "lr = [0.003, 0.001]", seeds=(0, 1))
    data = [stage.params.data for stage in plan.stages.values() if stage.kind == "evaluate"]
    assert len(data) == 2 * 2 * 2 * 2  # two phases, sizes, rates and seeds
    assert {(images.split, images.digest) for images in data} == {("select", data[0].digest)}
    training = {stage.params.data.digest for stage in plan.stages.values() if stage.kind == "train"}
    assert len(training) == 1
    assert not training & {data[0].digest}
    labels = [
        load_file(str(ran.folders[one.key] / "predictions.safetensors"))["labels"].tolist()
        for one in ran.trial.evaluations
    ]
    assert all(found == labels[0] for found in labels)


def test_the_phases_train_at_their_sizes(lab: Lab) -> None:
    ran = lab.run('resize = "24x2 32x1"')
    outcomes = [ran.trained(phase).values for phase in (0, 1)]
    assert [values["steps_at_size"] for values in outcomes] == [{"24": 6}, {"32": 3}]
    curve = [(epoch["epoch"], epoch["size"]) for values in outcomes for epoch in values["curve"]]
    assert curve == [(0, 24), (1, 24), (2, 32)]
    flops = {one.size: ran.evaluated(one)["flops"] for one in ran.trial.evaluations}
    assert flops[32] == pytest.approx(flops[24] * (32 / 24) ** 2, rel=0.1)


def test_a_second_phase_continues_from_the_first(lab: Lab) -> None:
    """With a rate of almost zero the second phase leaves the weights where the first ended."""
    from sota_bench.training import checkpoint

    ran = lab.run('resize = "24x2 32x1"\nweight_decay = 0.0', "lr = [1e-12]")
    first, second = (checkpoint.read(ran.checkpoint(phase)).weights.model for phase in (0, 1))
    weights = [name for name in first if name.endswith("weight")]
    assert weights
    for name in weights:
        np.testing.assert_allclose(second[name].numpy(), first[name].numpy(), atol=1e-8)


@pytest.mark.parametrize("recipe", ['resize = "32x1 48x1"', 'resize = "64x1"', "eval_size = 64"])
def test_sizes_above_the_stored_images_are_refused_unless_upsampling_is_asked_for(lab: Lab, recipe: str) -> None:
    """The images' shorter side is 40 px; the error names the field."""
    with pytest.raises(UserError, match=rf"recipe\.{recipe.split()[0]}: .* above the 40 px"):
        lab.plan(recipe)
    plan = lab.plan(recipe + "\nupsample = true")
    assert plan.images.upsampled == [64 if "64" in recipe else 48]


def test_a_size_that_only_some_cells_may_enlarge_is_refused(lab: Lab) -> None:
    with pytest.raises(UserError, match="48 px is above the 40 px"):
        lab.plan('resize = "48x1"', "upsample = [true, false]")


def test_a_cache_that_is_smaller_than_the_images_is_the_ceiling(lab: Lab) -> None:
    with pytest.raises(UserError, match=r"data\.size: 32 px is above the 24 px"):
        lab.plan('resize = "32x1"', data="size = 24")


@pytest.mark.parametrize("span", ["phase", "run"])
def test_a_schedule_over_all_phases_is_not_shared_and_one_for_each_phase_is(lab: Lab, span: str) -> None:
    plan = lab.plan(f'schedule_span = "{span}"', 'resize = ["24x2 32x1", "24x2 40x1"]')
    first: Sequence[Any] = [trial.training[0] for trial in plan.trials]
    assert (first[0] == first[1]) == (span == "phase")
