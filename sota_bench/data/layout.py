"""Reads splits and classes out of paths: ``train/<class>/*`` with ``val/`` or ``test/``, or ``<class>/*`` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sota_bench.data.names import readable
from sota_bench.errors import UserError

SPLIT_FOLDERS: Mapping[str, str] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jpe"})


@dataclass
class Layout:
    """What the paths say.

    Attributes:
        members: path -> (split: train, val, test or "", class name).
        left_out: (path, reason) of files that belong to no class or are no images by name.
    """

    members: dict[str, tuple[str, str]] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def read_layout(paths: Iterable[str], origin: str) -> Layout:
    """Find splits and classes.

    Folders around the data set (``imagenette2-160/train/...``) are skipped where all files lie inside them. A test
    folder without class folders, as ImageNet has it, is left out: its labels are not known.

    Args:
        paths: of all files, with ``/``.
        origin: the source as the user knows it, for errors.

    Raises:
        UserError: no class folder.
    """
    paths = list(paths)
    images = [path for path in paths if _suffix(path) in SUFFIXES]
    layout = Layout(left_out=[(path, "not an image by its name") for path in paths if _suffix(path) not in SUFFIXES])
    root = _root(images)
    parts = {path: path[len(root) :].split("/") for path in images}
    divided = any(len(steps) >= 3 and steps[0].lower() in ("train", "training") for steps in parts.values())
    raw: dict[str, tuple[str, str]] = {}
    for path, steps in parts.items():
        if divided:
            split = SPLIT_FOLDERS.get(steps[0].lower())
            if split is None:
                layout.left_out.append((path, "in no split folder (train, val or test)"))
                continue
            steps = steps[1:]
        else:
            split = ""
        if len(steps) < 2:
            layout.left_out.append((path, "in no class folder"))
            continue
        raw[path] = (split, steps[0])
    if not raw:
        raise UserError(
            origin, "", "there are no images in class folders", "use train/<class>/*.jpg and val/<class>/*.jpg"
        )
    shown = readable({label for _, label in raw.values()})
    layout.members = {path: (split, shown[label]) for path, (split, label) in raw.items()}
    _drop_classes_without_training(layout)
    return layout


def _drop_classes_without_training(layout: Layout) -> None:
    """Leave out images whose class has no training image: no model could name it."""
    if not any(split == "train" for split, _ in layout.members.values()):
        return
    trained = {label for split, label in layout.members.values() if split == "train"}
    for path, (_, label) in list(layout.members.items()):
        if label not in trained:
            layout.left_out.append((path, f"its class {label!r} has no training image"))
            del layout.members[path]


def _root(images: list[str]) -> str:
    """The folders around all images, up to the first that is a split folder or holds several folders."""
    root = ""
    while images:
        heads = {path[len(root) :].split("/", 1)[0] for path in images}
        if len(heads) != 1:
            break
        head = heads.pop()
        below = [path[len(root) + len(head) + 1 :] for path in images]
        if head.lower() in SPLIT_FOLDERS or any(path.count("/") < 1 for path in below):
            break
        root += head + "/"
    return root


def _suffix(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""
