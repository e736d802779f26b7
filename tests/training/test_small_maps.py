"""Weights that see only padding get no gradient, in bf16 as in fp32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sota_bench.training.small_maps import sees_only_padding, train_small_maps_in_fp32


@pytest.mark.parametrize("axis", [(1, 3, 1, 1, 1), (1, 3, 2, 1, 1), (2, 3, 2, 1, 1), (2, 3, 1, 1, 1), (4, 3, 2, 1, 1),
                                  (3, 7, 1, 3, 1), (7, 7, 1, 3, 1), (4, 3, 1, 4, 4)])  # fmt: skip
def test_it_is_what_the_gradient_of_ones_says(axis: tuple[int, int, int, int, int]) -> None:
    pixels, kernel, stride, padding, dilation = axis
    weight = torch.ones(1, 1, kernel, requires_grad=True)
    F.conv1d(torch.ones(1, 1, pixels), weight, None, stride, padding, dilation).sum().backward()
    assert weight.grad is not None
    assert sees_only_padding(*axis) == bool((weight.grad == 0).any())


@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_gradients_are_those_of_fp32(pixels: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 32, 3, stride=2, padding=1)
    train_small_maps_in_fp32(layer)
    images = torch.randn(8, 16, pixels, pixels)
    found = []
    for bf16 in (False, True):
        for _ in range(20):  # what lies in memory differs
            layer.zero_grad()
            torch.full((32, 16, 3, 3), float("nan"))
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                out = layer(images)
            assert out.dtype == (torch.bfloat16 if bf16 and pixels == 5 else torch.float32)
            out.float().square().mean().backward()
            assert layer.weight.grad is not None
            found.append(layer.weight.grad.clone())
    for gradient in found:
        torch.testing.assert_close(gradient, found[0], rtol=0.05, atol=0.01)
