"""Convolutions of feature maps that are hardly larger than a pixel, on a CPU.

At 32 and 64 px the last feature maps of a ResNet have 1 x 1 and 2 x 2 pixels: at each output position one or four of a
kernel's nine weights meet a pixel, and the others meet padding. oneDNN multiplies all nine. Here each output position
is one matrix product of the pixels and the weights that meet, which is the same convolution.

It also avoids wrong gradients: where some weights meet padding alone their gradient is 0, and oneDNN's bf16 kernels
(torch 2.14.1 with avx512_bf16) leave it unwritten, so that it is whatever the memory held, at times not finite. Such
layers that are not computed here (depthwise ones, and those with more than ``MOST_POSITIONS``) train in fp32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MOST_POSITIONS = 4
"""Output positions that are computed one by one: each copies the weights that it uses."""

FEWEST_CHANNEL_PAIRS = 128 * 128
"""Input times output channels from which several products are faster than one call of oneDNN in bf16. (One product is
as fast at 32 channels and 9 times as fast at 512; in fp32 several are not faster.)"""


class Axis(NamedTuple):
    """Where a kernel meets pixels along one axis.

    Attributes:
        spans: for each output position, the pixels under the kernel and the weights that meet them.
        met: pairs of a position and a weight that meet a pixel.
        only_padding: whether some weight meets no pixel at any position.
    """

    spans: tuple[tuple[slice, slice], ...]
    met: int
    only_padding: bool


@lru_cache(maxsize=4096)
def axis_of(pixels: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    """Returns where the kernel meets pixels along one axis of a convolution.

    Args:
        pixels: of the input.
        kernel, stride, padding, dilation: as of ``nn.Conv2d``, along that axis.
    """
    spans, taps_met, met = [], set[int](), 0
    for position in range((pixels + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1):
        first = position * stride - padding
        taps = [tap for tap in range(kernel) if 0 <= first + tap * dilation < pixels]
        start, end = (first + taps[0] * dilation, first + taps[-1] * dilation + 1) if taps else (0, 0)
        spans.append((slice(start, end, dilation), slice(taps[0], taps[-1] + 1) if taps else slice(0, 0)))
        taps_met.update(taps)
        met += len(taps)
    return Axis(tuple(spans), met, len(taps_met) < kernel)


_disabled: ContextVar[bool] = ContextVar("disabled", default=False)


@contextmanager
def as_convolutions() -> Iterator[None]:
    """Inside, small maps are computed as convolutions, so that operations are counted as on any device."""
    before = _disabled.set(True)
    try:
        yield
    finally:
        _disabled.reset(before)


def patch_small_maps(model: nn.Module) -> None:
    """Makes 2-d convolutions compute small feature maps as matrix products, and in fp32 what oneDNN gets wrong in bf16.

    A model that is not on a CPU stays as it is.
    """
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1 and not isinstance(module.padding, str):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]


def _forward(layer: nn.Conv2d, images: Tensor) -> Tensor:
    rows, columns = (
        axis_of(images.shape[axis - 2], layer.kernel_size[axis], layer.stride[axis], int(layer.padding[axis]),
                layer.dilation[axis])
        for axis in (0, 1)
    )  # fmt: skip
    in_bf16 = torch.is_autocast_enabled("cpu")
    if _pays(layer, rows, columns, in_bf16):
        to = torch.get_autocast_dtype("cpu") if in_bf16 else images.dtype
        out: Tensor = _Products.apply(images.to(to), layer.weight, layer.bias, rows, columns)  # type: ignore[no-untyped-call]
        return out
    if layer.training and in_bf16 and (rows.only_padding or columns.only_padding):
        with torch.autocast("cpu", enabled=False):
            return type(layer).forward(layer, images.float())
    return type(layer).forward(layer, images)


def _pays(layer: nn.Conv2d, rows: Axis, columns: Axis, in_bf16: bool) -> bool:
    positions = len(rows.spans) * len(columns.spans)
    if not 0 < positions <= MOST_POSITIONS or rows.met * columns.met == positions * math.prod(layer.kernel_size):
        return False  # large maps, or nothing is padding
    plain = layer.groups == 1 and layer.padding_mode == "zeros" and type(layer).forward is nn.Conv2d.forward
    if not plain or torch.compiler.is_compiling() or _disabled.get():
        return False
    return positions == 1 or (in_bf16 and layer.in_channels * layer.out_channels >= FEWEST_CHANNEL_PAIRS)


class _Products(torch.autograd.Function):
    """A convolution as one matrix product for each output position."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, rows: Axis, columns: Axis) -> Tensor:
        """Returns [N, O, rows, columns] in the type of the images [N, C, H, W]; weights are [O, C, kernel, kernel]."""
        pixels, kernel = images.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1)
        count, outputs = len(images), len(weight)
        out = images.new_empty(count, len(rows.spans), len(columns.spans), outputs)
        offset = images.new_zeros(outputs) if bias is None else bias.to(images.dtype)
        operands = []
        for i, (row_pixels, row_taps) in enumerate(rows.spans):
            for j, (column_pixels, column_taps) in enumerate(columns.spans):
                pixels_met = pixels[:, row_pixels, column_pixels].reshape(count, -1)
                weights_met = kernel[:, row_taps, column_taps].to(images.dtype).reshape(outputs, -1)
                out[:, i, j] = torch.addmm(offset, pixels_met, weights_met.t())
                operands += [pixels_met, weights_met]
        ctx.save_for_backward(weight, *operands)
        ctx.rows, ctx.columns, ctx.shape = rows, columns, pixels.shape
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        """Sums over positions in the type of the weights."""
        weight, *operands = ctx.saved_tensors
        of_images = gradient.new_zeros(ctx.shape, dtype=weight.dtype) if ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        at_positions = gradient.permute(0, 2, 3, 1)
        for i, (row_pixels, row_taps) in enumerate(ctx.rows.spans):
            for j, (column_pixels, column_taps) in enumerate(ctx.columns.spans):
                pixels_met, weights_met = operands[:2]
                del operands[:2]
                gradient_here = at_positions[:, i, j].contiguous()
                if of_images is not None:
                    part = of_images[:, row_pixels, column_pixels]
                    part += (gradient_here @ weights_met).view_as(part)
                if of_weight is not None:
                    kernel = of_weight.permute(0, 2, 3, 1)[:, row_taps, column_taps]
                    kernel += (gradient_here.t() @ pixels_met).view_as(kernel)
        back = None if of_images is None else of_images.to(gradient.dtype).permute(0, 3, 1, 2)
        of_bias = at_positions.sum((0, 1, 2), dtype=weight.dtype) if ctx.needs_input_grad[2] else None
        return back, of_weight, of_bias, None, None
