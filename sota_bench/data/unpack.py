"""Unpacks a compressed archive once into the user's cache; nothing can be written outside of it."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import IO

from sota_bench.data.archives import ENDINGS, archive_entries, archive_error
from sota_bench.data.junk import SIDECAR
from sota_bench.data.members import Skipped, resolve_links
from sota_bench.errors import UserError, disk_is_full

MAX_FILES = 20_000_000
_SPARE_BYTES = 1 << 28
_BAD_NAME = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
"""A file and a folder of one name, or a name that this file system does not take."""


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive's regular files and its links among them, or find them unpacked already.

    Args:
        archive: a compressed .tar or a .zip.
        folder: in which a folder named for the archive, its length and its modification time is made.

    Returns:
        The folder with the files. A file in it (``junk.SIDECAR``) lists what was left out: members and links that point
        outside, and what is no regular file.

    Raises:
        UserError: not an archive, damaged, encrypted, or too large for the disk.
    """
    try:
        status = archive.stat()
    except OSError as error:
        raise UserError(str(archive), "", f"cannot be read: {error.strerror}", "name an existing archive") from None
    identity = f"2:{archive.absolute()}:{status.st_size}:{status.st_mtime_ns}"
    stem = archive.name
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    target = folder / f"{stem}-{hashlib.sha256(identity.encode(errors='surrogateescape')).hexdigest()[:12]}"
    if target.is_dir():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{stem}-", dir=folder))
    except OSError as error:
        raise UserError(
            str(folder), "", f"cannot be written: {error.strerror}", "make room in the user's cache"
        ) from None
    try:
        _write(archive, working, shutil.disk_usage(folder).free - _SPARE_BYTES)
        try:
            working.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    except UserError:
        raise
    except Exception as error:  # what reads archives may raise anything on damaged input
        raise _unpacking_error(archive, folder, error) from None
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return target


def _unpacking_error(archive: Path, folder: Path, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.errno is not None:
        problem = f"cannot be unpacked into {folder}: {error.strerror}"
        remedy = "make room, or" if disk_is_full(error) else "make that folder writable, or"
        return UserError(str(archive), "", problem, f"{remedy} unpack it yourself and write folder:PATH")
    return archive_error(archive, error)


def _write(archive: Path, working: Path, budget: int) -> None:
    skipped, links, names = Skipped(), dict[str, str](), set[str]()
    with closing(archive_entries(archive, skipped)) as entries:
        for entry in entries:
            if entry.content is None:
                links[entry.name] = entry.target
                continue
            names.add(entry.name)
            if len(names) > MAX_FILES:
                raise UserError(str(archive), "", f"holds more than {MAX_FILES:,} files", "unpack it yourself")
            try:
                budget = _copy(entry.content, working / entry.name, budget, archive)
            except OSError as error:
                if error.errno not in _BAD_NAME:
                    raise
                names.discard(entry.name)
                skipped.left_out.append((entry.name, f"cannot be unpacked: {error.strerror}"))
    copies, broken = resolve_links(links, names)
    for link, name in copies.items():
        if link not in names:
            (working / link).parent.mkdir(parents=True, exist_ok=True)
            (working / link).hardlink_to(working / name)
    facts = {"left_out": skipped.left_out + broken, "junk": skipped.junk}
    (working / SIDECAR).write_text(json.dumps(facts), encoding="utf-8")


def _copy(content: IO[bytes], target: Path, budget: int, archive: Path) -> int:
    """Write a file, and return how many bytes the disk still has for others."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        while block := content.read(1 << 20):
            budget -= len(block)
            if budget < 0:
                problem = "does not fit on the disk of the user's cache when unpacked"
                raise UserError(str(archive), "", problem, "make room, or unpack it yourself")
            out.write(block)
    return budget
