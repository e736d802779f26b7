"""Smaller data: classes, fractions and images per class, each a prefix of one fixed order, so they are nested.

Within a class the order is that of a hash of each content. An image that is added to a class moves at most one other
image of that class into or out of a subset, and none of another class, so counts stay exact per class.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from sota_bench.data.curated import trained_on
from sota_bench.data.manifest import Manifest
from sota_bench.data.split import SPLITS, rank_key
from sota_bench.errors import UserError
from sota_bench.grid.nearest import did_you_mean


class Classes(Protocol):
    """What lists its class names, sorted: a manifest."""

    @property
    def classes(self) -> list[str]: ...


@dataclass(frozen=True)
class Subset:
    """The part of a manifest that a trial uses.

    Attributes:
        manifest: where it comes from.
        classes: class names; a class's position is its target index.
        rows: split -> positions in ``manifest.items``, int64, in increasing order.
    """

    manifest: Manifest
    classes: list[str]
    rows: dict[str, np.ndarray]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the classes and the digests of all splits."""
        return hashlib.sha256("\n".join(self.split_digest(split) for split in SPLITS).encode()).hexdigest()

    def split_digest(self, split: str) -> str:
        """SHA-256 over the classes and one split's contents and labels, whatever the other splits hold."""
        total = hashlib.sha256("\0".join(self.classes).encode())
        labels = self.manifest.items["label"].to_numpy(dtype=object)[self.rows[split]]
        for sha, label in sorted(zip(self.contents(split), labels, strict=True)):
            total.update(f"\n{sha}\0{label}".encode())
        return total.hexdigest()

    def sizes(self) -> dict[str, int]:
        """Images per split."""
        return {split: len(self.rows[split]) for split in SPLITS}

    def targets(self, split: str) -> np.ndarray:
        """Class indices of a split's images, int64, in the order of ``rows``."""
        index = {name: position for position, name in enumerate(self.classes)}
        labels = self.manifest.items["label"].to_numpy(dtype=object)[self.rows[split]]
        return np.array([index[label] for label in labels], dtype=np.int64)

    def contents(self, split: str) -> list[str]:
        """Content digests of a split's images, in the order of ``rows``."""
        return [str(sha) for sha in self.manifest.items["sha256"].to_numpy(dtype=object)[self.rows[split]]]


def choose(
    manifest: Manifest,
    *,
    fraction: float = 1.0,
    classes: int | Sequence[str] | None = None,
    per_class: int | None = None,
    eval_images: int | None = None,
    keep: Collection[str] | str | None = None,
    train_labels: str = "",
    split_seed: int | None = None,
    curation: str = "",
) -> Subset:
    """Choose a stratified subset; a smaller request is contained in a larger one.

    Args:
        manifest: what there is.
        fraction: share of each class's training images, in (0, 1]; rounded up, so every class keeps one.
        classes: how many (the first by name) or which; all by default.
        per_class: at most this many training images per class; applied after ``fraction``.
        eval_images: at most about this many images in select and in test each: the same number per class, rounded up.
        keep: content digests (sha256) to which the training images are limited first, or the file of a manifest that
            lists them, such as a curated one.
        train_labels: column of other labels that the training images get; the same images are chosen as without it, but
            for those whose other label is not among the classes.
        split_seed: draws anew which images train and which choose; by default they are as the manifest has them. The
            images that confirm are the same for all seeds.
        curation: file of a curated manifest: training images are limited to those that it keeps, with the classes that
            it gives them, before ``fraction`` and ``per_class``; select and test stay as they are.

    Returns:
        The subset. Select and test are whole unless ``classes`` or ``eval_images`` limits them.

    Raises:
        UserError: a value out of range, an unknown class, no training image left, or a class of which ``curation``
            keeps none.
    """
    _check(fraction, per_class, eval_images)
    chosen = limited(manifest.classes, classes)
    if curation:
        manifest = _curated(manifest, chosen, curation)
    rows: dict[str, list[int]] = {split: [] for split in SPLITS}
    each = None if eval_images is None else math.ceil(eval_images / len(chosen))
    kept = _contents_of(keep) if isinstance(keep, str) else None if keep is None else frozenset(keep)
    if split_seed is not None:
        choosing = manifest.items.loc[manifest.items["split"] == "select", "sha256"]
        manifest = manifest.redrawn(split_seed, kept)
        kept = None if kept is None else kept | frozenset(choosing)
    for (split, _), ranked in _ranked_rows(manifest, chosen).items():
        if split == "train":
            if kept is not None:
                contents = manifest.items["sha256"].to_numpy(dtype=object)
                ranked = [row for row in ranked if contents[row] in kept]
            # The small step down keeps 0.1 x 10 = 1.0000000000000002 from becoming 2 images.
            count = math.ceil(len(ranked) * fraction - 1e-9)
            rows[split] += ranked[: count if per_class is None else min(count, per_class)]
        else:
            rows[split] += ranked[:each]
    if not rows["train"]:
        remedy = "allow more classes, a larger fraction or another list"
        raise UserError("data", "", "no training image is left", remedy)
    if train_labels:
        manifest = manifest.relabelled(train_labels)
        labels = manifest.items["label"].to_numpy(dtype=object)
        rows["train"] = [row for row in rows["train"] if labels[row] in set(chosen)]
    return Subset(manifest, chosen, {split: np.array(sorted(rows[split]), dtype=np.int64) for split in SPLITS})


