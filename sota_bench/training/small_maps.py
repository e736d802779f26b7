"""Convolutions of maps that are smaller than their kernel, in bf16 on a CPU.

Where some weights of a kernel see nothing but padding, their gradient is 0. oneDNN's bf16 kernels (seen with torch
2.14.1 and avx512_bf16) leave it unwritten: whatever lay in memory, at times not finite. Such layers, the last ones of a
ResNet at 16 or 32 px, therefore train in fp32, which is right.
"""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from torch import Tensor, nn


@lru_cache(maxsize=4096)
def sees_only_padding(pixels: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    """Whether some weight of a kernel meets no pixel along one axis, at any place that the kernel takes."""
    places = (pixels + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return not all(
        any(0 <= place * stride - padding + tap * dilation < pixels for place in range(places)) for tap in range(kernel)
    )


def train_small_maps_in_fp32(model: nn.Module) -> None:
    """Has each 2-d convolution of ``model`` leave autocast for inputs of which some of its weights see only padding."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1 and not isinstance(module.padding, str):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]


def _forward(layer: nn.Conv2d, images: Tensor) -> Tensor:
    if layer.training and any(
        sees_only_padding(
            images.shape[axis - 2], layer.kernel_size[axis], layer.stride[axis], int(layer.padding[axis]),
            layer.dilation[axis],
        )
        for axis in (0, 1)
    ):  # fmt: skip
        with torch.autocast("cpu", enabled=False):
            return type(layer).forward(layer, images.float())
    return type(layer).forward(layer, images)
