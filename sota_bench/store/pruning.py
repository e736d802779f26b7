"""How much room a store takes, and what may be removed from it without forgetting a result."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sota_bench.store import artifacts, files


@dataclass(frozen=True)
class Sizes:
    """Bytes by part of a store.

    Attributes:
        artifacts: all finished stages, ``large`` included.
        large: checkpoints and pixels, which pruning may remove.
        work: unfinished stages.
        logs: log files.
        damaged: what was set aside.
    """

    artifacts: int
    large: int
    work: int
    logs: int
    damaged: int

    @property
    def total(self) -> int:
        """Bytes of everything."""
        return self.artifacts + self.work + self.logs + self.damaged


def measure(root: Path) -> Sizes:
    """Count the bytes under a store's folder; a missing folder counts as empty."""
    large = sum(size for key in artifacts.all_keys(root / "artifacts") for _, size in _large_files(root, key))
    parts = {name: files.folder_bytes(root / name) for name in ("artifacts", "work", "logs", "damaged")}
    return Sizes(large=large, **parts)


def prune(root: Path, needed: Collection[str], excess: int, last_used: Mapping[str, int]) -> int:
    """Remove large files, and unfinished work that nobody asked for, until ``excess`` bytes are gone.

    Args:
        root: the store's folder.
        needed: keys whose files stay.
        excess: bytes to remove, if there are as many.
        last_used: key -> order of last use; absent keys count as oldest.

    Returns:
        Bytes removed.
    """
    keep, freed = frozenset(needed), 0
    unfinished = {path.name for path in (root / "work").iterdir() if path.is_dir()}
    candidates = {*artifacts.all_keys(root / "artifacts"), *unfinished} - keep
    for key in sorted(candidates, key=lambda key: (last_used.get(key, 0), key)):
        if freed >= excess:
            break
        work = root / "work" / key
        freed += files.folder_bytes(work)
        shutil.rmtree(work, ignore_errors=True)
        for path, size in _large_files(root, key):
            with suppress(FileNotFoundError):
                path.unlink()
                freed += size
    return freed


def _large_files(root: Path, key: str) -> list[tuple[Path, int]]:
    folder = root / "artifacts" / key[:2] / key
    with suppress(artifacts.MissingArtifact, artifacts.DamagedArtifact):
        record = artifacts.read_record(folder, key)
        return [(folder / name, record.sizes[name]) for name in record.large if (folder / name).is_file()]
    return []
