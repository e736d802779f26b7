"""Small maps as matrix products: the same convolution, and gradients where oneDNN leaves them unwritten in bf16."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sota_bench.training.small_maps import FEWEST_CHANNEL_PAIRS, as_convolutions, axis_of, patch_small_maps

AXES = [(1, 3, 1, 1, 1), (1, 3, 2, 1, 1), (2, 3, 2, 1, 1), (2, 3, 1, 1, 1), (4, 3, 2, 1, 1), (3, 7, 1, 3, 1),
        (7, 7, 1, 3, 1), (4, 3, 1, 4, 4), (1, 3, 1, 3, 3), (2, 5, 1, 2, 1),
        (3, 3, 2, 1, 1), (2, 4, 1, 1, 1)]  # fmt: skip


@pytest.mark.parametrize("axis", AXES)
def test_what_sees_only_padding_is_what_the_gradient_of_ones_says(axis: tuple[int, int, int, int, int]) -> None:
    pixels, kernel, stride, padding, dilation = axis
    weight = torch.ones(1, 1, kernel, requires_grad=True)
    F.conv1d(torch.ones(1, 1, pixels), weight, None, stride, padding, dilation).sum().backward()
    assert weight.grad is not None
    assert axis_of(*axis).only_padding == bool((weight.grad == 0).any())


def computed_as_products(out: Tensor) -> bool:
    """Whether a result came from the products."""
    return out.grad_fn is not None and "Products" in out.grad_fn.name()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("axis", [axis for axis in AXES if len(axis_of(*axis).spans) == 1])
def test_one_place_is_the_convolution_and_so_are_its_gradients(axis: tuple[int, ...], bias: bool) -> None:
    """In double precision, also against numerical derivatives."""
    pixels, kernel, stride, padding, dilation = axis
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, kernel, stride, padding, dilation, bias=bias).double()
    images = torch.randn(2, 3, pixels, pixels, dtype=torch.float64, requires_grad=True)
    expected = layer(images)
    patch_small_maps(layer)
    out = layer(images)
    assert computed_as_products(out)
    torch.testing.assert_close(out, expected)
    assert torch.autograd.gradcheck(layer, (images,))
    theirs, ours = (torch.autograd.grad(value.square().sum(), tuple(layer.parameters())) for value in (expected, out))
    for gradient, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize(("height", "width", "stride"), [(2, 2, 1), (4, 4, 2), (3, 4, 2), (1, 2, 1), (2, 1, 1)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_several_places_in_bf16_are_as_near_to_fp32_as_the_convolution(
    height: int, width: int, stride: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(128, 128, 3, stride, 1).to(memory_format=layout)
    assert layer.in_channels * layer.out_channels >= FEWEST_CHANNEL_PAIRS
    images = torch.randn(16, 128, height, width).contiguous(memory_format=layout).requires_grad_()

    def gradients(enabled: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = layer(images)
        assert computed_as_products(out) == ("forward" in vars(layer) and enabled)
        back = torch.autograd.grad(out.float().square().mean(), (images, *layer.parameters()))
        return [out.float(), *back]

    exact, theirs = gradients(False), gradients(True)
    patch_small_maps(layer)
    for ours, rounded, value in zip(gradients(True), theirs, exact, strict=True):
        assert (ours - value).norm() <= 1.1 * (rounded - value).norm() + 1e-6


@pytest.mark.parametrize("groups", [1, 16])
@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_gradients_are_written_whatever_lay_in_memory(pixels: int, groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=groups)
    patch_small_maps(layer)
    images = torch.randn(8, 16, pixels, pixels)
    gradients = []
    for bf16 in (False, True):
        for _ in range(20):
            layer.zero_grad()
            torch.full(layer.weight.shape, float("nan"))
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                out = layer(images)
            assert computed_as_products(out) == (groups == 1 and pixels < 5)
            left_out = groups > 1 and pixels < 5
            assert out.dtype == (torch.bfloat16 if bf16 and not left_out else torch.float32)
            out.float().square().mean().backward()
            assert layer.weight.grad is not None
            gradients.append(layer.weight.grad.clone())
    for gradient in gradients:
        torch.testing.assert_close(gradient, gradients[0], rtol=0.05, atol=0.01)


@pytest.mark.parametrize("size", [32, 64])
def test_a_resnet_learns_the_same(size: int) -> None:
    """A step of fp32 with and without: the last stage at 32 px has 1 x 1 maps."""
    torch.manual_seed(0)
    plain = timm.create_model("resnet10t", num_classes=10)
    other = timm.create_model("resnet10t", num_classes=10)
    other.load_state_dict(plain.state_dict())
    patch_small_maps(other)
    images, labels = torch.randn(8, 3, size, size), torch.arange(8)
    for model in (plain, other):
        F.cross_entropy(model(images), labels).backward()
    for (name, first), second in zip(plain.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(second.grad, first.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_frozen_weights_get_no_gradient() -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
    patch_small_maps(layer)
    images = torch.randn(2, 8, 1, 1, requires_grad=True)
    layer(images).sum().backward()
    assert images.grad is not None
    assert layer.weight.grad is None


def test_counted_operations_are_those_of_the_convolution() -> None:
    layer, images = nn.Conv2d(8, 8, 3, padding=1), torch.randn(2, 8, 1, 1)

    def flops() -> int:
        with FlopCounterMode(display=False) as counter:
            layer(images)
        return int(counter.get_total_flops())

    plain = flops()
    patch_small_maps(layer)
    assert flops() < plain
    with as_convolutions():
        assert flops() == plain
