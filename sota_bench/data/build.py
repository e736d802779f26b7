"""Makes a cache of decoded pixels with several processes, all at once or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sota_bench.data.cache import FORMAT, HEADER, file_digest
from sota_bench.data.decode import BadImage
from sota_bench.data.manifest import parse_scale
from sota_bench.data.packed import KINDS, CacheKind, packed
from sota_bench.data.source import Scale, Source
from sota_bench.data.specs import source_from_spec
from sota_bench.errors import UserError
from sota_bench.files import replace_folder
from sota_bench.processes import process_pool

if TYPE_CHECKING:
    import pandas as pd

_File = tuple[str, str, Scale]
"""An image's path, content digest and scale."""


class _Stored(NamedTuple):
    """What a cache holds of one image: its size in pixels, and its bytes."""

    height: int
    width: int
    data: bytes


_CHUNK = 64
_IMAGES_A_PROCESS = 1000
"""A process takes as long to start as to decode some hundred images, and a worker imports torch beside it."""


def build_cache(
    folder: Path,
    source: Source,
    items: pd.DataFrame,
    size: int,
    processes: int,
    progress: Callable[[int, int], None] | None = None,
    limit_bytes: int | None = None,
    kind: CacheKind = "pixels",
) -> dict[str, Any]:
    """Decode images with several processes and write them as a cache, all at once or not at all.

    Args:
        folder: to be made; what is there is replaced when the new one is complete.
        source: decodes; sent to the processes as its ``spec``.
        items: columns ``path``, ``sha256`` and ``scale``; a content that occurs twice is decoded once.
        size: the shorter side, in pixels; smaller images keep theirs.
        processes: how many decode at most; 1 decodes here.
        progress: called with (done, total).
        limit_bytes: the most that the cache may take.
        kind: what it holds of each image: pixels, a JPEG of them, or its size alone.

    Returns:
        What ``cache.json`` holds, and ``left_out``: (path, reason) of images that did not decode. The source notes
        them, and leaves them out of the next scan.

    Raises:
        UserError: the disk is full, the limit is too small, or the folder cannot be written.
    """
    unique = items.drop_duplicates("sha256")
    files = [
        (path, sha, parse_scale(scale))
        for path, sha, scale in zip(unique["path"], unique["sha256"], unique["scale"], strict=True)
    ]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _disk_error(folder, error) from None
    try:
        header, left_out = _write(working, source, files, size, processes, progress, limit_bytes, folder, kind)
        replace_folder(working, folder)
        if left_out:
            source.leave_out(left_out)
    except OSError as error:
        raise _disk_error(folder, error) from None
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return {**header, "left_out": left_out}


def _write(
    working: Path, source: Source, files: list[_File], size: int, processes: int,
    progress: Callable[[int, int], None] | None, limit_bytes: int | None, folder: Path,
    kind: CacheKind,
) -> tuple[dict[str, Any], list[tuple[str, str]]]:  # fmt: skip
    offsets, heights, widths, kept = [], [], [], []
    left_out: list[tuple[str, str]] = []
    total, digest = 0, hashlib.sha256()
    with (working / KINDS[kind].file).open("wb") as out:
        for done, (path, sha, image) in enumerate(_in_order(source, files, size, processes, kind), start=1):
            if isinstance(image, str):
                left_out.append((path, image))
            else:
                data = image.data
                if limit_bytes is not None and total + len(data) > limit_bytes:
                    problem = f"{len(files):,} images at {size} px do not fit into {limit_bytes / 2**20:,.0f} MiB"
                    remedy = "raise the limit of the cache, or use a smaller size or fewer images"
                    raise UserError(str(folder), "", problem, remedy)
                out.write(data)
                digest.update(data)
                offsets.append(total)
                heights.append(image.height)
                widths.append(image.width)
                kept.append(sha)
                total += len(data)
            if progress and (done % _CHUNK == 0 or done == len(files)):
                progress(done, len(files))
        _sync(out)
    with (working / "index.npz").open("wb") as out:
        np.savez(
            out,
            offset=np.array(offsets, np.int64),
            height=np.array(heights, np.int32),
            width=np.array(widths, np.int32),
            sha256=np.array(kept, dtype="U64"),
        )
        _sync(out)
    header = {
        "format": FORMAT, "kind": kind, "size": size, "count": len(kept), "bytes": total,
        "pixels_sha256": digest.hexdigest(), "index_sha256": file_digest(working / "index.npz"),
    }  # fmt: skip
    with (working / HEADER).open("w", encoding="utf-8") as text:
        json.dump(header, text, indent=1)
        _sync(text)
    return header, left_out


