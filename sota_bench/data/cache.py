"""Decode once: a folder of uint8 pixels that is memory-mapped, addressed by content, and checked when opened.

Files: ``pixels.u8`` (all images, one after the other, [h, w, 3] each), ``index.npz`` (``offset`` int64 [N], ``height``
and ``width`` int32 [N], ``sha256`` of the source files), ``cache.json`` (format, counts and digests of the other two).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sota_bench.data.decode import BadImage
from sota_bench.data.source import Source, from_spec
from sota_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
_CHUNK = 64


class PixelCache:
    """Decoded images, memory-mapped and read-only.

    Attributes:
        folder: where it is.
        size: the shorter side that was asked for, in pixels: no image is decoded larger.
        pixels: np.memmap uint8 [bytes].
        offsets: int64 [N], first byte of each image.
        heights, widths: int32 [N].
        contents: sha256 of each source file, str [N].
        uniform: (h, w) where all images have one shape, else None.
    """

    def __init__(self, folder: Path, size: int, pixels: np.ndarray, index: dict[str, np.ndarray]) -> None:
        self.folder, self.size, self.pixels = folder, size, pixels
        self.offsets, self.heights, self.widths = index["offset"], index["height"], index["width"]
        self.contents = index["sha256"]
        shapes = {(int(h), int(w)) for h, w in np.unique(np.stack([self.heights, self.widths], 1), axis=0)}
        self.uniform = shapes.pop() if len(shapes) == 1 else None

    @classmethod
    def open(cls, folder: Path, verify: bool = False) -> PixelCache:
        """Map a cache after checking its sizes and its index's digest.

        Args:
            folder: as given to ``build_cache``.
            verify: also compare the digest of all pixels (reads the whole file).

        Raises:
            UserError: missing, of another format, or not as it was written.
        """

        def damaged(problem: str) -> UserError:
            return UserError(str(folder), "", f"the cache of decoded images {problem}", "delete this folder; it is made again")

        try:
            header = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise damaged(f"is not of format {FORMAT}")
            size, count, total = (int(header[key]) for key in ("size", "count", "bytes"))
            if file_digest(folder / "index.npz") != header["index_sha256"]:
                raise damaged("has an index that is not as it was written")
            with np.load(folder / "index.npz", allow_pickle=False) as stored:
                index = {key: stored[key] for key in ("offset", "height", "width", "sha256")}
            if (folder / "pixels.u8").stat().st_size != total:
                raise damaged("has a pixel file of the wrong length")
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise damaged(f"cannot be read ({error})") from None
        lengths = index["height"].astype(np.int64) * index["width"] * 3
        starts = np.concatenate([[0], np.cumsum(lengths)])
        same = all(len(column) == count for column in index.values())
        if not same or starts[-1] != total or not np.array_equal(starts[:-1], index["offset"]):
            raise damaged("has an index that does not fit its pixels")
        if verify and file_digest(folder / "pixels.u8") != header["pixels_sha256"]:
            raise damaged("has pixels that are not as they were written")
        pixels = np.memmap(folder / "pixels.u8", dtype=np.uint8, mode="r") if total else np.zeros(0, np.uint8)
        return cls(folder, size, pixels, index)

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

    def image(self, row: int) -> np.ndarray:
        """One image, uint8 [h, w, 3], a view of the map."""
        start, height, width = int(self.offsets[row]), int(self.heights[row]), int(self.widths[row])
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)

    def as_array(self) -> np.ndarray:
        """All images, uint8 [N, h, w, 3], a view of the map.

        Raises:
            ValueError: the images differ in shape.
        """
        if self.uniform is None:
            raise ValueError("the images differ in shape")
        return self.pixels.reshape(len(self), *self.uniform, 3)


def build_cache(
    folder: Path,
    source: Source,
    items: pd.DataFrame,
    size: int,
    processes: int,
    progress: Callable[[int, int], None] | None = None,
    limit_bytes: int | None = None,
) -> dict[str, Any]:
    """Decode images with several processes and write them as a cache, all at once or not at all.

    Args:
        folder: to be made; what is there is replaced when the new one is complete.
        source: decodes; sent to the processes as its ``spec``.
        items: columns ``path`` and ``sha256``; a content that occurs twice is decoded once.
        size: the shorter side, in pixels; smaller images keep theirs.
        processes: how many decode; 1 decodes here.
        progress: called with (done, total).
        limit_bytes: the most that the cache may take.

    Returns:
        What ``cache.json`` holds, and ``left_out``: (path, reason) of images that did not decode.

    Raises:
        UserError: the disk is full, the limit is too small, or the folder cannot be written.
    """
    unique = items.drop_duplicates("sha256")
    paths, contents = unique["path"].tolist(), unique["sha256"].tolist()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _disk_error(folder, error) from None
    try:
        header, left_out = _write(working, source, paths, contents, size, processes, progress, limit_bytes, folder)
        _replace(working, folder)
    except OSError as error:
        raise _disk_error(folder, error) from None
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return {**header, "left_out": left_out}


def channel_statistics(cache: PixelCache, rows: Sequence[int] | np.ndarray, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation of every pixel of some images, per channel.

    Exact: sums of 8-bit values and of their squares are integers, and are divided once in float64.

    Args:
        cache: decoded images.
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


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(
    working: Path, source: Source, paths: list[str], contents: list[str], size: int, processes: int,
    progress: Callable[[int, int], None] | None, limit_bytes: int | None, folder: Path,
) -> tuple[dict[str, Any], list[tuple[str, str]]]:  # fmt: skip
    offsets, heights, widths, kept = [], [], [], []
    left_out: list[tuple[str, str]] = []
    total, digest = 0, hashlib.sha256()
    with (working / "pixels.u8").open("wb") as out:
        for done, (path, sha, image) in enumerate(_decoded(source, paths, contents, size, processes), start=1):
            if isinstance(image, str):
                left_out.append((path, image))
            else:
                data = np.ascontiguousarray(image)
                if limit_bytes is not None and total + data.nbytes > limit_bytes:
                    raise UserError(
                        str(folder), "", f"{len(paths):,} images at {size} px do not fit into {limit_bytes / 2**20:,.0f} MiB",
                        "raise the limit of the cache, or use a smaller size or fewer images",
                    )  # fmt: skip
                out.write(data)
                digest.update(data)
                offsets.append(total)
                heights.append(data.shape[0])
                widths.append(data.shape[1])
                kept.append(sha)
                total += data.nbytes
            if progress and (done % _CHUNK == 0 or done == len(paths)):
                progress(done, len(paths))
        _sync(out)
    with (working / "index.npz").open("wb") as out:
        np.savez(
            out, offset=np.array(offsets, np.int64), height=np.array(heights, np.int32), width=np.array(widths, np.int32),
            sha256=np.array(kept, dtype="U64"),
        )  # fmt: skip
        _sync(out)
    header = {
        "format": FORMAT, "size": size, "count": len(kept), "bytes": total, "pixels_sha256": digest.hexdigest(),
        "index_sha256": file_digest(working / "index.npz"),
    }  # fmt: skip
    with (working / "cache.json").open("w", encoding="utf-8") as text:
        json.dump(header, text, indent=1)
        _sync(text)
    return header, left_out


def _decoded(
    source: Source, paths: list[str], contents: list[str], size: int, processes: int
) -> Iterator[tuple[str, str, np.ndarray | str]]:
    """(path, sha256, pixels or the reason why there are none), in order; memory is bounded by the chunks under way."""
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    shas = iter(contents)
    if processes <= 1 or len(chunks) < 2:
        for path in paths:
            yield path, next(shas), _decode(source, path, size)
        return
    workers = min(processes, len(chunks))
    # Spawned, not forked: the caller may run threads.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (source.spec, size)) as pool:
        ahead = 4 * workers
        under_way = [pool.submit(_decode_all, chunk) for chunk in chunks[:ahead]]
        try:
            for position, chunk in enumerate(chunks):
                images = under_way[position].result()
                under_way[position] = None  # type: ignore[call-overload]  # its pixels are not needed again
                if position + ahead < len(chunks):
                    under_way.append(pool.submit(_decode_all, chunks[position + ahead]))
                for path, image in zip(chunk, images, strict=True):
                    yield path, next(shas), image
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_source: Source | None = None
_size = 0


def _start(spec: dict[str, Any], size: int) -> None:
    global _source, _size
    _source, _size = from_spec(spec), size


def _decode_all(paths: list[str]) -> list[np.ndarray | str]:
    assert _source is not None
    return [_decode(_source, path, _size) for path in paths]


def _decode(source: Source, path: str, size: int) -> np.ndarray | str:
    try:
        return source.decode(path, size)
    except BadImage as error:
        return str(error)
    except MemoryError:
        return "too large for the memory of this machine"


def _replace(working: Path, folder: Path) -> None:
    """Put a finished folder in the place of the old one."""
    if folder.exists():
        old = working.with_name(working.name + ".old")
        folder.rename(old)
        working.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        working.rename(folder)
    if hasattr(os, "O_DIRECTORY"):
        parent = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _disk_error(folder: Path, error: OSError) -> UserError:
    return UserError(
        str(folder), "", f"the cache of decoded images cannot be written: {error.strerror or error}",
        "free some space, or put the store on another disk with --store",
    )  # fmt: skip
