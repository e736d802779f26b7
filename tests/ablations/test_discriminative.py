"""Discriminative rates and the low rate: what the optimizer is told, and what moves."""

from __future__ import annotations

import pytest
import torch
from lab import Lab
from safetensors.torch import load_file

from ablations.discriminative import block_scales

RISE = 'resize = "16x1 32x1"\noptimizer = "sgd"\nweight_decay = 0.0\nlr = 0.01\noptimizer_at_switch = "reset"'


def test_scales_are_those_of_the_paper() -> None:
    # Howard and Ruder 2018, section 3.2: eta_(l-1) = eta_l / 2.6.
    assert block_scales(4, 2.6) == pytest.approx([1 / 17.576, 1 / 6.76, 1 / 2.6, 1])
    assert block_scales(3, 1) == [1, 1, 1]


def moved(lab: Lab, factors: str, trial: int) -> dict[str, float]:
    """Mean absolute change of each weight of one rise."""
    ran = lab.run(RISE, factors)
    before = load_file(ran.checkpoint(0, trial) / "model.safetensors")
    after = load_file(ran.checkpoint(1, trial) / "model.safetensors")
    return {
        name: float((after[name] - value).abs().mean()) for name, value in before.items() if name.endswith("weight")
    }


def test_early_blocks_move_less(lab: Lab) -> None:
    factors = 'mitigation = ["none", "discriminative"]'
    plain, scaled = moved(lab, factors, 0), moved(lab, factors, 1)
    ratio = {name: scaled[name] / plain[name] for name in ("conv1.0.weight", "layer2.0.conv1.weight", "fc.weight")}
    # SGD moves a weight by its rate times its gradient, and the gradients are much alike over three steps.
    assert ratio["conv1.0.weight"] == pytest.approx(2.6**-5, rel=0.6)
    assert ratio["layer2.0.conv1.weight"] == pytest.approx(2.6**-3, rel=0.6)
    assert ratio["fc.weight"] == pytest.approx(1, rel=0.5)


def test_low_rate_is_a_factor_on_all(lab: Lab) -> None:
    factors = 'mitigation = ["none", "low-lr"]'
    plain, slow = moved(lab, factors, 0), moved(lab, factors, 1)
    ratios = torch.tensor([slow[name] / plain[name] for name in plain])
    assert ratios.median().item() == pytest.approx(0.1, rel=0.3)
