"""Convolutions of maps that are hardly larger than a pixel, on a CPU.

At 32 and 64 px the last maps of a ResNet have 1 x 1 and 2 x 2 pixels: of the nine weights of a kernel one or four meet
a pixel at a time, and the others padding. oneDNN multiplies all nine. Here each place of the kernel is one matrix
product of the pixels under it and the weights that meet them, which is the same convolution.

It is also a remedy: where some weights see nothing but padding, their gradient is 0, and oneDNN's bf16 kernels (seen
with torch 2.14.1 and avx512_bf16) leave it unwritten: whatever lay in memory, at times not finite. Such layers that are
not computed here (depthwise ones, and more places than ``MOST_PLACES``) train in fp32, which is right.
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

MOST_PLACES = 4
"""Of a kernel that are computed one by one: each one copies the weights that it uses."""

FEWEST_CHANNEL_PAIRS = 128 * 128
"""Input times output channels from which several products are faster than one call of oneDNN in bf16. (One place is as
fast at 32 channels and 9 times as fast at 512; in fp32 several are not faster.)"""


class Axis(NamedTuple):
    """Where a kernel meets pixels along one axis.

    Attributes:
        spans: for each place of the kernel, the pixels under it and the weights that meet them.
        met: pairs of a place and a weight that meet a pixel.
        only_padding: whether some weight meets no pixel at any place.
    """

    spans: tuple[tuple[slice, slice], ...]
    met: int
    only_padding: bool


@lru_cache(maxsize=4096)
def axis_of(pixels: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    """One axis of a convolution.

    Args:
        pixels: of the input.
        kernel, stride, padding, dilation: as of ``nn.Conv2d``, along that axis.
    """
    spans, seen, met = [], set[int](), 0
    for place in range((pixels + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1):
        first = place * stride - padding
        taps = [tap for tap in range(kernel) if 0 <= first + tap * dilation < pixels]
        start, end = (first + taps[0] * dilation, first + taps[-1] * dilation + 1) if taps else (0, 0)
        spans.append((slice(start, end, dilation), slice(taps[0], taps[-1] + 1) if taps else slice(0, 0)))
        seen.update(taps)
        met += len(taps)
    return Axis(tuple(spans), met, len(seen) < kernel)


_written_out: ContextVar[bool] = ContextVar("written_out", default=False)


@contextmanager
def as_convolutions() -> Iterator[None]:
    """Inside, small maps are computed as on a GPU: who counts operations is not told which ones a CPU can save."""
    before = _written_out.set(True)
    try:
        yield
    finally:
        _written_out.reset(before)


def ease_small_maps(model: nn.Module) -> None:
    """Has each 2-d convolution whose kernel is larger than a pixel look at its input first: small maps are computed as
    products, and what oneDNN gets wrong in bf16 leaves autocast. A model on another device than a CPU stays as it is.
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
    places = len(rows.spans) * len(columns.spans)
    if not 0 < places <= MOST_PLACES or rows.met * columns.met == places * math.prod(layer.kernel_size):
        return False  # large maps, or nothing is padding
    plain = layer.groups == 1 and layer.padding_mode == "zeros" and type(layer).forward is nn.Conv2d.forward
    if not plain or torch.compiler.is_compiling() or _written_out.get():
        return False
    return places == 1 or (in_bf16 and layer.in_channels * layer.out_channels >= FEWEST_CHANNEL_PAIRS)


class _Products(torch.autograd.Function):
    """A convolution as one matrix product for each place of its kernel."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, rows: Axis, columns: Axis) -> Tensor:
        """float [N, C, H, W] and [O, C, kernel, kernel] to [N, O, places, places], in the type of the images."""
        pixels, kernel = images.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1)
        count, outputs = len(images), len(weight)
        out = images.new_empty(count, len(rows.spans), len(columns.spans), outputs)
        added = images.new_zeros(outputs) if bias is None else bias.to(images.dtype)
        operands = []
        for i, (under, taps) in enumerate(rows.spans):
            for j, (beside, others) in enumerate(columns.spans):
                seen = pixels[:, under, beside].reshape(count, -1)
                used = kernel[:, taps, others].to(images.dtype).reshape(outputs, -1)
                out[:, i, j] = torch.addmm(added, seen, used.t())
                operands += [seen, used]
        ctx.save_for_backward(weight, *operands)
        ctx.rows, ctx.columns, ctx.shape = rows, columns, pixels.shape
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        """Sums over places are in the type of the weights."""
        weight, *operands = ctx.saved_tensors
        of_images = gradient.new_zeros(ctx.shape, dtype=weight.dtype) if ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        at_places = gradient.permute(0, 2, 3, 1)
        for i, (under, taps) in enumerate(ctx.rows.spans):
            for j, (beside, others) in enumerate(ctx.columns.spans):
                seen, used = operands[:2]
                del operands[:2]
                here = at_places[:, i, j].contiguous()
                if of_images is not None:
                    part = of_images[:, under, beside]
                    part += (here @ used).view_as(part)
                if of_weight is not None:
                    kernel = of_weight.permute(0, 2, 3, 1)[:, taps, others]
                    kernel += (here.t() @ seen).view_as(kernel)
        back = None if of_images is None else of_images.to(gradient.dtype).permute(0, 3, 1, 2)
        of_bias = at_places.sum((0, 1, 2), dtype=weight.dtype) if ctx.needs_input_grad[2] else None
        return back, of_weight, of_bias, None, None
