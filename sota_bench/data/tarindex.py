"""Reads an uncompressed .tar in place: where each member lies, and its bytes, without unpacking anything."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sota_bench.data import facts
from sota_bench.data.formats import HEAD_BYTES
from sota_bench.data.members import NOT_REGULAR, Skipped, resolve_links
from sota_bench.errors import UserError


@dataclass
class TarIndex(Skipped):
    """The usable members of an archive, and what is left out.

    Attributes:
        members: path -> (offset of the data, bytes).
    """

    members: dict[str, tuple[int, int]] = field(default_factory=dict)


_COLUMNS = ("path", "offset", "bytes", "reason")


def read(path: Path, cache: Path | None = None) -> TarIndex:
    """List an archive's regular files.

    Args:
        path: the archive.
        cache: file that remembers the list for this length and modification time; None remembers nothing.

    A link to another member is that member once more. Members and links that point outside (absolute, or with ``..``),
    devices and sparse files are left out by name; so is an earlier member that a later one of the same name replaces.

    Raises:
        UserError: not a plain .tar, or damaged.
    """
    index = TarIndex()
    try:
        status = path.stat()
        key, whole = f"index 3 {status.st_size} {status.st_mtime_ns}", status.st_size
        remembered = facts.load(cache, key, _COLUMNS) if cache else None
        if remembered is not None:
            rows = list(zip(*remembered, strict=True))
            index.members = {name: (offset, size) for name, offset, size, reason in rows if not reason}
            index.left_out = [(name, reason) for name, _, _, reason in rows if reason and name]
            index.junk = sum(offset for name, offset, _, _ in rows if not name)
            return index
        links: dict[str, str] = {}
        with tarfile.open(path, "r:", tarinfo=Member) as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # a million headers need not be kept
                _add(index, links, member, whole)
        _follow(index, links)
    except FileNotFoundError:
        raise UserError(str(path), "", "no such file", "name a .tar with train/<class>/ and val/<class>/") from None
    except Exception as error:  # what reads archives may raise anything on damaged input
        problem = f"is not a readable .tar: {' '.join(str(error).split()) or type(error).__name__}"
        raise UserError(str(path), "", problem, "download it again, or unpack it and name the folder") from None
    if cache and index.members:
        rows = [(name, *extent, "") for name, extent in index.members.items()]
        rows += [(name, 0, 0, reason) for name, reason in index.left_out] + [("", index.junk, 0, "junk")]
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


def read_at(file: Path, offset: int, size: int, name: str) -> bytes:
    """Bytes of a file; ``name`` is what they are called.

    Raises:
        OSError: the file ends before they do.
    """
    with file.open("rb") as opened:
        opened.seek(offset)
        data = opened.read(size)
    if len(data) != size:
        raise OSError(f"{file} ends before {name}")
    return data


class TarReader:
    """Reads members by offset; holds no open file, so it is safe in threads and after a fork, and picklable."""

    def __init__(self, path: str, members: dict[str, tuple[int, int]]) -> None:
        self.path, self.members = path, members

    def __call__(self, path: str) -> bytes:
        return read_at(Path(self.path), *self.members[path], path)

    def head(self, path: str) -> bytes:
        """The first bytes of a member; none where it cannot be read."""
        offset, size = self.members[path]
        try:
            return read_at(Path(self.path), offset, min(size, HEAD_BYTES), path)
        except OSError:
            return b""


def _add(index: TarIndex, links: dict[str, str], member: tarfile.TarInfo, whole: int) -> None:
    if member.isdir():
        return
    name = index.usable_name(member.name)
    if name is None:
        return
    if member.issym() or member.islnk():
        target = index.usable_target(member.name, name, member.linkname, member.issym())
        if target is not None:
            links[name] = target
    elif not member.isreg() or member.issparse():
        index.leave_out(member.name, NOT_REGULAR)
    elif member.offset_data + member.size > whole:
        index.left_out.append((name, "cut off: the archive ends before it does"))
    else:
        if name in index.members:
            index.left_out.append((name, "replaced by a later member of the same name"))
        index.members[name] = (member.offset_data, member.size)


def _follow(index: TarIndex, links: dict[str, str]) -> None:
    """List links to members, and to folders of members, as copies of what they mean."""
    copies, broken = resolve_links(links, index.members)
    for name, target in copies.items():
        index.members.setdefault(name, index.members[target])
    index.left_out += [(name, reason) for name, reason in broken if name not in index.members]
