"""Batches from the cache: rows of it, with their labels, cropped and resized on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sota_bench.data.cache import ImageCache
from sota_bench.data.scan import usable_cores
from sota_bench.data.split import image_ids
from sota_bench.training.crop import crop_resize_each, crop_resize_products

LUMINANCE = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue, as Pillow's mode ``L``."""

PART = 8
"""Images that a thread decodes at once, where the cache holds no pixels."""

LOADED_AT_ONCE = 256
"""Images that are copied to a GPU at once."""


class Images:
    """The images of one split.

    Args:
        cache: all images.
        rows: int64 [N], rows of the cache.
        labels: int64 [N].
        device: where batches are made. A GPU keeps the whole split where it fits, and else is sent each batch.
        in_chans: 3 for RGB, 1 for luminance.
    """

    def __init__(
        self, cache: ImageCache, rows: np.ndarray, labels: np.ndarray, device: torch.device, in_chans: int = 3
    ) -> None:
        self.cache, self.rows, self.device, self.in_chans = cache, np.asarray(rows), device, in_chans
        self.labels = torch.from_numpy(np.asarray(labels, dtype=np.int64))
        self.heights = np.asarray(cache.heights)[self.rows].astype(np.int64)
        self.widths = np.asarray(cache.widths)[self.rows].astype(np.int64)
        # A worker on a CPU decodes with as many threads as it computes with; one that feeds a GPU takes all cores.
        threads = torch.get_num_threads() if device.type == "cpu" else usable_cores()
        self._decoders = None if cache.in_memory else ThreadPoolExecutor(threads)
        self._ahead: dict[bytes, list[Future[list[np.ndarray]]]] = {}
        self._last: tuple[bytes, list[np.ndarray]] = b"", []
        self._resident = self._loaded() if device.type == "cuda" else None

    @cached_property
    def image_ids(self) -> np.ndarray:
        """int64 [N], numbers that follow from each image's content alone (see ``data.split.image_ids``)."""
        return image_ids(self.cache.contents[self.rows].tolist())

    def __len__(self) -> int:
        return len(self.rows)

    def expect(self, positions: np.ndarray) -> None:
        """Begins to decode the images of a later batch, where the cache holds no pixels: they are decoded while the
        batch before is computed.

        Args:
            positions: int [B], indices into ``rows``.
        """
        if self._decoders is not None and self._resident is None:
            self._ahead[positions.tobytes()] = self._decode(positions)

    def _images(self, positions: np.ndarray) -> list[np.ndarray]:
        """The images at ``positions``, uint8 [h, w, 3] each."""
        if self._decoders is None:
            return [self.cache.image(int(row)) for row in self.rows[positions]]
        name = positions.tobytes()
        if self._last[0] != name:  # another view of the same batch needs no other images
            parts = self._ahead.pop(name, None) or self._decode(positions)
            self._last = name, [image for part in parts for image in part.result()]
        return self._last[1]

    def _decode(self, positions: np.ndarray) -> list[Future[list[np.ndarray]]]:
        assert self._decoders is not None
        rows = self.rows[positions]
        parts = [rows[first : first + PART] for first in range(0, len(rows), PART)]
        return [self._decoders.submit(self._decoded, part) for part in parts]

    def _decoded(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        return [self.cache.image(int(row)) for row in rows]

    def batch(self, positions: np.ndarray, boxes: np.ndarray, flip: np.ndarray, size: int) -> Tensor:
        """Crops the images at ``positions``.

        Args:
            positions: int [B], indices into ``rows``.
            boxes: int [B, 4]: top, left, height, width.
            flip: bool [B].
            size: pixels of both sides.

        Returns:
            float32 [B, in_chans, size, size], 0..255, on the device.
        """
        if self.device.type == "cpu":
            images = self._images(positions)
            pixels = crop_resize_each(images, boxes, flip, size).float()
        else:
            pixels = crop_resize_products(
                self._on_device(positions),
                torch.from_numpy(boxes).to(self.device, torch.float32, non_blocking=True),
                torch.from_numpy(flip).to(self.device, non_blocking=True),
                size,
            )
        if self.in_chans == 1:
            weights = torch.tensor(LUMINANCE).to(pixels.device, non_blocking=True)[None, :, None, None]
            pixels = (pixels * weights).sum(1, keepdim=True)
        return pixels

    def _on_device(self, positions: np.ndarray) -> Tensor:
        """Returns uint8 [B, 3, H, W] on the device, as large as the batch's largest image, padded below and right."""
        if self._resident is None:
            return self._padded(positions).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        height, width = int(self.heights[positions].max()), int(self.widths[positions].max())
        chosen = torch.from_numpy(positions).to(self.device, non_blocking=True)
        return self._resident[chosen][:, :, :height, :width]  # a GPU gathers whole rows fastest

    def _loaded(self) -> Tensor | None:
        """Loads the whole split onto the device, uint8 [N, 3, H, W] padded to one shape; returns None where it takes
        more than a third of the free memory."""
        shape = (len(self), 3, int(self.heights.max(initial=0)), int(self.widths.max(initial=0)))
        if math.prod(shape) > _free_bytes(self.device) // 3:
            return None
        whole = torch.empty(shape, dtype=torch.uint8, device=self.device)
        for first in range(0, len(self), LOADED_AT_ONCE):
            part = self._padded(np.arange(first, min(first + LOADED_AT_ONCE, len(self))), shape[2:])
            whole[first : first + len(part)] = part.to(self.device).permute(0, 3, 1, 2)
        return whole

    def _padded(self, positions: np.ndarray, shape: tuple[int, int] | None = None) -> Tensor:
        """Returns uint8 [B, H, W, 3] in the host's memory, pinned for a GPU."""
        height, width = shape or (int(self.heights[positions].max()), int(self.widths[positions].max()))
        out = torch.zeros((len(positions), height, width, 3), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        pixels = out.numpy()
        for i, image in enumerate(self._images(positions)):
            pixels[i, : image.shape[0], : image.shape[1]] = image
        return out


def _free_bytes(device: torch.device) -> int:
    free: int = torch.cuda.mem_get_info(device)[0]
    return free
