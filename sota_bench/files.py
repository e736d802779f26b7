"""Files and folders that a reader finds whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PART = ".part"
"""Ending of a file in the making. One that a killed process left is never read."""


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a path to write to, and put that file in the place of ``path`` when the block ends without an error.

    Args:
        path: the file to make or replace; its folder exists.
        durable: force the bytes and the new name to the disk, so that they survive a power cut.

    Raises:
        OSError: the file cannot be put in its place; no part of it is left.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        yield part
        if durable:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write ``text`` as UTF-8, with its line ends as they are; see :func:`replacing`."""
    with replacing(path, durable=durable) as part:
        part.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as canonical JSON that survives a power cut; see :func:`replacing`."""
    write_text(path, canonical_json(value), durable=True)


def canonical_json(value: Any) -> str:
    """JSON text that is equal for equal values; non-finite numbers raise ``ValueError``."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def replace_folder(new: Path, folder: Path) -> None:
    """Put a finished folder in the place of ``folder``, whose old content goes, and force the new name to the disk.

    Args:
        new: the finished folder, on the same disk.
        folder: its place; another folder may be there.
    """
    old = new.with_name(f"{new.name}.old")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut."""
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
