"""How the images of an epoch are divided into optimizer steps. Loads no torch: forecasts count the same steps."""

from __future__ import annotations

import numpy as np

SMALLEST = 2
"""Images of a step at least: batch norm has no variance of one."""


def steps_in_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps of one epoch, in which every image is seen once: as many as whole batches would hold all images.

    The images are spread evenly over the steps, so that no batch is small. A small last batch would enter the running
    statistics of batch norm with full momentum at the very end of training, and the accuracy would depend on the number
    of images modulo the batch size; to drop the rest, as timm does, would train on fewer images in small subsets.

    Args:
        images: training images.
        batch_size: images of a step at most (one more where a step of a single image would be left).
    """
    return max(1, min(-(-images // batch_size), images // SMALLEST))


def largest_batch(images: int, batch_size: int) -> int:
    """Images of the largest step of an epoch; the smallest has at most one fewer."""
    return -(-images // steps_in_epoch(images, batch_size))


def batches_of(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """The positions of each step's images; the sizes of the steps differ by one at most.

    Args:
        order: int [N], the positions in the order of the epoch.
        batch_size: images of a step at most.
    """
    return np.array_split(order, steps_in_epoch(len(order), batch_size))