def processes_for(images: int, most: int) -> int:
    """How many processes decode so many images, of ``most`` that may."""
    return min(most, max(1, images // _IMAGES_A_PROCESS))


def decode_in_order(
    source: Source, files: list[tuple[str, str, Scale]], size: int, processes: int
) -> Iterator[tuple[str, str, np.ndarray | str]]:
    """Decodes images with several processes; memory is bounded by the chunks under way.

    Args:
        source: decodes; sent to the processes as its ``spec``.
        files: path, content digest and scale of each image.
        size: the shorter side, in pixels; smaller images keep theirs.
        processes: how many decode at most; 1 decodes here.

    Yields:
        (path, sha256, pixels or the reason why there are none), in the order of ``files``.
    """
    for path, sha, stored in _in_order(source, files, size, processes, "pixels"):
        if isinstance(stored, str):
            yield path, sha, stored
        else:
            yield path, sha, np.frombuffer(stored.data, np.uint8).reshape(stored.height, stored.width, 3)


def _in_order(
    source: Source, files: list[_File], size: int, processes: int, kind: CacheKind
) -> Iterator[tuple[str, str, _Stored | str]]:
    """The same as a cache of some kind holds it."""
    chunks = [files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK)]
    if processes <= 1 or len(chunks) < 2:
        for path, sha, scale in files:
            yield path, sha, _decode(source, path, sha, size, scale, kind)
        return
    workers = processes_for(len(files), processes)
    with process_pool(workers, _start, (source.spec, size, kind)) as pool:
        ahead = 4 * workers
        under_way = [pool.submit(_decode_all, chunk) for chunk in chunks[:ahead]]
        for position, chunk in enumerate(chunks):
            images = under_way[position].result()
            under_way[position] = None  # type: ignore[call-overload]  # its pixels are not needed again
            if position + ahead < len(chunks):
                under_way.append(pool.submit(_decode_all, chunks[position + ahead]))
            for (path, sha, _), image in zip(chunk, images, strict=True):
                yield path, sha, image


_source: Source | None = None
_size = 0
_kind: CacheKind = "pixels"


def _start(spec: dict[str, Any], size: int, kind: CacheKind) -> None:
    global _source, _size, _kind
    _source, _size, _kind = source_from_spec(spec), size, kind


def _decode_all(files: list[_File]) -> list[_Stored | str]:
    assert _source is not None
    return [_decode(_source, path, sha, _size, scale, _kind) for path, sha, scale in files]


def _decode(source: Source, path: str, sha: str, size: int, scale: Scale, kind: CacheKind) -> _Stored | str:
    try:
        pixels = source.decode(path, size, sha, scale)
        data = {"pixels": pixels.tobytes, "jpeg": lambda: packed(pixels), "none": bytes}[kind]()
        return _Stored(pixels.shape[0], pixels.shape[1], data)
    except BadImage as error:
        return str(error)
    except MemoryError:
        return "too large for the memory of this machine"


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _disk_error(folder: Path, error: OSError) -> UserError:
    return UserError(
        str(folder), "", f"the cache of decoded images cannot be written: {error.strerror or error}",
        "free some space, or put the store on another disk with --store",
    )  # fmt: skip
