"""Caches that decode each time, for data sets whose pixels do not fit on a disk: packed JPEGs, or the source itself."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import numpy as np

from sota_bench.data.cache import HEADER, ImageCache, PixelCache
from sota_bench.data.decode import BadImage
from sota_bench.data.source import Scale, Source
from sota_bench.errors import UserError

CacheKind = Literal["pixels", "jpeg", "none"]

QUALITY = 90
"""Of the JPEGs, as in FFCV's ImageNet (Leclerc et al. 2023, https://arxiv.org/abs/2306.12517)."""

MOST_PIXEL_BYTES = 64 * 2**30
"""What the pixels of a data set may take where nobody says how they are kept."""


def packed(pixels: np.ndarray) -> bytes:
    """Stored pixels uint8 [h, w, 3] as a JPEG; the same pixels give the same bytes."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def unpacked(content: bytes) -> np.ndarray:
    """The pixels of a packed JPEG, uint8 [h, w, 3]."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content), formats=["JPEG"]))


class JpegCache(ImageCache):
    """JPEGs of the stored pixels, one after the other."""

    kind, file, in_memory = "jpeg", "jpegs.u8", False

    @classmethod
    def fits(cls, index: dict[str, np.ndarray], total: int) -> bool:
        """Whether every image has bytes of its own."""
        ends = np.append(index["offset"], total)
        return bool(ends[0] == 0 and (np.diff(ends) > 0).all())

    def image(self, row: int) -> np.ndarray:
        """One image, uint8 [h, w, 3], decoded anew."""
        start = int(self.offsets[row])
        end = int(self.offsets[row + 1]) if row + 1 < len(self) else len(self.data)
        return unpacked(self.data[start:end].tobytes())


class SourceCache(ImageCache):
    """The sizes of all images; the source decodes them, to the bits that a cache of pixels would hold.

    Attributes:
        ready: whether the source has been named.
    """

    kind, file, in_memory = "none", "empty.u8", False

    @classmethod
    def fits(cls, index: dict[str, np.ndarray], total: int) -> bool:
        """Whether nothing is stored but the index."""
        return total == 0 and not index["offset"].any()

    ready = False

    def read_from(self, source: Source, files: Mapping[str, tuple[str, Scale]]) -> None:
        """Names the source.

        Args:
            source: decodes.
            files: content -> its path in the source, and its scale.
        """
        self._source, self._files, self.ready = source, files, True

    def image(self, row: int) -> np.ndarray:
        """One image, uint8 [h, w, 3], decoded anew.

        Raises:
            OSError: its file is gone, or has other bytes than when it was listed.
        """
        content = str(self.contents[row])
        path, scale = self._files[content]
        try:
            return self._source.decode(path, self.size, content, scale)
        except BadImage as error:
            raise OSError(f"{path}: {error}") from None


def kind_of(wanted: str, images: int, size: int) -> CacheKind:
    """How images are kept: as asked for, or for ``auto`` as pixels where these take ``MOST_PIXEL_BYTES`` at most.

    Args:
        wanted: ``auto`` or a kind.
        images: how many.
        size: pixels of the shorter side; the longer one is taken as 4/3 of it.
    """
    if wanted != "auto":
        return cast(CacheKind, wanted)
    return "pixels" if images * size * size * 4 <= MOST_PIXEL_BYTES else "jpeg"


KINDS: dict[str, type[ImageCache]] = {cache.kind: cache for cache in (PixelCache, JpegCache, SourceCache)}


def open_cache(folder: Path) -> ImageCache:
    """The cache in a folder, of whatever kind.

    Raises:
        UserError: as :meth:`ImageCache.open`.
    """
    try:
        kind = json.loads((folder / HEADER).read_text(encoding="utf-8")).get("kind", "pixels")
        cache = KINDS[kind]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"the cache of decoded images cannot be read ({error})"
        raise UserError(str(folder), "", problem, "delete this folder, it is made again") from None
    return cache.open(folder)
