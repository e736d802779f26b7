"""Reads an uncompressed .tar in place: where each member lies, and its bytes, without unpacking anything."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

from sota_bench.data import facts
from sota_bench.errors import UserError


@dataclass
class TarIndex:
    """The usable members of an archive.

    Attributes:
        members: path -> (offset of the data, bytes).
        left_out: (path, reason).
    """

    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)


_COLUMNS = ("path", "offset", "bytes", "reason")


def read(path: Path, cache: Path | None = None) -> TarIndex:
    """List an archive's regular files.

    Args:
        path: the archive.
        cache: file that remembers the list for this length and modification time; None remembers nothing.

    Members that point outside (absolute, or with ``..``), links, devices and sparse files are left out by name; so is
    an earlier member that a later one of the same name replaces.

    Raises:
        UserError: not a plain .tar, or damaged.
    """
    index = TarIndex()
    try:
        status = path.stat()
        key, whole = f"index 1 {status.st_size} {status.st_mtime_ns}", status.st_size
        remembered = facts.load(cache, key, _COLUMNS) if cache else None
        if remembered is not None:
            rows = list(zip(*remembered, strict=True))
            index.members = {name: (offset, size) for name, offset, size, reason in rows if not reason}
            index.left_out = [(name, reason) for name, _, _, reason in rows if reason]
            return index
        with tarfile.open(path, "r:", tarinfo=Member) as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # a million headers need not be kept
                _add(index, member, whole)
    except FileNotFoundError:
        raise UserError(str(path), "", "no such file", "name a .tar with train/<class>/ and val/<class>/") from None
    except Exception as error:  # what reads archives may raise anything on damaged input
        problem = f"is not a readable .tar: {' '.join(str(error).split()) or type(error).__name__}"
        raise UserError(str(path), "", problem, "download it again, or unpack it and name the folder") from None
    if cache and index.members:
        rows = [(name, *extent, "") for name, extent in index.members.items()]
        rows += [(name, 0, 0, reason) for name, reason in index.left_out]
        facts.save(cache, key, dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)))
    return index


class Member(tarfile.TarInfo):
    """A member whose damage is an error: by itself ``tarfile`` takes a damaged header for the end, or goes round in
    circles where a header gives a negative length."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """The next member; only the end mark ends an archive.

        Raises:
            tarfile.ReadError: a header is damaged, or the archive ends without its mark.
        """
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"cut off or damaged at byte {archive.offset} ({error})") from None

    def _block(self, count: int) -> int:
        if count < 0:  # as Python itself does from 3.13.6 on
            raise tarfile.ReadError(f"{self.name!r} has a negative length")
        return super()._block(count)  # type: ignore[misc,no-any-return]


def safe_name(name: str) -> str | None:
    """A member's name with ``/`` and without leading ``./``, or None where it points outside or is not valid text."""
    name = name.replace("\\", "/")
    parts = PurePosixPath(name)
    try:
        name.encode()
    except UnicodeEncodeError:
        return None
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in name or name[1:2] == ":":
        return None
    return str(parts)


class TarReader:
    """Reads members by offset; holds no open file, so it is safe in threads and after a fork, and picklable."""

    def __init__(self, path: str, members: dict[str, tuple[int, int]]) -> None:
        self.path, self.members = path, members

    def __call__(self, path: str) -> bytes:
        offset, size = self.members[path]
        with Path(self.path).open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise OSError(f"{self.path} ends before {path}")
        return data


def _add(index: TarIndex, member: tarfile.TarInfo, whole: int) -> None:
    if member.isdir():
        return
    shown = member.name.encode(errors="backslashreplace").decode()
    name = safe_name(member.name)
    if name is None:
        index.left_out.append((shown, "points outside the archive, or is not a valid name"))
    elif not member.isreg() or member.issparse():
        index.left_out.append((shown, "not a regular file"))
    elif member.offset_data + member.size > whole:
        index.left_out.append((name, "cut off: the archive ends before it does"))
    elif not PurePosixPath(name).name.startswith("."):
        if name in index.members:
            index.left_out.append((name, "replaced by a later member of the same name"))
        index.members[name] = (member.offset_data, member.size)
