"""Content digests and a first look at many files, with all cores that may be used, remembered between runs."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sota_bench.data import facts
from sota_bench.data.decode import BadImage, inspect_image
from sota_bench.processes import process_pool

Reader = Callable[[str], bytes]
"""Reads one file of a source by its path; picklable."""

_FEW = 256
"""Below this many files, starting processes costs more than it saves."""

_CHUNK = 256

SAVE_EVERY_S = 60.0
"""Seconds after which a scan keeps what it found, at least: it spends a twentieth of its time on that at most."""

_KEY = "scan 4"
"""Changes when ``inspect_image`` judges files in another way."""

CHANGED = "changed since it was listed"
"""Why an image is not decoded whose bytes are others than those that were planned with."""


class Scanned(NamedTuple):
    """What a scan learned about a file.

    Attributes:
        sha256: of the file; "" where it cannot be used.
        problem: why it cannot; "" where it can.
        length: in bytes.
        low, high: the least and the largest sample of an image with more than 8 bits; NaN for others.
        thumbnail: grey levels by which near copies are found.
    """

    sha256: str
    problem: str
    length: int = 0
    low: float = math.nan
    high: float = math.nan
    thumbnail: bytes = b""


_COLUMNS = ("path", "size", "mtime", *Scanned._fields)


def scan_files(
    reader: Reader,
    files: Sequence[tuple[str, int, int]],
    cache: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Scanned]:
    """Digest and check files, except those that are unchanged since the last scan. What a scan found is kept while it
    goes on, so one that is interrupted or killed is resumed by the next.

    Args:
        reader: reads a file's bytes.
        files: (path, bytes, modification time in ns) per file.
        cache: file that remembers what earlier scans found; None remembers nothing.
        progress: called with (done, total).

    Returns:
        path -> what was learned.
    """
    remembered = facts.load(cache, _KEY, _COLUMNS) if cache else None
    earlier = {path: tuple(row) for path, *row in zip(*remembered, strict=True)} if remembered else {}
    results: dict[str, Scanned] = {}
    unread: list[str] = []
    for path, size, mtime in files:
        entry = earlier.get(path)
        if entry is not None and entry[:2] == (size, mtime):
            results[path] = Scanned(*entry[2:])
        else:
            unread.append(path)
    if not unread:
        if progress:
            progress(len(files), len(files))
        return results
    next_save = time.monotonic() + SAVE_EVERY_S
    try:
        for chunk, checked in _map(reader, [unread[i : i + _CHUNK] for i in range(0, len(unread), _CHUNK)]):
            results.update(zip(chunk, checked, strict=True))
            if progress:
                progress(len(results), len(files))
            if cache and time.monotonic() > next_save:
                began = time.monotonic()
                _save_found(cache, files, results)
                next_save = time.monotonic() + max(SAVE_EVERY_S, 20 * (time.monotonic() - began))
    finally:
        if cache and results:
            _save_found(cache, files, results)
    return results


def _save_found(cache: Path, files: Sequence[tuple[str, int, int]], results: dict[str, Scanned]) -> None:
    _save(cache, [(*file, *results[file[0]]) for file in files if file[0] in results])


def remember(cache: Path, left_out: Iterable[tuple[str, str]]) -> bool:
    """Record that files did not decode, so that the next scan leaves them out as long as they do not change, and looks
    again at those that have.

    Args:
        cache: as given to ``scan_files``.
        left_out: (path, reason).

    Returns:
        Whether the next scan will know.
    """
    remembered = facts.load(cache, _KEY, _COLUMNS)
    reasons = dict(left_out)
    if remembered is None:
        return set(reasons.values()) <= {CHANGED}
    rows: list[tuple[Any, ...]] = []
    for path, size, mtime, *values in zip(*remembered, strict=True):
        if path not in reasons:
            rows.append((path, size, mtime, *values))
        elif reasons[path] != CHANGED:
            rows.append((path, size, mtime, *Scanned("", reasons[path])))
    return _save(cache, rows)


def _save(cache: Path, rows: Sequence[tuple[Any, ...]]) -> bool:
    return facts.save(cache, _KEY, dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)))


def usable_cores() -> int:
    """Processors that this process may use: a container or ``taskset`` may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _map(reader: Reader, chunks: list[list[str]]) -> Iterator[tuple[list[str], list[Scanned]]]:
    cores = usable_cores()
    if cores == 1 or sum(map(len, chunks)) < _FEW:
        for chunk in chunks:
            yield chunk, [_look(reader, path) for path in chunk]
        return
    with process_pool(min(cores, len(chunks)), _start, (reader,)) as pool:
        yield from zip(chunks, pool.map(_look_at_all, chunks), strict=True)


_reader: Reader | None = None


def _start(reader: Reader) -> None:
    global _reader
    _reader = reader


def _look_at_all(paths: list[str]) -> list[Scanned]:
    assert _reader is not None
    return [_look(_reader, path) for path in paths]


def _look(reader: Reader, path: str) -> Scanned:
    try:
        data = reader(path)
        image = inspect_image(data)
    except BadImage as error:
        return Scanned("", str(error))
    except (OSError, ValueError, MemoryError) as error:
        return Scanned("", f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}")
    return Scanned(hashlib.sha256(data).hexdigest(), "", len(data), image.low, image.high, image.thumbnail)
