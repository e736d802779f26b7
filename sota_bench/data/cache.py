"""Images at the stored size in a folder that is memory-mapped, addressed by content, and checked when opened.

Files: ``pixels.u8`` (all images, one after the other, [h, w, 3] each) or that of another kind of cache
(``data.packed``), ``index.npz`` (``offset`` int64 [N], ``height`` and ``width`` int32 [N], ``sha256`` of the source
files), ``cache.json`` (format, kind, counts and digests of the other two).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from sota_bench.errors import UserError

FORMAT = 1
HEADER = "cache.json"


class ImageCache(ABC):
    """Images at the stored size by row, memory-mapped and read-only.

    Attributes:
        kind: ``pixels``, ``jpeg`` or ``none``.
        file: name of the file that holds the images; "" where there is none.
        in_memory: whether an image is there without being decoded.
        folder: where it is.
        size: the shorter side that was asked for, in pixels: no image is decoded larger.
        data: np.memmap uint8 [bytes], of ``file``.
        offsets: int64 [N], first byte of each image.
        heights, widths: int32 [N].
        contents: sha256 of each source file, str [N].
    """

    kind: str
    file: str
    in_memory: bool

    def __init__(self, folder: Path, size: int, data: np.ndarray, index: dict[str, np.ndarray]) -> None:
        self.folder, self.size, self.data = folder, size, data
        self.offsets, self.heights, self.widths = index["offset"], index["height"], index["width"]
        self.contents = index["sha256"]

    @abstractmethod
    def image(self, row: int) -> np.ndarray:
        """One image, uint8 [h, w, 3]."""

    @classmethod
    @abstractmethod
    def fits(cls, index: dict[str, np.ndarray], total: int) -> bool:
        """Whether an index fits a file of so many bytes."""

    @classmethod
    def open(cls, folder: Path, verify: bool = False) -> Self:
        """Map a cache after checking its sizes and its index's digest.

        Args:
            folder: as given to ``build.build_cache``.
            verify: also compare the digest of all images (reads the whole file).

        Raises:
            UserError: missing, of another format, or not as it was written.
        """

        def damaged(problem: str) -> UserError:
            return UserError(
                str(folder), "", f"the cache of decoded images {problem}", "delete this folder, it is made again"
            )

        try:
            header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise damaged(f"is not of format {FORMAT}")
            if header.get("kind", "pixels") != cls.kind:
                raise damaged(f"is not of kind {cls.kind}")
            size, count, total = (int(header[key]) for key in ("size", "count", "bytes"))
            if file_digest(folder / "index.npz") != header["index_sha256"]:
                raise damaged("has an index that is not as it was written")
            with np.load(folder / "index.npz", allow_pickle=False) as stored:
                index = {key: stored[key] for key in ("offset", "height", "width", "sha256")}
            if (folder / cls.file).stat().st_size != total:
                raise damaged("has a pixel file of the wrong length")
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise damaged(f"cannot be read ({error})") from None
        if not all(len(column) == count for column in index.values()) or not cls.fits(index, total):
            raise damaged("has an index that does not fit its pixels")
        if verify and file_digest(folder / cls.file) != header["pixels_sha256"]:
            raise damaged("has pixels that are not as they were written")
        data = np.memmap(folder / cls.file, dtype=np.uint8, mode="r") if total else np.zeros(0, np.uint8)
        return cls(folder, size, data, index)

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {sha: row for row, sha in enumerate(self.contents.tolist())}

    def rows_of(self, contents: Sequence[str]) -> np.ndarray:
        """Rows of source files by their sha256, int64.

        Raises:
            KeyError: a content that is not in the cache.
        """
        rows = self._row_of
        return np.array([rows[sha] for sha in contents], dtype=np.int64)


class PixelCache(ImageCache):
    """Decoded pixels, one image after the other."""

    kind, file, in_memory = "pixels", "pixels.u8", True

    @classmethod
    def fits(cls, index: dict[str, np.ndarray], total: int) -> bool:
        """Whether the images follow each other without gaps."""
        lengths = index["height"].astype(np.int64) * index["width"] * 3
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return bool(starts[-1] == total and np.array_equal(starts[:-1], index["offset"]))

    def image(self, row: int) -> np.ndarray:
        """One image, uint8 [h, w, 3], a view of the map."""
        start, height, width = int(self.offsets[row]), int(self.heights[row]), int(self.widths[row])
        return self.data[start : start + height * width * 3].reshape(height, width, 3)


def channel_statistics(
    cache: ImageCache, rows: Sequence[int] | np.ndarray, channels: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation of every pixel of some images, per channel.

    Exact: sums of 8-bit values and of their squares are integers, and are divided once in float64.

    Args:
        cache: the images.
        rows: which; a row named twice counts twice.
        channels: 3 for RGB, 1 for luminance (ITU-R BT.601 weights 0.299, 0.587, 0.114).

    Returns:
        mean [channels], standard deviation [channels], float64, in grey levels 0 to 255.

    Raises:
        ValueError: no image, or neither 1 nor 3 channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels is 1 or 3, not {channels}")
    levels = np.arange(256, dtype=np.int64)
    first, second, count = np.zeros(channels), np.zeros(channels), 0
    weights = np.array([0.299, 0.587, 0.114])
    for row in rows:
        image = cache.image(int(row))
        count += image.shape[0] * image.shape[1]
        if channels == 1:
            grey = image @ weights
            first += grey.sum()
            second += np.square(grey).sum()
        else:
            for channel in range(3):
                histogram = np.bincount(image[:, :, channel].ravel(), minlength=256)
                first[channel] += histogram @ levels
                second[channel] += histogram @ (levels * levels)
    if not count:
        raise ValueError("no image to take statistics of")
    mean = first / count
    return mean, np.sqrt(np.maximum(second / count - mean * mean, 0))


def version_of(path: Path) -> tuple[int, int]:
    """Inode and modification time in ns: what tells a file from one that was made anew at its path."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
