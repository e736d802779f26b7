"""Reads an uncompressed .tar in place: where each member lies, and its bytes, without unpacking anything."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

from sota_bench.data import facts
from sota_bench.data.formats import HEAD_BYTES
from sota_bench.data.junk import MOST_FOLDERS, TOO_DEEP, is_junk
from sota_bench.errors import UserError

OUTSIDE = "points outside the archive, or is not a valid name"
LINK_OUTSIDE = "a link that points outside the archive"
_MOST_LINKS = 40


@dataclass
class TarIndex:
    """The usable members of an archive.

    Attributes:
        members: path -> (offset of the data, bytes).
        left_out: (path, reason).
        junk: how many leftovers of systems and tools it holds.
    """

    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    junk: int = 0


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


def link_target(link: str, target: str, symbolic: bool) -> str | None:
    """The member that a link means: a symbolic link's target starts at the link's folder, a hard link's at the top.

    Returns:
        The member's name; None where the target is outside of the archive.
    """
    target = target.replace("\\", "/")
    if not symbolic:
        return safe_name(target)
    if target.startswith("/"):
        return None
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(link), target))
    return safe_name(inside)


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
    shown = member.name.encode(errors="backslashreplace").decode()
    name = safe_name(member.name)
    if name is None:
        index.left_out.append((shown, OUTSIDE))
    elif is_junk(name):
        index.junk += 1
    elif name.count("/") > MOST_FOLDERS:
        index.left_out.append((shown, TOO_DEEP))
    elif member.issym() or member.islnk():
        target = link_target(name, member.linkname, member.issym())
        if target is None:
            index.left_out.append((shown, LINK_OUTSIDE))
        else:
            links[name] = target
    elif not member.isreg() or member.issparse():
        index.left_out.append((shown, "not a regular file"))
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


def resolve_links(links: Mapping[str, str], members: Collection[str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """What links mean, also where they lead to other links or to folders.

    Args:
        links: name -> target, both inside the archive.
        members: names of the files in it.

    Returns:
        Name -> file, for each link to a file and each file below a link to a folder; and (name, reason) of the others.
    """
    copies: dict[str, str] = {}
    broken: list[tuple[str, str]] = []
    folders = {folder for name in members for folder in _parents(name)}
    inside: dict[str, list[str]] = {}
    if any(target in folders for target in links.values()):
        for name in members:
            for folder in _parents(name):
                inside.setdefault(folder, []).append(name)
    for link, target in links.items():
        for _ in range(_MOST_LINKS):
            if target not in links or target in members:
                break
            target = links[target]
        if target in members:
            copies[link] = target
        elif target in folders and not link.startswith(target + "/"):
            copies |= {f"{link}{name[len(target) :]}": name for name in inside.get(target, [])}
        else:
            broken.append((link, "a broken link"))
    return copies, broken


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
