"""Reads splits and classes out of folders: ``train/<class>/*`` beside ``val/`` or ``test/``, or ``<class>/*`` alone.

Folders around the data set and beside it, doubled folders (``seg_train/seg_train``), splits inside classes and folders
of cross-validation are read as their owners mean them. A reading that could be wrong is refused, with the key that
decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sota_bench.data.folder_tree import (
    CONTAINERS,
    Folder,
    collapsed,
    folder_tree,
    folds_of,
    listed,
    merge,
    only_container,
)
from sota_bench.data.options import ReadingOptions, roles_key
from sota_bench.data.split_names import fold_number, split_name
from sota_bench.errors import UserError

NO_CLASS_FOLDER = "no label: in no class folder"
NO_SPLIT_FOLDER = "in no split folder"
OUTSIDE = "outside the data set"
OTHER_FOLD = "in another fold"

_TARGETS = frozenset({
    "mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "segmentations", "gt",
    "groundtruth", "ground_truth", "groundtruths", "targets", "depth", "depths", "labelids", "segmentationclass",
    "segmentationobject",
})  # fmt: skip
"""Folders that hold images to predict, not images of a class."""

_BESIDE = frozenset({
    "doc", "docs", "documentation", "fig", "figs", "figure", "figures", "screenshot", "screenshots", "example",
    "examples", "sample", "samples", "demo", "assets", "static", "src", "code", "scripts", "notebooks", "readme",
    "paper", "results", "output", "outputs", "logs", "license",
})  # fmt: skip
"""Folders that people keep beside a data set."""


class Member(NamedTuple):
    """What an image is: its split (train, val, test, or "" where there is none) and its class."""

    split: str
    label: str


@dataclass
class Layout:
    """What the paths or a table say.

    Attributes:
        members: path -> split and class.
        left_out: (path, reason) of images that belong to no class.
        notes: sentences about how the data set was read.
        alarms: sentences about what should be looked at.
        other_labels: column of a table -> path -> a label that it gives.
        groups: path -> what it belongs to, by ``data.group``.
    """

    members: dict[str, Member] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    other_labels: dict[str, dict[str, str]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)


def read_folders(paths: Iterable[str], options: ReadingOptions, origin: str) -> Layout:
    """Splits and classes of images by the folders that they lie in.

    Args:
        paths: of the images, with ``/``.
        options: what the user says about folders.
        origin: the source as the user knows it, for errors.

    Raises:
        UserError: no class folder, or folders that can be read in two ways.
    """
    layout = Layout()
    root = folder_tree(_without_skipped(paths, options, layout))
    reader = _Reader(options, origin, layout)
    reader.read(root)
    if not layout.members:
        raise reader.refuse("there are no images in class folders", "use train/<class>/*.jpg, or name data.labels")
    return layout


def _without_skipped(paths: Iterable[str], options: ReadingOptions, layout: Layout) -> Iterator[str]:
    for path in paths:
        *folders, _ = path.split("/")
        ways = ["/".join(folders[: depth + 1]) for depth in range(len(folders))]
        if any(options.role(name, way) == "skip" for name, way in zip(folders, ways, strict=True)):
            layout.left_out.append((path, "skipped: by data.folders"))
        else:
            yield path


class _Reader:
    """Walks the tree once and fills a layout."""

    def __init__(self, options: ReadingOptions, origin: str, layout: Layout) -> None:
        self.options, self.origin, self.layout = options, origin, layout

    def refuse(self, problem: str, remedy: str) -> UserError:
        """The error of a data set that cannot be read without a guess."""
        return UserError(self.origin, "", problem, remedy)

    def read(self, root: Folder) -> None:
        """Find where the data set lies in the tree, and read it."""
        levels = list(self._split_levels(root))
        if len(levels) == 1:
            self._leave_outside(root, levels[0])
            self._read_splits(levels[0], self._splits(levels[0]))
        elif levels:
            folds = folds_of(root, levels)
            if folds is None:
                problem = f"{listed(level.path for level in levels)} each hold a data set with splits of its own"
                raise self.refuse(problem, f'write data.root = "{levels[0].path}" to read one of them')
            first, others = folds
            for other in others:
                self._leave_out(other, f"{OTHER_FOLD}: the first one holds the same images")
            self.layout.notes.append(f"of {len(levels)} folds with splits of their own {first.path}/ is read")
            self._read_splits(first, self._splits(first))
        else:
            self._read_undivided(root)

    def _splits(self, folder: Folder) -> dict[str, str]:
        """Names of a folder's own folders that are splits -> train, val or test."""
        meanings, plain, by_pattern = dict[str, str](), set[str](), dict[str, set[str]]()
        for name, inner in folder.folders.items():
            role = self.options.role(name, inner.path)
            if role in ("train", "val", "test"):
                meanings[name] = role
                plain.add(name)
            elif role != "class" and (meaning := split_name(name)):
                meanings[name] = meaning.split
                if meaning.plain:
                    plain.add(name)
                else:
                    by_pattern.setdefault(meaning.pattern, set()).add(name)
        families = {name for names in by_pattern.values() for name in names
                    if len({meanings[other] for other in names}) > 1}  # fmt: skip
        return {name: split for name, split in meanings.items() if name in plain or name in families}

    def _split_levels(self, folder: Folder) -> Iterator[Folder]:
        """The topmost folders whose own folders are splits that hold class folders."""
        splits = self._splits(folder)
        divided = [split for name, split in splits.items() if collapsed(folder.folders[name]).folders]
        if "train" in divided or len(set(divided)) > 1:
            yield folder
            return
        for inner in folder.folders.values():
            yield from self._split_levels(inner)

    def _leave_outside(self, root: Folder, level: Folder) -> None:
        """Leave out what lies beside the data set or around it."""
        inside = set(level.all_files())
        outside = [path for path in root.all_files() if path not in inside]
        self._leave_out_all(outside, f"{OUTSIDE}: not below {level.path}/")

    def _leave_out(self, folder: Folder, reason: str) -> None:
        self._leave_out_all(list(folder.all_files()), reason)

    def _leave_out_all(self, paths: Sequence[str], reason: str) -> None:
        self.layout.left_out += [(path, reason) for path in paths]

    def _read_splits(self, level: Folder, splits: dict[str, str]) -> None:
        """Read class folders inside split folders."""
        for name, folder in level.folders.items():
            if name not in splits:
                self._leave_out(folder, NO_SPLIT_FOLDER)
        self._leave_out_all(level.files, NO_SPLIT_FOLDER)
        parts = [(splits[name], collapsed(level.folders[name])) for name in splits]
        while common := only_container([part for _, part in parts]):
            parts = [(split, part.folders.get(common, part)) for split, part in parts]
        merged = Folder(level.name, level.path)
        for _, part in parts:
            merge(merged, part)
        classes = self._class_level(merged)
        for split, part in parts:
            self._add_classes(self._descend(part, classes), split)

    def _read_undivided(self, root: Folder) -> None:
        """Read class folders that are in no split folder, or that hold the splits themselves."""
        while len(root.folders) == 1 and not root.files:
            [root] = root.folders.values()
        if not root.folders:
            remedy = "name their table with data.labels, or put them into class folders"
            raise self.refuse(f"{len(root.files):,} images lie in one folder, so their labels are unknown", remedy)
        folds = {name: number for name in root.folders if (number := fold_number(name)) is not None}
        if len(folds) > 1 and len(folds) == len(root.folders) and all(f.folders for f in root.folders.values()):
            judging = min(folds, key=lambda name: folds[name])
            self.layout.notes.append(f"of {len(folds)} folds {judging} judges and the others train")
            self._read_splits(root, {name: "val" if name == judging else "train" for name in folds})
            return
        if self._read_splits_inside_classes(root):
            return
        self._refuse_flat_splits(root)
        self._add_classes(self._descend(root, self._class_level(root)), "")

    def _descend(self, folder: Folder, ways: Sequence[str]) -> Folder:
        """The folder that is reached by these names; what lies beside them on the way is left out."""
        for way in ways:
            inner = folder.folders.get(way, Folder(way, f"{folder.path}/{way}"))
            reason = f"{OUTSIDE}: not below {inner.path}/"
            self._leave_out_all(folder.files, reason)
            for name, other in folder.folders.items():
                if name != way:
                    self._leave_out(other, reason)
            folder = inner
        return folder

    def _read_splits_inside_classes(self, root: Folder) -> bool:
        """Read ``<class>/<split>/*``, and say whether it is that."""
        inner_splits = {name: self._splits(folder) for name, folder in root.folders.items()}
        for name, folder in root.folders.items():
            if folder.files or not folder.folders or set(inner_splits[name]) != set(folder.folders):
                return False
        if len(root.folders) < 2 or not any("train" in splits.values() for splits in inner_splits.values()):
            return False
        self._leave_out_all(root.files, NO_CLASS_FOLDER)
        for name, folder in root.folders.items():
            for inner, split in inner_splits[name].items():
                for path in folder.folders[inner].all_files():
                    self.layout.members[path] = Member(split, name)
        return True

    def _refuse_flat_splits(self, root: Folder) -> None:
        """Refuse folders that are named as splits and hold images instead of class folders."""
        names = [name for name in self._splits(root) if not root.folders[name].folders]
        others = [name for name in root.folders if name not in names]
        if not names or (names == ["train"] and len(others) > 1):  # beside cars and buses a train is a vehicle
            return
        verbs = ("is named as a split and holds", "are named as splits and hold")[len(names) > 1]
        problem = f"{listed(names)} {verbs} images without class folders"
        if others:
            problem += f", beside {listed(others)}"
        meant = roles_key(dict.fromkeys(sorted(names)[:2], "class"))
        remedy = f"name the table of labels with data.labels, or say what the folders are: {meant}, or skip"
        raise self.refuse(problem, remedy)

    def _class_level(self, folder: Folder) -> list[str]:
        """The folders to go down from ``folder`` until class folders are reached.

        Raises:
            UserError: folders on two levels could be the classes.
        """
        names = set(folder.folders)
        if all(self.options.role(name, inner.path) == "class" for name, inner in folder.folders.items()):
            return []
        lower = {name.lower() for name in names}
        if lower & _TARGETS and lower & CONTAINERS:
            problem = f"{listed(names)} look like images and their masks or annotations, not like classes"
            target = next(name for name in sorted(names) if name.lower() in _TARGETS)
            raise self.refuse(problem, f"write {roles_key({target: 'skip'})} to leave one out")
        direct = [inner for inner in folder.folders.values() if inner.files]
        wide = [inner for inner in folder.folders.values() if not inner.files and len(inner.folders) > 1]
        wide = [inner for inner in wide if self.options.role(inner.name, inner.path) != "class"]
        if not wide:
            return []
        if len(names) == 1:
            return [wide[0].name, *self._class_level(wide[0])]
        self._refuse_same_folders(wide)
        beside = [name for name in names if name.lower() in _BESIDE]
        if len(wide) == 1 and len(beside) == len(names) - 1 and wide[0].name not in beside:
            return [wide[0].name, *self._class_level(wide[0])]
        if len(direct) > 1 and not beside:
            shown = listed(inner.name for inner in wide)
            self.layout.alarms.append(f"{shown} hold only folders and are read as classes; data.folders decides.")
            return []
        example = wide[0]
        others = listed(names - {example.name})
        problem = f"{example.name}/ holds only folders ({listed(example.folders)}), beside {others}"
        way = example.path or example.name
        remedy = f'write data.root = "{way}" if the classes are inside, or {roles_key({example.name: "class"})}'
        raise self.refuse(problem + ": either could be the classes", remedy)

    def _refuse_same_folders(self, wide: list[Folder]) -> None:
        for number, first in enumerate(wide):
            for second in wide[number + 1 :]:
                ours, theirs = set(first.folders), set(second.folders)
                shared = ours & theirs
                if len(shared) > 1 and 2 * len(shared) >= len(ours | theirs):
                    problem = f"{first.name}/ and {second.name}/ hold the same folders ({listed(shared)})"
                    remedy = f'write data.root = "{first.path or first.name}" to read one of them, or ' + roles_key(
                        {first.name: "class", second.name: "class"}
                    )
                    raise self.refuse(problem + ": either level could be the classes", remedy)

    def _add_classes(self, folder: Folder, split: str) -> None:
        self._leave_out_all(folder.files, NO_CLASS_FOLDER)
        for name, inner in folder.folders.items():
            for path in inner.all_files():
                self.layout.members[path] = Member(split, name)
