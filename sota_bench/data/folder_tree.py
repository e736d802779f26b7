"""Folders of a data set as a tree, without the ones that only wrap what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sota_bench.data.split_names import fold_number, split_name

CONTAINERS = frozenset({"images", "image", "imgs", "img", "jpegimages", "data", "photos", "pictures"})
"""Folders that only hold what their parent is."""

_SHOWN = 4


@dataclass
class Folder:
    """A folder with the images in it and below it.

    Attributes:
        name, path: its own name, and its path below the source; "" for the source itself.
        folders: those in it that hold images, by name.
        files: paths of the images in it.
    """

    name: str
    path: str
    folders: dict[str, Folder] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def all_files(self) -> Iterator[str]:
        """Paths of the images in it and below it."""
        yield from self.files
        for folder in self.folders.values():
            yield from folder.all_files()


def folder_tree(paths: Iterable[str]) -> Folder:
    """The tree of the folders in which these images lie."""
    root = Folder("", "")
    for path in paths:
        *names, _ = path.split("/")
        folder = root
        for name in names:
            if name not in folder.folders:
                folder.folders[name] = Folder(name, f"{folder.path}/{name}" if folder.path else name)
            folder = folder.folders[name]
        folder.files.append(path)
    return root


def listed(names: Iterable[str]) -> str:
    """Folders as a sentence lists them, and how many more there are."""
    shown = sorted(names)
    text = ", ".join(f"{name}/" for name in shown[:_SHOWN])
    return text + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")


def collapsed(folder: Folder) -> Folder:
    """What a split folder holds, below folders of its own name or that only wrap: ``seg_train/seg_train/...``."""
    while len(folder.folders) == 1 and not folder.files:
        [inner] = folder.folders.values()
        own, outer = split_name(inner.name), split_name(folder.name)
        repeats = inner.name.lower() == folder.name.lower() or (own and outer and own.split == outer.split)
        if not repeats and inner.name.lower() not in CONTAINERS:
            break
        folder = inner
    return folder


def only_container(folders: list[Folder]) -> str:
    """The one folder that all of these hold and that only wraps its contents, or ""."""
    names = {name for folder in folders for name in folder.folders}
    if len(names) != 1 or any(folder.files for folder in folders):
        return ""
    [name] = names
    return name if name.lower() in CONTAINERS and any(f.folders.get(name, f).folders for f in folders) else ""


def merge(into: Folder, other: Folder) -> None:
    """Add what one folder holds to another."""
    into.files += other.files
    for name, inner in other.folders.items():
        merge(into.folders.setdefault(name, Folder(name, inner.path)), inner)


def folds_of(root: Folder, levels: list[Folder]) -> tuple[Folder, list[Folder]] | None:
    """(the first fold, the others) where all levels are folds beside each other."""
    numbers = {level.path: fold_number(level.name) for level in levels}
    parents = {level.path.rpartition("/")[0] for level in levels}
    if None in numbers.values() or len(parents) != 1:
        return None
    ordered = sorted(levels, key=lambda level: numbers[level.path] or 0)
    return ordered[0], ordered[1:]
