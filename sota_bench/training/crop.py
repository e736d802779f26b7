"""Crop, mirror and resize a batch of uint8 images to float pixels 0..255, antialiased.

On a CPU each image goes through torch's native uint8 kernel, which torchvision's ``resize`` also calls; it rounds to
whole grey levels as Pillow does. On a GPU the whole batch is two batched matrix products with per-image filter
matrices: the same triangle filter, one launch, without the rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # mapped read-only, and only read


TRIES = 10
"""Boxes that are drawn for an image, of which the first that fits is taken."""


def random_resized_boxes(
    heights: np.ndarray, widths: np.ndarray, min_area: float, rng: np.random.Generator
) -> np.ndarray:
    """Draws boxes of random resized crops (see :func:`resized_boxes`).

    Args:
        heights, widths: int [B], the images' sizes in pixels.
        min_area: smallest share of the image's area; 1 takes the central square, as evaluation does.
        rng: draws 4 x 10 numbers per image whatever they come to, so that images do not shift each other's draws.

    Returns:
        int64 [B, 4]: top, left, height, width.
    """
    return resized_boxes(heights, widths, min_area, rng.random((4, TRIES, len(heights))))


def resized_boxes(heights: np.ndarray, widths: np.ndarray, min_area: float, draws: np.ndarray) -> np.ndarray:
    """Returns boxes of random resized crops (Szegedy et al. 2015), as torchvision's ``RandomResizedCrop`` draws them.

    The area is uniform in ``min_area`` to 1, the aspect ratio log-uniform in 3/4 to 4/3; ten tries for a box that fits,
    else the largest centred box inside that ratio.

    Args:
        heights, widths: int [B], the images' sizes in pixels.
        min_area: smallest share of the image's area; 1 takes the central square, as evaluation does.
        draws: float64 [4, 10, B], uniform in 0 to 1: area, ratio, top and left of each try.

    Returns:
        int64 [B, 4]: top, left, height, width.
    """
    if min_area >= 1:
        return central_boxes(heights, widths, 1.0)
    area = heights * widths * (min_area + (1 - min_area) * draws[0])
    ratio = np.exp(np.log(3 / 4) + (np.log(4 / 3) - np.log(3 / 4)) * draws[1])
    w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (w > 0) & (w <= widths) & (h > 0) & (h <= heights)
    first = fits.argmax(axis=0)
    each = np.arange(len(heights))
    h, w = h[first, each], w[first, each]
    top = np.floor(draws[2][first, each] * (heights - h + 1)).astype(np.int64)
    left = np.floor(draws[3][first, each] * (widths - w + 1)).astype(np.int64)
    boxes = np.stack([top, left, h, w], axis=1)
    for i in np.flatnonzero(~fits.any(axis=0)):
        height, width = int(heights[i]), int(widths[i])
        fallback_w = min(width, round(height * 4 / 3))
        fallback_h = min(height, round(width * 4 / 3))
        boxes[i] = ((height - fallback_h) // 2, (width - fallback_w) // 2, fallback_h, fallback_w)
    return boxes


def central_boxes(
    heights: np.ndarray, widths: np.ndarray, share: float, row: float = 0.5, column: float = 0.5
) -> np.ndarray:
    """Returns square boxes that keep ``share`` of the shorter side.

    Args:
        row, column: 0 to 1, where the box lies between the first and the last position (0.5 is the centre).

    Returns:
        int64 [B, 4]: top, left, side, side.
    """
    side = np.maximum(1, np.rint(np.minimum(heights, widths) * share)).astype(np.int64)
    top = np.rint((heights - side) * row).astype(np.int64)
    left = np.rint((widths - side) * column).astype(np.int64)
    return np.stack([top, left, side, side], axis=1)


def filter_matrix(start: Tensor, length: Tensor, inputs: int, outputs: int, mirror: Tensor | None = None) -> Tensor:
    """Returns antialiased linear resampling of one axis as a matrix, whose rows are triangle filters that sum to 1.

    The filter is as wide as the step between output pixels, or as an input pixel where that is wider (so enlarging is
    plain linear interpolation); pixels outside the box have no weight, as if the box had been cut out first.

    Args:
        start, length: float [B], the box on this axis in pixels.
        inputs, outputs: number of pixels before and after.
        mirror: bool [B], which images come out in reverse order; None for none.

    Returns:
        float32 [B, outputs, inputs].
    """
    start, length = start[:, None, None], length[:, None, None]
    scale = length / outputs
    number = torch.arange(outputs, device=start.device)[None, :, None]
    if mirror is not None:
        number = torch.where(mirror[:, None, None], outputs - 1 - number, number)
    centre = start + (number + 0.5) * scale
    pixel = torch.arange(inputs, device=start.device)[None, None, :]
    # In place from here: B x outputs x inputs is large, and on a GPU each pass over it adds to the time of a step.
    weight = (pixel + 0.5 - centre).abs_().div_(-scale.clamp(min=1)).add_(1).clamp_(min=0)
    weight *= (pixel >= start) & (pixel < start + length)
    return weight.div_(weight.sum(-1, keepdim=True))


def crop_resize_products(images: Tensor, boxes: Tensor, flip: Tensor, size: int) -> Tensor:
    """Crops, mirrors and resizes the whole batch as two batched matrix products.

    Args:
        images: uint8 [B, 3, H, W]; images of other sizes are padded below and to the right.
        boxes: float [B, 4]: top, left, height, width.
        flip: bool [B]: mirror left and right.
        size: pixels of both sides of the result.

    Returns:
        float32 [B, 3, size, size], 0..255.
    """
    count, channels, height, width = images.shape
    rows = filter_matrix(boxes[:, 0], boxes[:, 2], height, size)
    columns = filter_matrix(boxes[:, 1], boxes[:, 3], width, size, flip)
    lines = images.to(torch.float32, memory_format=torch.contiguous_format).view(count, channels * height, width)
    narrow = torch.bmm(lines, columns.transpose(1, 2)).view(count, channels, height, size)
    return torch.matmul(rows[:, None], narrow)


def crop_resize_each(images: Sequence[np.ndarray], boxes: np.ndarray, flip: np.ndarray, size: int) -> Tensor:
    """Crops, mirrors and resizes one image after the other, with torch's native uint8 kernel.

    Args:
        images: B arrays uint8 [H, W, 3], of any sizes.
        boxes: int [B, 4]: top, left, height, width.
        flip: bool [B]: mirror left and right.
        size: pixels of both sides of the result.

    Returns:
        uint8 [B, 3, size, size] in channels_last layout.
    """
    out = torch.empty((len(images), 3, size, size), dtype=torch.uint8, memory_format=torch.channels_last)
    for i, image in enumerate(images):
        top, left, height, width = boxes[i]
        view = torch.from_numpy(image[top : top + height, left : left + width]).permute(2, 0, 1)[None]
        if (height, width) != (size, size):
            view = F.interpolate(view, (size, size), mode="bilinear", antialias=True, align_corners=False)
        out[i] = view[0].flip(-1) if flip[i] else view[0]
    return out
