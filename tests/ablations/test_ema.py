"""The moving average of the weights is timm's, and all averages that a grid asks for come from one training."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.utils import ModelEmaV3
from torch import nn

from ablations.ema import decay_at, move_average


@pytest.mark.parametrize("warmup", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99, 0.9998])
def test_the_decay_is_timms(decay: float, warmup: bool) -> None:
    reference = ModelEmaV3(nn.Linear(2, 2), decay=decay, use_warmup=warmup)
    for update in range(1, 300):
        assert decay_at(update, decay, warmup) == pytest.approx(reference.get_decay(update), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("warmup", [False, True])
def test_the_average_is_timms_over_a_training(warmup: bool) -> None:
    """Parameters, running statistics and counts of batch norm, to the bit."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=4).train()
    reference = ModelEmaV3(model, decay=0.9, use_warmup=warmup)
    average = {name: value.clone() for name, value in copy.deepcopy(model).state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for update in range(1, 8):
        model(torch.randn(4, 3, 32, 32)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        reference.update(model, step=update)
        move_average(average, model.state_dict(), decay_at(update, 0.9, warmup))
        for name, value in reference.module.state_dict().items():
            assert torch.equal(average[name], value), name
    moved = [name for name, value in model.state_dict().items() if not torch.equal(average[name], value)]
    assert len(moved) > 10
