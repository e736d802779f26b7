"""Unpacks a compressed archive once into the user's cache; nothing can be written outside of it."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from sota_bench.data.junk import SIDECAR, is_junk
from sota_bench.data.tarindex import LINK_OUTSIDE, OUTSIDE, Member, link_target, resolve_links, safe_name
from sota_bench.errors import UserError, disk_is_full

MAX_FILES = 20_000_000
_SPARE_BYTES = 1 << 28
_PADDING_BYTES = 1 << 24
_BAD_NAME = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
"""A file and a folder of one name, or a name that this file system does not take."""

_ENCRYPTED = 0x1
"""Bit of a zip member's flags."""

_MAGIC = {
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
}  # fmt: skip

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip")
"""Names of archives that can be read."""


@dataclass
class _Entry:
    """A member: a file with its content, or a link with its target."""

    name: str
    content: IO[bytes] | None = None
    target: str | None = None
    symbolic: bool = False


@dataclass
class _Skipped:
    left_out: list[tuple[str, str]] = field(default_factory=list)
    junk: int = 0


Entries = Generator[_Entry, None, None]


def archive_kind(path: Path) -> str:
    """``zip``, ``gz``, ``bz2``, ``xz`` or ``zst`` by a file's first bytes, whatever its name; else ``tar``."""
    with path.open("rb") as file:
        head = file.read(8)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "tar")


def is_archive_name(name: str) -> bool:
    """Whether a file's name is that of an archive."""
    return name.lower().endswith(ENDINGS)


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
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        problem = f"cannot be unpacked into {folder}: {error.strerror}"
        remedy = "make room, or" if disk_is_full(error) else "make that folder writable, or"
        return UserError(str(archive), "", problem, f"{remedy} unpack it yourself and write folder:PATH")
    if isinstance(error, NotImplementedError):
        problem = f"is packed in a way that Python cannot read: {text}"
        return UserError(str(archive), "", problem, "unpack it yourself and write folder:PATH")
    return UserError(str(archive), "", f"is not a readable archive: {text}", "download it again")


def _write(archive: Path, working: Path, budget: int) -> None:
    skipped, links, names = _Skipped(), dict[str, str](), set[str]()
    entries = _zip_entries(archive) if archive_kind(archive) == "zip" else _tar_entries(archive, skipped)
    with closing(entries):
        for entry in entries:
            shown = entry.name.encode(errors="backslashreplace").decode()
            name = safe_name(entry.name)
            if name is None:
                skipped.left_out.append((shown, OUTSIDE))
            elif is_junk(name):
                skipped.junk += 1
            elif entry.target is not None:
                target = link_target(name, entry.target, entry.symbolic)
                if target is None:
                    skipped.left_out.append((shown, LINK_OUTSIDE))
                else:
                    links[name] = target
            elif entry.content is not None:
                names.add(name)
                if len(names) > MAX_FILES:
                    raise UserError(str(archive), "", f"holds more than {MAX_FILES:,} files", "unpack it yourself")
                try:
                    budget = _copy(entry.content, working / name, budget, archive)
                except OSError as error:
                    if error.errno not in _BAD_NAME:
                        raise
                    names.discard(name)
                    skipped.left_out.append((name, f"cannot be unpacked: {error.strerror}"))
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


def _tar_entries(archive: Path, skipped: _Skipped) -> Entries:
    with _opened_tar(archive) as tar:
        for member in tar:
            tar.members.clear()  # type: ignore[attr-defined]  # a million headers need not be kept
            if member.isdir():
                continue
            if member.issym() or member.islnk():
                yield _Entry(member.name, target=member.linkname, symbolic=member.issym())
            elif not member.isreg() or member.issparse():
                shown = member.name.encode(errors="backslashreplace").decode()
                skipped.left_out.append((shown, "not a regular file"))
            else:
                yield _Entry(member.name, tar.extractfile(member))
        padding = tar.fileobj.read(_PADDING_BYTES) if tar.fileobj else b""  # up to the compression's own checksum
        if len(padding) == _PADDING_BYTES:
            raise ValueError("it goes on after its end mark")


@contextmanager
def _opened_tar(archive: Path) -> Generator[tarfile.TarFile, None, None]:
    kind = archive_kind(archive)
    if kind != "zst":
        modes: dict[str, Literal["r:gz", "r:bz2", "r:xz"]] = {"bz2": "r:bz2", "xz": "r:xz"}
        with tarfile.open(archive, modes.get(kind, "r:gz"), tarinfo=Member) as tar:
            yield tar
        return
    try:
        import zstandard
    except ImportError:
        problem = "is compressed with Zstandard, and the package zstandard is not installed"
        raise UserError(str(archive), "", problem, 'python -m pip install "sota-bench[formats]"') from None
    with (
        archive.open("rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed) as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=Member) as tar,
    ):
        yield tar


def _zip_entries(archive: Path) -> Entries:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            if entry.filename.endswith(("/", "\\")) or stat.S_ISDIR(entry.external_attr >> 16):
                continue
            if entry.flag_bits & _ENCRYPTED:
                problem = f"holds encrypted members, such as {entry.filename!r}"
                raise UserError(str(archive), "", problem, "unpack it with its password and write folder:PATH")
            with packed.open(entry) as content:
                if stat.S_ISLNK(entry.external_attr >> 16):
                    yield _Entry(entry.filename, target=content.read(4096).decode("utf-8", "replace"), symbolic=True)
                else:
                    yield _Entry(entry.filename, content)
