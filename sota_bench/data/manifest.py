"""What a data set consists of: every image with its split, class and content digest, and every file left out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sota_bench.data.names import natural_order
from sota_bench.data.split import SPLITS, redraw, shared_contents
from sota_bench.errors import UserError
from sota_bench.files import write_text
from sota_bench.grid.nearest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("path", "split", "label", "sha256", "bytes", "scale", "near_copies", "group")
LABELS = "labels:"
"""Begins the names of columns of other labels."""

LEFT_OUT_COLUMNS = ("path", "reason", "split", "label")
_HEADER = "sota-bench manifest 3"
_HEX = set("0123456789abcdef")

COPY = "a copy"
TWO_LABELS = "two labels"
UNTRAINED = "class without training images"
GROUP_IN_TWO_SPLITS = "group in two splits"
"""How reasons begin; what follows a colon is about the one file."""


class ScannedImage(NamedTuple):
    """An image that a scan lists.

    Attributes:
        path: inside the source.
        split: train, val, test, or "" where the data set is undivided.
        label: class name.
        sha256: of its content.
        bytes: of its file.
        scale: ``low:high``, the values that become black and white; "" for images of 8 bits.
        near_copies: what near copies have in common; "" for an image that has none.
        group: what it belongs to by ``data.group``, such as a patient; "" for an image that stands alone.
    """

    path: str
    split: str
    label: str
    sha256: str
    bytes: int
    scale: str = ""
    near_copies: str = ""
    group: str = ""


class LeftOut(NamedTuple):
    """A file that is not used: why, and the split and class that it would have had, where they are known."""

    path: str
    reason: str
    split: str = ""
    label: str = ""


@dataclass(frozen=True)
class Manifest:
    """A data set by content.

    Attributes:
        name: what the source is called.
        items: columns ``path`` (inside the source), ``split`` (train, select, test), ``label`` (class name), ``sha256``
            (of the content, 64 hex digits: the file, and for more than 8 bits the scale), ``bytes``, ``scale``,
            ``near_copies`` and ``group`` (see ``ScannedImage``); sorted by path.
            Further columns named ``labels:COLUMN`` hold other labels of each image, of a table beside the images.
        left_out: columns ``path``, ``reason``, ``split`` and ``label``; the latter two are "" where they are unknown.
        junk: how many leftovers of systems and tools the source holds.
        notes: sentences about how the data set was read.
        alarms: sentences about what in its files should be looked at.
    """

    name: str
    items: pd.DataFrame
    left_out: pd.DataFrame
    junk: int = 0
    notes: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the sorted contents, splits and labels: the same wherever the files lie."""
        items = self.items
        rows = sorted(zip(items["sha256"], items["split"], items["label"], strict=True))
        total = hashlib.sha256()
        for row in rows:
            total.update("\0".join(row).encode() + b"\n")
        for name in self.other_labels:
            for sha, label in sorted(zip(items["sha256"], items[LABELS + name], strict=True)):
                total.update("\0".join((name, sha, label)).encode() + b"\n")
        return total.hexdigest()

    @cached_property
    def other_labels(self) -> list[str]:
        """Names of the columns of other labels, sorted."""
        return sorted(name.removeprefix(LABELS) for name in self.items.columns if name.startswith(LABELS))

    def relabelled(self, column: str) -> Manifest:
        """A manifest whose training images have other labels; those that judge keep theirs.

        Args:
            column: one of ``other_labels``.

        Raises:
            UserError: there is no such column.
        """
        if column not in self.other_labels:
            held = ", ".join(self.other_labels) or "none"
            remedy = did_you_mean(column, self.other_labels, f"the columns of labels are: {held}")
            raise UserError("data", "train_labels", f"no table of {self.name} has labels in {column!r}", remedy)
        train = self.items["split"] == "train"
        labels = self.items[LABELS + column].where(train, self.items["label"])
        return replace(self, items=self.items.assign(label=labels))

    def redrawn(self, seed: int, kept: Collection[str] | None = None) -> Manifest:
        """A manifest in which the images that train or choose are divided anew; those that confirm stay.

        Args:
            seed: of the draw.
            kept: contents to which training images are limited; the others are not drawn.
        """
        items = self.items
        drawn = items["split"] == "select"
        drawn |= (items["split"] == "train") & (True if kept is None else items["sha256"].isin(set(kept)))
        split = items["split"].to_numpy(dtype=object).copy()
        split[drawn.to_numpy()] = redraw(items[drawn], seed)
        return replace(self, items=items.assign(split=split))

    @cached_property
    def classes(self) -> list[str]:
        """Class names, in natural order: 2 before 10."""
        return natural_order(self.items["label"])

    def sizes(self) -> dict[str, int]:
        """Images per split."""
        counts = self.items["split"].value_counts()
        return {split: int(counts.get(split, 0)) for split in SPLITS}

    def limited_to(self, contents: Collection[str], name: str) -> Manifest:
        """A manifest of the images with some contents, under another name, without what was left out."""
        items = self.items[self.items["sha256"].isin(set(contents))].reset_index(drop=True)
        return Manifest(name, items, self.left_out.iloc[:0])

    def sample_paths(self, count: int) -> list[str]:
        """Paths of some images, evenly spread."""
        paths = self.items["path"].tolist()
        rows = np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)
        return [paths[row] for row in rows]

    def save(self, path: Path) -> None:
        """Write the manifest as text: a header line, then CSV with the columns of ``items`` and ``left_out``.

        The file is replaced at once or not at all.
        """
        import pandas as pd

        left_out = self.left_out.assign(sha256="", bytes=0, scale="", near_copies="", group="")
        table = pd.concat([self.items.assign(left_out=""), left_out.rename(columns={"reason": "left_out"})])
        others = [LABELS + name for name in self.other_labels]
        table = table[[*COLUMNS, *others, "left_out"]].fillna("")
        text = table.to_csv(index=False, lineterminator="\n")
        if "\r" in text:  # pandas quotes fields for the line end it writes, and takes either for one when it reads
            text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        facts = {"name": self.name, "junk": self.junk, "notes": self.notes, "alarms": self.alarms}
        text = f"{_HEADER} {json.dumps(facts)}\n{text}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text, durable=True)

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a manifest and check every field.

        Raises:
            UserError: unreadable, not a manifest, or an entry that is not valid, with its line.
        """
        try:
            with path.open(encoding="utf-8", newline="") as file:  # a name may hold a carriage return
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            remedy = "name the file of a manifest, as a store keeps them in manifests/"
            raise UserError(str(path), "", f"cannot be read: {error}", remedy) from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, origin: str) -> Manifest:
        """Read a manifest from its text; ``origin`` names it in errors.

        Raises:
            UserError: not a manifest, or an entry that is not valid.
        """
        import pandas as pd

        remedy = "take an unchanged copy; a run writes its own anew"
        header, _, body = text.partition("\n")
        if not header.startswith(_HEADER + " "):
            raise UserError(origin, "", f"is not a manifest: it does not start with {_HEADER!r}", remedy)
        try:
            table = pd.read_csv(
                io.StringIO(body), dtype=str, keep_default_na=False, na_filter=False, on_bad_lines="error"
            )
        except (ValueError, OverflowError) as error:  # ParserError and EmptyDataError are ValueErrors
            raise UserError(origin, "", f"is not valid CSV: {error}", remedy) from None
        others = [name for name in table.columns if name.startswith(LABELS)]
        if list(table.columns) != [*COLUMNS, *others, "left_out"]:
            raise UserError(origin, "", f"has the columns {list(table.columns)}, not {[*COLUMNS, 'left_out']}", remedy)
        kept = (table["left_out"] == "").to_numpy(dtype=bool)
        items = table.loc[kept, [*COLUMNS, *others]].reset_index(drop=True)
        _check_items(items, origin, remedy)
        items["bytes"] = items["bytes"].astype("int64")
        left_out = table.loc[~kept].rename(columns={"left_out": "reason"})[list(LEFT_OUT_COLUMNS)]
        return cls(items=items, left_out=left_out.reset_index(drop=True), **_facts(header, origin, remedy))


def _facts(header: str, origin: str, remedy: str) -> dict[str, Any]:
    """The name, notes and alarms in a manifest's first line."""
    try:
        facts = json.loads(header[len(_HEADER) + 1 :])
        name, junk = str(facts["name"]), int(facts["junk"])
        notes, alarms = (tuple(str(sentence) for sentence in facts[key]) for key in ("notes", "alarms"))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        problem = f"has a damaged first line ({type(error).__name__})"
        raise UserError(origin, "", problem, remedy) from None
    return {"name": name, "junk": junk, "notes": notes, "alarms": alarms}


