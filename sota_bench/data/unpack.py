"""Unpacks a compressed archive once into the user's cache; nothing can be written outside of it."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import IO

from sota_bench.data.tarindex import Member, safe_name
from sota_bench.errors import UserError

MAX_FILES = 20_000_000
_SPARE_BYTES = 1 << 28
_PADDING_BYTES = 1 << 24

Members = Generator[tuple[str, IO[bytes]], None, None]
"""Name and content of each regular file."""


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive's regular files, or find them unpacked already.

    Args:
        archive: a .tgz, .tar.gz or .zip.
        folder: in which a folder named for the archive, its length and its modification time is made.

    Returns:
        The folder with the files. Members that point outside, links and devices are refused: nothing is unpacked.

    Raises:
        UserError: not an archive, damaged, dangerous, or too large for the disk.
    """
    try:
        status = archive.stat()
    except OSError as error:
        raise UserError(str(archive), "", f"cannot be read: {error.strerror}", "name an existing archive") from None
    identity = f"{archive.absolute()}:{status.st_size}:{status.st_mtime_ns}"
    stem = archive.name.removesuffix(".zip").removesuffix(".tgz").removesuffix(".tar.gz")
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
        budget = shutil.disk_usage(folder).free - _SPARE_BYTES
        _write(archive, working, budget)
        try:
            working.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    except UserError:
        raise
    except Exception as error:  # what reads archives may raise anything on damaged input
        if isinstance(error, OSError) and error.errno is not None:
            problem = f"cannot be unpacked into {folder}: {error.strerror}"
            remedy = "make room, or unpack it yourself and name the folder"
        else:
            problem = f"is not a readable archive: {' '.join(str(error).split()) or type(error).__name__}"
            remedy = "download it again"
        raise UserError(str(archive), "", problem, remedy) from None
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return target


def _write(archive: Path, working: Path, budget: int) -> None:
    files = 0
    members = _zip_members(archive) if archive.name.endswith(".zip") else _tar_members(archive)
    with closing(members):
        for name, content in members:
            files += 1
            safe = safe_name(name)
            if safe is None:
                problem = f"holds a member that points outside: {name.encode(errors='backslashreplace').decode()!r}"
                raise UserError(str(archive), "", problem, "do not use this archive")
            if files > MAX_FILES:
                raise UserError(str(archive), "", f"holds more than {MAX_FILES:,} files", "unpack it yourself")
            target = working / safe
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                while block := content.read(1 << 20):
                    budget -= len(block)
                    if budget < 0:
                        problem = "does not fit on the disk of the user's cache when unpacked"
                        raise UserError(str(archive), "", problem, "make room, or unpack it yourself")
                    out.write(block)


def _tar_members(archive: Path) -> Members:
    with tarfile.open(archive, "r:gz", tarinfo=Member) as tar:
        for member in tar:
            tar.members.clear()  # type: ignore[attr-defined]  # a million headers need not be kept
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise ValueError(f"it holds a link or a special file, {member.name!r}")
            content = tar.extractfile(member)
            assert content is not None
            yield member.name, content
        padding = tar.fileobj.read(_PADDING_BYTES) if tar.fileobj else b""  # up to gzip's own checksum
        if len(padding) == _PADDING_BYTES:
            raise ValueError("it goes on after its end mark")


def _zip_members(archive: Path) -> Members:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            if not entry.filename or not entry.is_dir():
                with packed.open(entry) as content:
                    yield entry.filename, content
