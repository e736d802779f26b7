"""Members of an archive one after the other, in the order in which it holds them, whatever tool made it."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from sota_bench.data.members import NOT_REGULAR, Skipped
from sota_bench.data.tarindex import Member
from sota_bench.errors import UserError

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip")
"""Names of archives that can be read."""

_PADDING_BYTES = 1 << 24
_MOST_LINK_BYTES = 4096
_ENCRYPTED = 0x1
"""Bit of a zip member's flags."""

_MAGIC = {
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
}  # fmt: skip


@dataclass
class Entry:
    """A member that can be used: a file, or a link to another member.

    Attributes:
        name: with ``/``, inside the archive.
        content: of a file; to be read before the next member is asked for. None for a link.
        target: the name that a link means; "" for a file.
    """

    name: str
    content: IO[bytes] | None = None
    target: str = ""


@dataclass
class _Raw:
    """A member as the archive has it; without content and target it is no regular file."""

    name: str
    content: IO[bytes] | None = None
    target: str | None = None
    symbolic: bool = False


def archive_kind(path: Path) -> str:
    """``zip``, ``gz``, ``bz2``, ``xz`` or ``zst`` by a file's first bytes, whatever its name; else ``tar``."""
    with path.open("rb") as file:
        head = file.read(8)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "tar")


def is_archive_name(name: str) -> bool:
    """Whether a file's name is that of an archive."""
    return name.lower().endswith(ENDINGS)


def archive_entries(archive: Path, skipped: Skipped) -> Generator[Entry]:
    """Files and links of an archive that lie inside of it.

    Args:
        archive: a .tar, compressed or not, or a .zip.
        skipped: gets what is left out: names and links that point outside, what is no regular file, and junk.

    Raises:
        UserError: encrypted, or compressed with Zstandard, which is not installed.
        Exception: whatever the libraries raise on a damaged archive; ``archive_error`` says it in one line.
    """
    members = _zip_members(archive) if archive_kind(archive) == "zip" else _tar_members(archive)
    with closing(members):
        for member in members:
            name = skipped.usable_name(member.name)
            if name is None:
                continue
            if member.target is not None:
                target = skipped.usable_target(member.name, name, member.target, member.symbolic)
                if target is not None:
                    yield Entry(name, target=target)
            elif member.content is not None:
                yield Entry(name, member.content)
            else:
                skipped.leave_out(member.name, NOT_REGULAR)


def archive_error(archive: Path, error: Exception) -> UserError:
    """One line for what the libraries raise while they read an archive."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, NotImplementedError):
        problem = f"is packed in a way that Python cannot read: {text}"
        return UserError(str(archive), "", problem, "unpack it yourself and name the folder")
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(str(archive), "", f"cannot be read: {error.strerror}", "make it readable")
    return UserError(str(archive), "", f"is not a readable archive: {text}", "download it again")


def _tar_members(archive: Path) -> Generator[_Raw]:
    with _opened_tar(archive) as tar:
        for member in tar:
            tar.members.clear()  # type: ignore[attr-defined]  # a million headers need not be kept
            if member.isdir():
                continue
            if member.issym() or member.islnk():
                yield _Raw(member.name, target=member.linkname, symbolic=member.issym())
            elif not member.isreg() or member.issparse():
                yield _Raw(member.name)
            else:
                yield _Raw(member.name, tar.extractfile(member))
        padding = tar.fileobj.read(_PADDING_BYTES) if tar.fileobj else b""  # up to the compression's own checksum
        if len(padding) == _PADDING_BYTES:
            raise ValueError("it goes on after its end mark")


@contextmanager
def _opened_tar(archive: Path) -> Generator[tarfile.TarFile]:
    kind = archive_kind(archive)
    if kind != "zst":
        modes: dict[str, Literal["r:", "r:gz", "r:bz2", "r:xz"]] = {"gz": "r:gz", "bz2": "r:bz2", "xz": "r:xz"}
        with tarfile.open(archive, modes.get(kind, "r:"), tarinfo=Member) as tar:
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


def _zip_members(archive: Path) -> Generator[_Raw]:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            if entry.filename.endswith(("/", "\\")) or stat.S_ISDIR(entry.external_attr >> 16):
                continue
            if entry.flag_bits & _ENCRYPTED:
                problem = f"holds encrypted members, such as {entry.filename!r}"
                raise UserError(str(archive), "", problem, "unpack it with its password and name the folder")
            with packed.open(entry) as content:
                if stat.S_ISLNK(entry.external_attr >> 16):
                    target = content.read(_MOST_LINK_BYTES).decode("utf-8", "replace")
                    yield _Raw(entry.filename, target=target, symbolic=True)
                else:
                    yield _Raw(entry.filename, content)
