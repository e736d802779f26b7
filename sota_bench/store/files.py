"""Digests of files, and which files of a folder make up an artifact, without following links out of it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sota_bench.files import PART

RESULT = "result.json"
_BLOCK = 2**24
SCRATCH_FOLDER = "partial"
"""Sub-folder of a workspace for what only a resumed stage reads; it never becomes part of an artifact."""
_SCRATCH_ENDINGS = (".tmp", ".partial", PART, ".lock")
_SUFFIXES = {".json", ".npz", ".npy", ".safetensors", ".u8", ".csv", ".txt"}


@dataclass(frozen=True)
class _Version:
    """What changes when a file is written again, and stays when it is renamed."""

    device: int
    inode: int
    size: int
    modified_ns: int
    path: Path = field(compare=False)
    on_block: Callable[[], None] = field(compare=False)


@lru_cache(maxsize=8192)
def _digest_of(version: _Version) -> str:
    digest = hashlib.sha256()
    with version.path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            version.on_block()
    return digest.hexdigest()


def _ignore() -> None:
    """Nobody wants to know how far the hashing is."""


def known_digest(path: Path, on_block: Callable[[], None] = _ignore) -> str:
    """SHA-256 of a file in hex, computed once per process for each version of it, under whatever name.

    Args:
        path: the file.
        on_block: called after every 16 MB, since a large file takes minutes.

    A file that is written again in place, with as many bytes and within one tick of the file system's clock, passes for
    the version before.

    Raises:
        ValueError: not a plain file.
    """
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        raise ValueError(f"{path.name} is not a plain file")
    return _digest_of(_Version(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, path, on_block))


def synced_digest(path: Path, on_block: Callable[[], None] = _ignore) -> str:
    """SHA-256 of a file in hex, its bytes forced to the disk first; arguments as :func:`known_digest`."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return known_digest(path, on_block)


def is_scratch(name: str) -> bool:
    """Whether a file of a workspace is left out of the artifact (``partial/...``, ``*.tmp``, ``*.partial``)."""
    return name.startswith(SCRATCH_FOLDER + "/") or name.endswith(_SCRATCH_ENDINGS)


def is_safe_name(name: Any) -> bool:
    """Whether a recorded file name stays inside its artifact's folder."""
    if not isinstance(name, str) or not name or "\\" in name or "\0" in name or name.startswith("/"):
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def result_files(workspace: Path) -> list[str]:
    """Names of the files of a finished workspace that make up its artifact, sorted.

    Args:
        workspace: the folder that a stage worked in.

    Returns:
        Relative names with forward slashes; ``result.json`` and scratch files are left out.

    Raises:
        ValueError: a link, a device, or a kind of file that could carry code (a pickle).
    """
    names = []
    for folder, folders, files in os.walk(workspace):
        for entry in [*files, *(name for name in folders if (Path(folder) / name).is_symlink())]:
            path = Path(folder) / entry
            name = path.relative_to(workspace).as_posix()
            if name == RESULT or is_scratch(name):
                continue
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ValueError(f"{name} is not a plain file; a stage must write files, not links")
            if path.suffix not in _SUFFIXES:
                raise ValueError(f"{name}: an artifact holds only {', '.join(sorted(_SUFFIXES))} files")
            names.append(name)
    return sorted(names)


def folder_bytes(folder: Path) -> int:
    """Bytes of all plain files under ``folder``; 0 where it is missing, files that vanish meanwhile are skipped."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 (10,000s of files)
            except FileNotFoundError:
                continue
    return total


def free_name(folder: Path, name: str) -> Path:
    """A path in ``folder`` (made when absent) that nothing has yet: ``name-0``, ``name-1`` ..."""
    folder.mkdir(exist_ok=True)
    number = 0
    while os.path.lexists(folder / f"{name}-{number}"):
        number += 1
    return folder / f"{name}-{number}"
