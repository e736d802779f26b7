"""Batches from the decoded cache: rows of it, with their labels, cropped and resized on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sota_bench.data.cache import PixelCache
from sota_bench.training.crop import crop_resize_each, crop_resize_products

LUMINANCE = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue, as Pillow's mode ``L``."""


class Images:
    """The images of one split.

    Args:
        cache: decoded pixels.
        rows: int64 [N], rows of the cache.
        labels: int64 [N].
        device: where batches are made.
        in_chans: 3 for RGB, 1 for luminance.
    """

    def __init__(
        self, cache: PixelCache, rows: np.ndarray, labels: np.ndarray, device: torch.device, in_chans: int = 3
    ) -> None:
        self.cache, self.rows, self.device, self.in_chans = cache, np.asarray(rows), device, in_chans
        self.labels = torch.from_numpy(np.asarray(labels, dtype=np.int64))
        self.heights = np.asarray(cache.heights)[self.rows].astype(np.int64)
        self.widths = np.asarray(cache.widths)[self.rows].astype(np.int64)
        self._resident: Tensor | None = None
        if device.type == "cuda" and cache.uniform is not None:
            free, _ = torch.cuda.mem_get_info(device)
            if cache.pixels.nbytes < free // 3:
                self._resident = torch.from_numpy(cache.as_array()).to(device)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, positions: np.ndarray, boxes: np.ndarray, flip: np.ndarray, size: int) -> Tensor:
        """Crops of the images at ``positions``.

        Args:
            positions: int [B], indices into ``rows``.
            boxes: int [B, 4]: top, left, height, width.
            flip: bool [B].
            size: pixels of both sides.

        Returns:
            float32 [B, in_chans, size, size], 0..255, on the device.
        """
        if self.device.type == "cpu":
            images = [self.cache.image(int(row)) for row in self.rows[positions]]
            pixels = crop_resize_each(images, boxes, flip, size).float()
        else:
            pixels = crop_resize_products(
                self._on_device(positions),
                torch.from_numpy(boxes).to(self.device, torch.float32, non_blocking=True),
                torch.from_numpy(flip).to(self.device, non_blocking=True),
                size,
            )
        if self.in_chans == 1:
            weights = torch.tensor(LUMINANCE, device=pixels.device)[None, :, None, None]
            pixels = (pixels * weights).sum(1, keepdim=True)
        return pixels

    def _on_device(self, positions: np.ndarray) -> Tensor:
        rows = self.rows[positions]
        if self._resident is not None:
            return self._resident[torch.from_numpy(rows).to(self.device)]
        height, width = int(self.heights[positions].max()), int(self.widths[positions].max())
        padded = torch.zeros((len(rows), height, width, 3), dtype=torch.uint8, pin_memory=True)
        for i, row in enumerate(rows):
            image = self.cache.image(int(row))
            padded[i, : image.shape[0], : image.shape[1]] = torch.from_numpy(np.ascontiguousarray(image))
        return padded.to(self.device, non_blocking=True)
