"""Names and links of an archive's members: what each means, and which lie outside or are no data."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sota_bench.data.junk import MOST_FOLDERS, TOO_DEEP, is_junk

OUTSIDE = "points outside the archive, or is not a valid name"
LINK_OUTSIDE = "a link that points outside the archive"
NOT_REGULAR = "not a regular file"
_MOST_LINKS = 40


@dataclass
class Skipped:
    """What is not used of an archive.

    Attributes:
        left_out: (name, reason) of members.
        junk: how many leftovers of systems and tools it holds.
    """

    left_out: list[tuple[str, str]] = field(default_factory=list)
    junk: int = 0

    def leave_out(self, name: str, reason: str) -> None:
        """Notes a member by the name that the archive gives it."""
        self.left_out.append((name.encode(errors="backslashreplace").decode(), reason))

    def usable_name(self, name: str) -> str | None:
        """The name of a member that can be used, with ``/``; None, and noted, where it lies outside or is no data."""
        usable = safe_name(name)
        if usable is None:
            self.leave_out(name, OUTSIDE)
        elif is_junk(usable):
            self.junk += 1
        elif usable.count("/") > MOST_FOLDERS:
            self.leave_out(name, TOO_DEEP)
        else:
            return usable
        return None

    def usable_target(self, name: str, link: str, target: str, symbolic: bool) -> str | None:
        """The member that a link means; None, and noted, where that lies outside.

        Args:
            name: of the link, as the archive gives it.
            link: the same as :meth:`usable_name` gives it.
            target: as the archive gives it.
            symbolic: or else a hard link.
        """
        inside = link_target(link, target, symbolic)
        if inside is None:
            self.leave_out(name, LINK_OUTSIDE)
        return inside


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