def class_split(manifest: Classes, parts: int = 2, classes: int | Sequence[str] | None = None) -> list[list[str]]:
    """Divide the classes, sorted by name, into consecutive parts of as equal size as can be (the first are larger).

    Used to train a base model on one part and fine-tune it on another.

    Args:
        manifest: what there is.
        parts: how many.
        classes: how many (the first by name) or which are divided; all by default.

    Raises:
        UserError: fewer than two classes per part, or an unknown class.
    """
    names = limited(manifest.classes, classes)
    if parts < 1 or len(names) < 2 * parts:
        raise UserError(
            "data",
            "classes",
            f"{len(names)} classes cannot be divided into {parts} parts of 2 or more",
            "use data with more classes",
        )
    small, larger = divmod(len(names), parts)
    ends = np.cumsum([small + (part < larger) for part in range(parts)])
    return [list(part) for part in np.split(np.array(names, dtype=object), ends[:-1])]


def _curated(manifest: Manifest, classes: Sequence[str], file: str) -> Manifest:
    curated = trained_on(manifest, file)
    trained = set(curated.items.loc[curated.items["split"] == "train", "label"])
    if missing := [name for name in classes if name not in trained]:
        problem = f"{file} keeps no training image of {missing[0]!r}, which would still be judged"
        remedy = f'name the classes to compare in classes, or use them alone with source = "manifest:{file}"'
        raise UserError("data", "curation", problem, remedy)
    return curated


def _contents_of(file: str) -> frozenset[str]:
    """Content digests of the training images of a manifest file."""
    path = Path(file)
    return _read_contents(path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=8)
def _read_contents(path: Path, mtime_ns: int) -> frozenset[str]:
    items = Manifest.load(path).items
    return frozenset(items.loc[items["split"] == "train", "sha256"])


def _ranked_rows(manifest: Manifest, classes: Sequence[str]) -> dict[tuple[str, str], list[int]]:
    """Rows of each (split, class) in the one fixed order, by a hash of the content, from which prefixes are taken."""
    items = manifest.items
    chosen = set(classes)
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    columns = zip(items["split"], items["label"], items["sha256"], strict=True)
    for row, (split, label, sha) in enumerate(columns):
        if label in chosen:
            groups.setdefault((split, label), []).append((rank_key(sha, "subset"), row))
    return {key: [row for _, row in sorted(groups[key])] for key in sorted(groups)}


def limited(names: Sequence[str], classes: int | Sequence[str] | None) -> list[str]:
    """The classes among ``names`` that a number (the first by name) or a list picks; all by default.

    Raises:
        UserError: the number is out of range, or a class is unknown.
    """
    names = list(names)
    if classes is None:
        return names
    if isinstance(classes, int):
        if not 2 <= classes <= len(names):
            raise UserError(
                "data", "classes", f"{classes} is not between 2 and {len(names)}", "ask for a number in that range"
            )
        return names[:classes]
    unknown = [name for name in classes if name not in names]
    if unknown:
        remedy = did_you_mean(unknown[0], names, f"choose among {', '.join(names[:12])}")
        raise UserError("data", "classes", f"there is no class {unknown[0]!r}", remedy)
    if len(set(classes)) < 2:
        raise UserError("data", "classes", f"{len(set(classes))} class", "name at least two")
    return sorted(set(classes))


def _check(fraction: float, per_class: int | None, eval_images: int | None) -> None:
    if not 0 < fraction <= 1:
        raise UserError("data", "fraction", f"{fraction} is not in (0, 1]", "use 0.5 for half of the training images")
    for key, value in (("per_class", per_class), ("eval_images", eval_images)):
        if value is not None and value < 1:
            raise UserError("data", key, f"{value} is less than 1", "leave it out for all images")
