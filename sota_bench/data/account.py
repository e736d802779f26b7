"""The account of a data set: what was found, used and left out, and what should be looked at before anything trains."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sota_bench.data.manifest import COPY, GROUP_IN_TWO_SPLITS, TWO_LABELS, UNTRAINED, Manifest
from sota_bench.data.split import SPLITS
from sota_bench.units import counted

if TYPE_CHECKING:
    import pandas as pd

JUNK = "hidden and system files"
LOST_SHARE = 0.01
"""A class that loses more of its files than this raises an alarm."""

RARE_SHARE = 0.02
"""A class with a smaller share of the images raises an alarm, where that is less than half of an equal share."""

FEW_TO_JUDGE = 20
IMBALANCE = 10
"""So many times the images of the smallest class in the largest one raise an alarm."""

_SHOWN = 3


@dataclass(frozen=True)
class Account:
    """What ``data SOURCE`` prints, and ``plan`` and the report show.

    Attributes:
        name: what the source is called.
        files: how many there are, without those of systems and tools.
        used: images.
        classes: class -> split -> images.
        left_out: reason -> files.
        left_out_files: ``path`` and ``reason`` of each file that is not used, without hidden and system files.
        near_copies: groups of paths of images that look the same.
        notes: sentences about how the data set was read.
        alarms: sentences about what should be looked at.
    """

    name: str
    files: int
    used: int
    classes: dict[str, dict[str, int]]
    left_out: dict[str, int]
    left_out_files: list[dict[str, str]]
    near_copies: list[list[str]]
    notes: list[str]
    alarms: list[str]

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return asdict(self)

    def summary(self) -> dict[str, Any]:
        """All but the single files, as JSON values."""
        return {name: value for name, value in self.to_json().items() if name not in ("left_out_files", "near_copies")}

    def contract(self) -> dict[str, Any]:
        """What ``data SOURCE --json`` prints."""
        fields = ("classes", "left_out", "left_out_files", "near_copies", "alarms")
        return {name: value for name, value in self.to_json().items() if name in fields}

    def sizes(self) -> dict[str, int]:
        """Images per split."""
        return {split: sum(counts[split] for counts in self.classes.values()) for split in SPLITS}


def account_of(manifest: Manifest) -> Account:
    """The account of a manifest."""
    items = manifest.items
    counts = Counter(zip(items["label"], items["split"], strict=True))
    classes = {name: {split: counts[name, split] for split in SPLITS} for name in manifest.classes}
    reasons = manifest.left_out["reason"].tolist()
    left_out = dict(Counter(kind_of(reason) for reason in reasons).most_common())
    if manifest.junk:
        left_out[JUNK] = manifest.junk
    paths = manifest.left_out["path"].tolist()
    skipped = [{"path": path, "reason": reason} for path, reason in zip(paths, reasons, strict=True)]
    groups: dict[str, list[str]] = defaultdict(list)
    for path, content in zip(items["path"], items["near_copies"], strict=True):
        if content:
            groups[content].append(path)
    near_copies = [sorted(group) for _, group in sorted(groups.items()) if len(group) > 1]
    notes, alarms = list(manifest.notes), _alarms(manifest, classes)
    if near_copies and not _groups_across_splits(items):
        are = "group of near-duplicates lies" if len(near_copies) == 1 else "groups of near-duplicates each lie"
        notes.append(f"{len(near_copies):,} {are} in one split")
    total = len(items) + len(skipped)
    return Account(manifest.name, total, len(items), classes, left_out, skipped, near_copies, notes, alarms)


def kind_of(reason: str) -> str:
    """A reason without what is about the one file."""
    return reason.partition(": ")[0]


def _alarms(manifest: Manifest, classes: dict[str, dict[str, int]]) -> list[str]:
    return [
        *manifest.alarms,
        *_lost_files(manifest, classes),
        *_two_labels(manifest),
        *_groups_in_two_splits(manifest),
        *_unjudged(manifest, classes),
        *_rare(classes),
        *_near_copies(manifest),
    ]


def _lost_files(manifest: Manifest, classes: dict[str, dict[str, int]]) -> list[str]:
    """A class that loses more than 1% of its files, or all that train."""
    lost: dict[str, list[tuple[str, str]]] = defaultdict(list)
    left_out = manifest.left_out
    for path, reason, label in zip(left_out["path"], left_out["reason"], left_out["label"], strict=True):
        if label and kind_of(reason) not in (COPY, GROUP_IN_TWO_SPLITS):
            lost[label].append((path, reason))
    alarms = []
    for label in sorted(lost):
        files = lost[label]
        total = len(files) + sum(classes.get(label, {}).values())
        if label not in classes:
            causes = [entry for entry in files if kind_of(entry[1]) != UNTRAINED] or files
            path, reason = causes[0]
            alarms.append(
                f"Class {label!r} has no usable training image and is left out of every split: "
                f"{counted(len(files), 'file')}, such as {path} ({reason})."
            )
        elif len(files) > LOST_SHARE * total:
            path, reason = files[0]
            alarms.append(
                f"Class {label!r} loses {len(files):,} of its {counted(total, 'file')} "
                f"({100 * len(files) / total:.0f}%), such as {path} ({reason})."
            )
    return alarms


def _two_labels(manifest: Manifest) -> list[str]:
    left_out = manifest.left_out
    paths = left_out.loc[left_out["reason"].map(kind_of) == TWO_LABELS, "path"].tolist()
    if not paths:
        return []
    files = "1 file carries" if len(paths) == 1 else f"{len(paths):,} files carry"
    return [f"{files} the same content under two labels and {_is(len(paths))} left out, such as {paths[0]}."]


def _groups_in_two_splits(manifest: Manifest) -> list[str]:
    left_out = manifest.left_out[manifest.left_out["reason"].map(kind_of) == GROUP_IN_TWO_SPLITS]
    if not len(left_out):
        return []
    path, reason = left_out[["path", "reason"]].iloc[0]
    belong = counted(len(left_out), "evaluation image belongs", "evaluation images belong")
    return [
        f"{belong} to a group of an earlier split and {_is(len(left_out))} left out, such as {path} "
        f"({reason.partition(': ')[2]})."
    ]


def _unjudged(manifest: Manifest, classes: dict[str, dict[str, int]]) -> list[str]:
    """Classes that a split lacks, and classes that few images judge."""
    alarms = []
    for split, purpose in (("select", "cells cannot be compared"), ("test", "the winner cannot be confirmed")):
        absent = [name for name, counts in classes.items() if not counts[split]]
        if len(absent) == len(classes):
            alarms.append(f"The {split} split is empty, so {purpose}; add images to it.")
        elif absent:
            names = _names(absent)
            alarms.append(
                f"The {split} split lacks {names[0].lower()}{names[1:]}, so accuracy there says nothing about "
                f"{_it(len(absent))}; add images of {_it(len(absent))}."
            )
    few = [name for name, counts in classes.items() if 0 < counts["select"] + counts["test"] < FEW_TO_JUDGE]
    if few:
        judged = min(classes[name]["select"] + classes[name]["test"] for name in few)
        alarms.append(
            f"{_names(few)} {_has(len(few))} fewer than {FEW_TO_JUDGE} evaluation images (the fewest: {judged}), so "
            "differences there are mostly noise; add images."
        )
    return alarms


def _rare(classes: dict[str, dict[str, int]]) -> list[str]:
    totals = {name: sum(counts.values()) for name, counts in classes.items()}
    everything = sum(totals.values())
    bound = min(RARE_SHARE, 0.5 / len(totals)) * everything
    rare = [name for name, total in totals.items() if total < bound]
    alarms = []
    if rare:
        share = 100 * min(totals[name] for name in rare) / everything
        alarms.append(
            f"{_names(rare)} {_has(len(rare))} few of the images (the smallest share: {share:.1f}%), so accuracy "
            f"hardly depends on {_it(len(rare))}; add images of {_it(len(rare))}."
        )
    trained = {name: counts["train"] for name, counts in classes.items()}
    least, most = min(trained, key=lambda name: trained[name]), max(trained, key=lambda name: trained[name])
    if trained[most] >= IMBALANCE * trained[least]:
        ratio = trained[most] / trained[least]
        alarms.append(
            f"Class {most!r} has {ratio:.0f} times as many training images as {least!r}, so accuracy says little about "
            "the small classes; add images of them, or limit all classes with data.per_class."
        )
    return alarms


def _groups_across_splits(items: pd.DataFrame) -> list[str]:
    """Near copies of which not all lie in one split."""
    splits = items[items["near_copies"] != ""].groupby("near_copies")["split"].nunique()
    return [str(content) for content in splits[splits > 1].index]


def _near_copies(manifest: Manifest) -> list[str]:
    """Images that look the same and lie in different splits, or carry different labels."""
    items = manifest.items[manifest.items["near_copies"] != ""]
    if not len(items):
        return []
    alarms = []
    groups = items.groupby("near_copies")
    across = _groups_across_splits(items)
    if len(across):
        shown = " and ".join(items.loc[items["near_copies"] == across[0], "path"].tolist()[:2])
        alarms.append(
            f"{counted(len(across), 'group')} of images that look the same {_lie(len(across))} in more than one split, "
            f"such as {shown}. Networks can memorize them, so accuracy is too high; keep each group in one split."
        )
    label_groups = groups["label"].nunique()
    labels = label_groups[label_groups > 1].index
    if len(labels):
        shown = " and ".join(items.loc[items["near_copies"] == labels[0]].drop_duplicates("label")["path"].tolist()[:2])
        number = counted(len(labels), "group")
        alarms.append(
            f"{number} of images that look the same {_has(len(labels))} two labels, such as {shown}; correct them."
        )
    return alarms


def _names(names: Sequence[str]) -> str:
    text = ", ".join(repr(name) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{'Class' if len(names) == 1 else 'Classes'} {text}{more}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _it(count: int) -> str:
    return "it" if count == 1 else "them"


def _lie(count: int) -> str:
    return "lies" if count == 1 else "lie"
