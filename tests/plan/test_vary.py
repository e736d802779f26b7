"""What varies from seed to seed goes through the keys: what is fixed is shared, what varies is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from sota_bench.grid.draws import FIXED, Draws
from sota_bench.plan.plan import Plan
from sota_bench.stages.params import EvaluateParams, TrainParams

GRID = """
[grid]
name = "varied"
seeds = [0, 1, 2]
{vary}
[recipe]
backbone = "test_vit"
resize = "32x1"
[factors]
mixup = [0.0, 0.2]
"""


@pytest.fixture
def planned(plan_of: Callable[..., Plan]) -> Callable[[str], Plan]:
    """Plans the grid with some sources varied; "" for the default."""
    return lambda names: plan_of(GRID.format(vary=f"vary = [{names}]" if names else ""))


def training(plan: Plan) -> dict[str, TrainParams]:
    """Trial -> the parameters of its training."""
    return {trial.trial.id: cast(TrainParams, plan.stages[trial.training[-1]].params) for trial in plan.trials}


def judged(plan: Plan) -> dict[str, str]:
    """Trial -> digest of the images that judge it."""
    return {
        trial.trial.id: cast(EvaluateParams, plan.stages[trial.final.key].params).data.digest for trial in plan.trials
    }


def test_the_default_is_the_old_key_and_names_every_source_but_the_split(planned: Callable[[str], Plan]) -> None:
    default = planned("")
    assert default.stages.keys() == planned('"augment", "order", "init"').stages.keys()
    for name, params in training(default).items():
        assert (params.init_seed, params.order_seed, str(params.seed)) == (None, None, name[-1])


@pytest.mark.parametrize("source", ["init", "order", "augment"])
def test_one_source_alone(planned: Callable[[str], Plan], source: str) -> None:
    for name, params in training(planned(f'"{source}"')).items():
        seed = int(name[-1])
        drawn = {"init": params.draws_init, "order": params.draws_order, "augment": params.seed}
        assert drawn == {**dict.fromkeys(drawn, FIXED), source: seed}


def test_a_seed_that_draws_what_is_fixed_is_the_trial_of_every_grid(planned: Callable[[str], Plan]) -> None:
    """Seed 0 with the initial weights varied alone is seed 0 with everything varied: one training serves both."""
    keys = [{trial.trial.id: trial.training for trial in planned(names).trials} for names in ("", '"init"')]
    assert keys[0]["c00-s0"] == keys[1]["c00-s0"] and keys[0]["c00-s1"] != keys[1]["c00-s1"]


def test_the_split_is_drawn_for_each_seed_and_paired_over_cells(planned: Callable[[str], Plan]) -> None:
    plan = planned('"init", "order", "augment", "split"')
    images, of_training = judged(plan), training(plan)
    assert len(set(images.values())) == 3
    for seed in range(3):
        assert images[f"c00-s{seed}"] == images[f"c01-s{seed}"]
        assert of_training[f"c00-s{seed}"].data == of_training[f"c01-s{seed}"].data
    assert not set(images.values()) & set(judged(planned("")).values())


def test_confirming_images_never_vary(plan_of: Callable[..., Plan]) -> None:
    digests = {
        digest
        for vary in ("", 'vary = ["init", "split"]')
        for digest in judged(plan_of(GRID.format(vary=vary), split="test")).values()
    }
    assert len(digests) == 1


def test_draws_of_a_seed() -> None:
    assert Draws.of(7, ("init", "order", "augment")) == (7, 7, 7, None)
    assert Draws.of(7, ("order", "split")) == (FIXED, 7, FIXED, 7)
