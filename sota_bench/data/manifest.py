"""What a data set consists of: every image with its split, class and content digest, and every file left out."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sota_bench.data.split import SPLITS, divide, halve, shared_contents
from sota_bench.errors import UserError
from sota_bench.files import write_text

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("path", "split", "label", "sha256", "bytes")
_HEADER = "sota-bench manifest 1"
_HEX = set("0123456789abcdef")


@dataclass(frozen=True)
class Manifest:
    """A data set by content.

    Attributes:
        name: what the source is called.
        items: columns ``path`` (inside the source), ``split`` (train, select, test), ``label`` (class name), ``sha256``
            (of the file, 64 hex digits) and ``bytes``; sorted by path.
        left_out: columns ``path`` and ``reason``.
    """

    name: str
    items: pd.DataFrame
    left_out: pd.DataFrame

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the sorted contents, splits and labels: the same wherever the files lie."""
        items = self.items
        rows = sorted(zip(items["sha256"], items["split"], items["label"], strict=True))
        total = hashlib.sha256()
        for row in rows:
            total.update("\0".join(row).encode() + b"\n")
        return total.hexdigest()

    @cached_property
    def classes(self) -> list[str]:
        """Class names, sorted."""
        return sorted(set(self.items["label"]))

    def sizes(self) -> dict[str, int]:
        """Images per split."""
        counts = self.items["split"].value_counts()
        return {split: int(counts.get(split, 0)) for split in SPLITS}

    def save(self, path: Path) -> None:
        """Write the manifest as text: a header line, then CSV with the columns of ``items`` and ``left_out``.

        The file is replaced at once or not at all.
        """
        import pandas as pd

        left_out = self.left_out.assign(split="", label="", sha256="", bytes=0)
        table = pd.concat([self.items.assign(left_out=""), left_out.rename(columns={"reason": "left_out"})])
        table, name = table[[*COLUMNS, "left_out"]], self.name.replace("\n", " ")
        text = table.to_csv(index=False, lineterminator="\n")
        if "\r" in text:  # pandas quotes fields for the line end it writes, and takes either for one when it reads
            text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        text = f"{_HEADER} {name}\n{text}"
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
        if list(table.columns) != [*COLUMNS, "left_out"]:
            raise UserError(origin, "", f"has the columns {list(table.columns)}, not {[*COLUMNS, 'left_out']}", remedy)
        kept = (table["left_out"] == "").to_numpy(dtype=bool)
        items = table.loc[kept, list(COLUMNS)].reset_index(drop=True)
        _check_items(items, origin, remedy)
        items["bytes"] = items["bytes"].astype("int64")
        left_out = table.loc[~kept, ["path", "left_out"]].rename(columns={"left_out": "reason"}).reset_index(drop=True)
        return cls(header[len(_HEADER) + 1 :].strip(), items, left_out)


def assemble(
    name: str, images: Sequence[tuple[str, str, str, str, int]], left_out: Iterable[tuple[str, str]], origin: str
) -> Manifest:
    """The manifest of the images that a scan lists: splits are divided, and no content is in two of them.

    Args:
        name: what the source is called.
        images: (path, split, label, sha256, bytes) per image; split is ``train``, ``val``, ``test`` or "" (undivided).
        left_out: (path, reason) per file that cannot be used.
        origin: the source as the user knows it, for errors.

    Returns:
        The manifest. With ``val`` or ``test`` alone, that split is halved into select and test; with both, they are
        select and test. Contents that are in train are left out of the others, and copies inside the others are left
        out; copies in train that have two different labels are left out altogether.

    Raises:
        UserError: no usable image, or only one class.
    """
    import pandas as pd

    items = pd.DataFrame(images, columns=list(COLUMNS)).sort_values("path", kind="stable", ignore_index=True)
    dropped = list(left_out)
    undivided = (items["split"] == "").to_numpy(dtype=bool)
    if undivided.any() and not undivided.all():
        remedy = "use train/<class>/ and val/<class>/"
        raise UserError(origin, "", "some images are in a split and some are not", remedy)

    items, gone = _without_contradictions(items)
    dropped += gone
    items, gone = _without_copies(items)
    dropped += gone
    if len(items) and not (items["split"] == "train").any() and not undivided.all():
        raise UserError(origin, "", "there are no training images", "put them in train/<class>/")

    present = set(items["split"])
    splits = items["split"].to_numpy(dtype=object).copy()
    if "" in present:
        splits = divide(items)
    elif {"val", "test"} <= present:
        splits[splits == "val"] = "select"
    else:
        judging = splits != "train"
        splits[judging] = halve(items[judging])
    items = items.assign(split=splits)

    if not len(items):
        raise UserError(origin, "", f"no usable image ({len(dropped)} files left out)", "use train/<class>/*.jpg")
    if items["label"].nunique() < 2:
        raise UserError(origin, "", f"only one class, {items['label'].iloc[0]!r}", "use one folder for each class")
    shared = shared_contents(items)
    if shared:
        raise AssertionError(f"contents in two splits after their removal: {shared[:3]}")
    reasons = pd.DataFrame(sorted(dropped), columns=["path", "reason"])
    return Manifest(name, items, reasons)


def _without_contradictions(items: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Drop training contents that carry two labels: which one is right cannot be known."""
    train = items[items["split"].isin(["train", ""])]
    labels = train.groupby("sha256")["label"].nunique()
    bad = train[train["sha256"].isin(labels[labels > 1].index)]
    reasons = [(path, "the same content has another label too") for path in bad["path"]]
    return items.drop(index=bad.index).reset_index(drop=True), reasons


def _without_copies(items: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Drop from the evaluation splits what is in train already, and second copies."""
    order = items["split"].map({"train": 0, "": 0, "val": 1, "test": 2})
    ranked = items.assign(_order=order).sort_values(["_order", "path"], kind="stable")
    first = ranked.drop_duplicates("sha256").set_index("sha256")["path"]
    copies = ranked[ranked.duplicated("sha256") & (ranked["split"] != "train")]
    reasons = [
        (path, f"the same content as {first[sha]}") for path, sha in zip(copies["path"], copies["sha256"], strict=True)
    ]
    return items.drop(index=copies.index).reset_index(drop=True), reasons


def _check_items(items: pd.DataFrame, origin: str, remedy: str) -> None:
    checks = {
        "split": items["split"].isin(SPLITS),
        "label": items["label"] != "",
        "path": (items["path"] != "") & ~items["path"].duplicated(),
        "sha256": items["sha256"].map(lambda text: len(text) == 64 and _HEX.issuperset(text)),
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
