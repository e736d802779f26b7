"""What a source holds before it is read: its files, and what cannot be one of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from sota_bench.data.junk import MOST_FOLDERS, TOO_DEEP, is_junk_name
from sota_bench.data.tables import LabelTable


@dataclass
class Listing:
    """The files of a source.

    Attributes:
        files: (path, bytes, modification time in ns) of each file that is no junk.
        left_out: (path, reason) of what cannot be read.
        junk: how many leftovers of systems and tools there are.
        tables: labels that the source itself stores beside its images, as Parquet does.
    """

    files: list[tuple[str, int, int]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    junk: int = 0
    tables: list[LabelTable] = field(default_factory=list)


def walk_folder(folder: Path, prefix: str, listing: Listing, visited: set[Path]) -> None:
    """Collect files below a folder, following links but never into a folder that was visited already: folders that link
    to each other have more paths than can be walked."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        listing.left_out.append((prefix or ".", f"cannot be listed: {error.strerror}"))
        return
    for entry in entries:
        path = prefix + entry.name
        try:
            is_folder = entry.is_dir()
            if is_junk_name(entry.name, is_folder):
                listing.junk += sum(len(names) for _, _, names in os.walk(entry.path)) if is_folder else 1
                continue
            path.encode()
            if is_folder:
                target = Path(entry.path).resolve()
                if entry.is_symlink() and target in visited:
                    listing.left_out.append((path, "a link to a folder that is listed already"))
                    continue
                visited.add(target)
                if prefix.count("/") >= MOST_FOLDERS:
                    listing.left_out.append((path, TOO_DEEP))
                    continue
                walk_folder(Path(entry.path), path + "/", listing, visited)
            elif entry.is_file():
                status = entry.stat()
                listing.files.append((path, status.st_size, status.st_mtime_ns))
            else:
                listing.left_out.append((path, "a broken link" if entry.is_symlink() else "not a regular file"))
        except UnicodeEncodeError:
            shown = path.encode(errors="backslashreplace").decode()
            listing.left_out.append((shown, "the name is not valid UTF-8"))
        except OSError as error:
            listing.left_out.append((path, f"cannot be read: {error.strerror}"))
