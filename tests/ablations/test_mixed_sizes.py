"""Mixed sizes: sizes come from their own stream, are logged, and cost what they cost."""

from __future__ import annotations

import numpy as np
import pytest
from lab import Lab

from ablations.mixed_sizes import draw_size
from sota_bench.errors import UserError

RISE = 'resize = "16x1 32x6"\nbackbone = "{}"'


def test_shares() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_size((32, 64), 128, 0.4, rng) for _ in range(20_000)]
    shares = {size: drawn.count(size) / len(drawn) for size in (32, 64, 128)}
    assert shares == pytest.approx({32: 0.2, 64: 0.2, 128: 0.6}, abs=0.015)  # four standard errors
    assert {draw_size((), 64, 1.0, rng) for _ in range(10)} == {64}
    ahead = np.random.default_rng(5)
    draw_size((), 64, 0.5, ahead)
    assert ahead.bit_generator.state == _after_two_draws(5)


def _after_two_draws(seed: int) -> object:
    rng = np.random.default_rng(seed)
    rng.random(2)
    return rng.bit_generator.state


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_efficientnet"])
def test_drawn_sizes_are_logged_and_cost_less(lab: Lab, backbone: str) -> None:
    ran = lab.run(RISE.format(backbone), 'mitigation = ["mixed-sizes", "none"]')
    mixed, plain = ran.trained(1).values, ran.trained(1, trial=1).values
    assert plain["steps_at_size"] == {"32": 18}
    assert sum(mixed["steps_at_size"].values()) == 18
    assert mixed["steps_at_size"].keys() == {"16", "32"}
    assert mixed["techniques"]["mixed-sizes"] == {"sizes": [16, 32]}
    # A step at half the size is a quarter of the pixels, and the seconds that were measured are those of these steps.
    assert mixed["pixels"] == 16 * sum(steps * int(size) ** 2 for size, steps in mixed["steps_at_size"].items())
    assert plain["pixels"] == 48 * 6 * 32**2


def test_a_resumed_phase_logs_the_same_sizes(lab: Lab) -> None:
    ran = lab.run(RISE.format("test_resnet"), 'mitigation = ["mixed-sizes", "none"]')
    stage = ran.plan.stages[ran.trial.training[1]]
    _, outcome = lab.run_apart(stage, stops=(4, 7))
    assert outcome.values["steps_at_size"] == ran.trained(1).values["steps_at_size"]


def test_backbones_of_one_size_are_refused_before_anything_starts(lab: Lab) -> None:
    with pytest.raises(UserError, match="efficientvit_m0 is made for one size"):
        lab.plan('resize = "16x1 32x1"\nbackbone = "efficientvit_m0"', 'mitigation = ["mixed-sizes"]')
