"""Content digests and a first check of many files, with all cores, remembered between runs."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from sota_bench.data.decode import BadImage, check_header

Reader = Callable[[str], bytes]
"""Reads one file of a source by its path; picklable."""

_FEW = 256
"""Below this many files, starting processes costs more than it saves."""

_CHUNK = 256


@dataclass
class ScanCache:
    """What earlier scans of one source found, keyed by path, size and modification time.

    Attributes:
        file: where it is kept; None keeps nothing.
        known: path -> (bytes, modification time in ns, sha256, problem or "").
    """

    file: Path | None
    known: dict[str, tuple[int, int, str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path | None, kind: str, root: str) -> ScanCache:
        """Read what is kept for a source; a missing or damaged file is no more than an empty cache."""
        if folder is None:
            return cls(None)
        file = folder / f"scan-{hashlib.sha256(f'{kind}:{root}'.encode()).hexdigest()[:20]}.npz"
        try:
            with np.load(file, allow_pickle=False) as stored:
                if stored["root"].item() != root:
                    return cls(file)
                columns = [stored[name].tolist() for name in ("path", "bytes", "mtime", "sha256", "problem")]
        except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
            return cls(file)
        return cls(file, {row[0]: row[1:] for row in zip(*columns, strict=True)})

    def save(self, root: str, rows: Mapping[str, tuple[int, int, str, str]]) -> None:
        """Replace what is kept; a read-only or full disk only costs the next scan its speed."""
        if self.file is None or not rows:
            return
        partial = self.file.with_name(f"{self.file.name}.{os.getpid()}.part")
        sizes, times, shas, problems = zip(*rows.values(), strict=True)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as out:
                np.savez(
                    out, root=np.array(root), path=np.array(list(rows)), bytes=np.array(sizes, dtype=np.int64),
                    mtime=np.array(times, dtype=np.int64), sha256=np.array(shas), problem=np.array(problems),
                )  # fmt: skip
            partial.replace(self.file)
        except OSError:
            partial.unlink(missing_ok=True)


def scan_files(
    reader: Reader,
    wanted: Sequence[tuple[str, int, int]],
    cache: ScanCache,
    root: str,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[str, str]]:
    """Digest and check files, except those that are unchanged since the last scan.

    Args:
        reader: reads a file's bytes.
        wanted: (path, bytes, modification time in ns) per file.
        cache: what earlier scans found; updated on disk.
        root: the source, as the cache is named for it.
        progress: called with (done, total).

    Returns:
        path -> (sha256, problem), one of them "".
    """
    results: dict[str, tuple[str, str]] = {}
    rest: list[str] = []
    for path, size, mtime in wanted:
        entry = cache.known.get(path)
        if entry is not None and entry[:2] == (size, mtime):
            results[path] = entry[2:]
        else:
            rest.append(path)
    if not rest:
        if progress:
            progress(len(wanted), len(wanted))
        return results
    done = len(results)
    for chunk, found in _map(reader, [rest[i : i + _CHUNK] for i in range(0, len(rest), _CHUNK)]):
        results.update(zip(chunk, found, strict=True))
        done += len(chunk)
        if progress:
            progress(done, len(wanted))
    cache.save(root, {path: (size, mtime, *results[path]) for path, size, mtime in wanted})
    return results


def _map(reader: Reader, chunks: list[list[str]]) -> Iterator[tuple[list[str], list[tuple[str, str]]]]:
    cores = os.cpu_count() or 1
    if cores == 1 or sum(map(len, chunks)) < _FEW:
        for chunk in chunks:
            yield chunk, [_look(reader, path) for path in chunk]
        return
    # Spawned, not forked: the caller may run threads.
    with ProcessPoolExecutor(min(cores, len(chunks)), get_context("spawn"), _start, (reader,)) as pool:
        yield from zip(chunks, pool.map(_look_at_all, chunks), strict=True)


_reader: Reader | None = None


def _start(reader: Reader) -> None:
    global _reader
    _reader = reader


def _look_at_all(paths: list[str]) -> list[tuple[str, str]]:
    assert _reader is not None
    return [_look(_reader, path) for path in paths]


def _look(reader: Reader, path: str) -> tuple[str, str]:
    try:
        data = reader(path)
        check_header(data)
    except BadImage as error:
        return "", str(error)
    except (OSError, ValueError, MemoryError) as error:
        return "", f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}"
    return hashlib.sha256(data).hexdigest(), ""