def _check_items(items: pd.DataFrame, origin: str, remedy: str) -> None:
    checks = {
        "split": items["split"].isin(SPLITS),
        "label": (items[["label", *(name for name in items.columns if name.startswith(LABELS))]] != "").all(axis=1),
        "path": (items["path"] != "") & ~items["path"].duplicated(),
        "sha256": items["sha256"].map(lambda text: len(text) == 64 and _HEX.issuperset(text)),
        "scale": items["scale"].map(_is_scale),
        "bytes": items["bytes"].map(lambda text: text.isascii() and text.isdigit() and len(text) < 16),
    }
    for column, good in checks.items():
        bad = items[~good.astype(bool)]
        if len(bad):
            row = bad.iloc[0]
            raise UserError(origin, column, f"{row[column]!r} is not valid (path {row['path']!r})", remedy)
    shared = shared_contents(items)
    if shared:
        raise UserError(origin, "split", f"content {shared[0][:12]}... is in more than one split", remedy)


def _is_scale(text: str) -> bool:
    try:
        scale = parse_scale(text)
        return scale is None or bool(np.isfinite(scale).all())
    except ValueError:
        return False


def parse_scale(text: str) -> tuple[float, float] | None:
    """The values that become black and white, as a manifest writes them; None for images of 8 bits.

    Raises:
        ValueError: not two numbers with a colon between them.
    """
    if not text:
        return None
    low, high = (float(part) for part in text.split(":"))
    if not low < high:
        raise ValueError(f"{text!r} is no range")
    return low, high
