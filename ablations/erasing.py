"""Random erasing and Cutout: hide a rectangle of each training image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from sota_bench.technique import Batch

ATTEMPTS = 10
"""Rectangles that are drawn for an image; the first that fits is erased, and none where none does (torchvision)."""

AREA, RATIO = (0.02, 1 / 3), (0.3, 1 / 0.3)
"""Share of the image, and height by width (Zhong et al. 2020, section 4.2: s_l, s_h, r_1)."""


def random_boxes(height: int, width: int, draws: np.ndarray) -> np.ndarray:
    """Rectangles of random area, shape and place (Zhong et al. 2020, algorithm 1).

    Args:
        height, width: of the images, in pixels.
        draws: float64 [N, ATTEMPTS, 4], uniform in 0 to 1: area, logarithm of the ratio, top and left.

    Returns:
        int64 [N, 4]: top, left, bottom, right (the last two exclusive); zeros where no attempt fits.
    """
    import numpy as np

    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * draws[:, :, 0])
    ratio = np.exp(math.log(RATIO[0]) + (math.log(RATIO[1]) - math.log(RATIO[0])) * draws[:, :, 1])
    tall, wide = np.rint(np.sqrt(area * ratio)).astype(np.int64), np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = np.asarray((tall < height) & (wide < width))
    rows, first = np.arange(len(draws)), fits.argmax(axis=1)
    tall, wide, place = tall[rows, first], wide[rows, first], draws[rows, first, 2:]
    top, left = (
        (place[:, 0] * (height - tall + 1)).astype(np.int64),
        (place[:, 1] * (width - wide + 1)).astype(np.int64),
    )
    some = np.max(fits, axis=1, keepdims=True).astype(np.int64)
    boxes: np.ndarray = np.stack((top, left, top + tall, left + wide), axis=1) * some
    return boxes


def square_boxes(height: int, width: int, side: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Squares around a centre anywhere in the image, cut off at its border (DeVries and Taylor 2017, section 3.2).

    Args:
        height, width: of the images, in pixels.
        side: of the squares, in pixels; an odd one is a pixel smaller, as in the paper's code.
        rows, columns: int [N], the centres.

    Returns:
        int64 [N, 4]: top, left, bottom, right (the last two exclusive).
    """
    import numpy as np

    half = side // 2
    corners = np.stack((rows - half, columns - half, rows + half, columns + half), axis=1)
    return corners.clip(0, [height, width, height, width])


def erase(images: Tensor, boxes: Tensor, fill: Tensor) -> Tensor:
    """Replaces what is inside the boxes.

    Args:
        images: float [B, C, H, W].
        boxes: int64 [B, 4]: top, left, bottom, right (the last two exclusive); an empty one erases nothing.
        fill: what is put there, [B, C, H, W] or broadcast to it.
    """
    import torch

    height, width = images.shape[2:]
    top, left, bottom, right = boxes[:, :, None, None].unbind(1)  # each [B, 1, 1]
    row = torch.arange(height, device=images.device)[:, None]
    column = torch.arange(width, device=images.device)
    inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    return torch.where(inside[:, None], fill, images)


class RandomErasingSettings(Settings):
    random_erasing: float = setting(
        0.0, "share of the training images in which a random rectangle becomes noise; 0 is off", scope="train", ge=0,
        le=1, levels=(0.0, 0.25),
    )  # fmt: skip


class RandomErasing(Technique[RandomErasingSettings]):
    """Before images are mixed, as in timm."""

    name = "random-erasing"
    field = "random_erasing"
    off = 0.0
    order = 10
    settings_type = RandomErasingSettings
    card = Card(
        name="Random erasing",
        claim="Higher accuracy, above all for objects that are partly hidden.",
        response="accuracy",
        why="The network cannot rely on one part of an object, since any part may be missing, and learns from all.",
        paper="Zhong, Zheng, Kang, Li and Yang 2020, Random Erasing Data Augmentation (https://arxiv.org/abs/1708.04896)",
        defaults="2% to a third of the image and ratios from 0.3 to 3.3, as in the paper and in torchvision; uniform "
        "noise in each pixel, the best of the paper's fillings. A quarter of the images, as in timm's recipes for "
        "ResNets and vision transformers; the paper erases in half of them.",
        cost="Noise for each pixel of the batch and one selection; below 1% of a training step of a small ResNet on a "
        "CPU.",
        fails="In short trainings, and where the class lies in a small part of the image.",
    )

    def on_batch(
        self, images: Tensor, targets: Tensor, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draws rectangles and noise from this technique's own stream."""
        import torch

        count, _, height, width = images.shape
        chosen = rng.random(count) < self.settings.random_erasing
        boxes = random_boxes(height, width, rng.random((count, ATTEMPTS, 4))) * chosen[:, None]
        generator = torch.Generator(images.device).manual_seed(int(rng.integers(2**63)))
        noise = torch.empty_like(images).uniform_(0, 255, generator=generator)
        return erase(images, torch.from_numpy(boxes).to(images.device, non_blocking=True), noise), targets


class CutoutSettings(Settings):
    cutout: float = setting(
        0.0, "side of the square that is hidden in each training image, as a share of the image's; 0 is off",
        scope="train", ge=0, le=1, levels=(0.0, 0.5),
    )  # fmt: skip


class Cutout(Technique[CutoutSettings]):
    name = "cutout"
    field = "cutout"
    off = 0.0
    order = 10
    settings_type = CutoutSettings
    card = Card(
        name="Cutout",
        claim="Higher accuracy on small images in long trainings.",
        response="accuracy",
        why="The network has to use the whole context of an image, since its most telling part may be hidden.",
        paper="DeVries and Taylor 2017, Improved Regularization of Convolutional Neural Networks with Cutout "
        "(https://arxiv.org/abs/1708.04552)",
        defaults="Half of the side, the paper's 16 of 32 pixels for CIFAR-10; its 8 pixels for CIFAR-100 are 0.25. The "
        "square has the mean colour of its image, since the paper fills normalized images with 0.",
        cost="The mean of each image and one selection; below 1% of a training step of a small ResNet on a CPU.",
        fails="In short trainings it slows the fit. Where the class lies in a small part of the image, that part may "
        "be hidden.",
    )

    def on_batch(
        self, images: Tensor, targets: Tensor, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draws the centres from this technique's own stream."""
        import torch

        count, _, height, width = images.shape
        side = round(self.settings.cutout * min(height, width))
        boxes = square_boxes(height, width, side, rng.integers(height, size=count), rng.integers(width, size=count))
        fill = images.mean(dim=(2, 3), keepdim=True)
        return erase(images, torch.from_numpy(boxes).to(images.device, non_blocking=True), fill), targets
