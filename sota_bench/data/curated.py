"""Curated manifests: the CSV that ``curate`` writes and a person may edit, as a source of images and as a choice of
training images.

Beside ``manifest.csv`` stands ``curation.json``: which source its paths lie in, and how the manifest was made.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sota_bench.data.manifest import LEFT_OUT_COLUMNS, UNTRAINED, Manifest
from sota_bench.data.options import ReadingOptions
from sota_bench.data.source import Progress, Scale, Source
from sota_bench.data.split import SPLITS, shared_contents
from sota_bench.errors import UserError
from sota_bench.grid.nearest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("path", "split", "class", "keep", "reasons", "label_score", "suggested_class", "copy_of", "sha256")
"""Of ``manifest.csv``, in this order; further columns may follow."""

NEEDED = ("path", "split", "class", "keep", "sha256")
"""Columns that are read; the others say why."""

RECORD = "curation.json"
PATH_KINDS = ("folder", "archive", "manifest")
"""Sources that are written as KIND:PATH."""

_KEEP = dict.fromkeys(("true", "yes", "y", "1", "x"), True) | dict.fromkeys(("false", "no", "n", "0"), False)
_CHANGED = "changed since it was curated"
_NOT_KEPT = "not kept by the curated manifest"
_REMEDY = "name the manifest.csv that `python -m sota_bench curate SOURCE --out DIR` wrote"


@dataclass(frozen=True)
class CuratedManifest:
    """The rows of a curated manifest.

    Attributes:
        file: where it was read from.
        rows: columns ``NEEDED`` and whatever else the file holds, as text; ``keep`` as bool. Rows without a content
            (files that could not be read) are among them.
    """

    file: Path
    rows: pd.DataFrame

    @classmethod
    def load(cls, file: Path) -> CuratedManifest:
        """Read a manifest and check every row. What spreadsheets do to a CSV is understood: semicolons, a byte order
        mark, ``TRUE``.

        Raises:
            UserError: unreadable, no such table, or a row that is not valid, with its path.
        """
        import pandas as pd

        place = str(file)
        try:
            with file.open(encoding="utf-8-sig", newline="") as opened:  # a name may hold a carriage return
                text = opened.read()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(place, "", f"cannot be read: {reason}", _REMEDY) from None
        first = text.partition("\n")[0]
        try:
            rows = pd.read_csv(
                io.StringIO(text), dtype=str, keep_default_na=False, na_filter=False, on_bad_lines="error",
                sep=";" if first.count(";") > first.count(",") else ",",
            )  # fmt: skip
        except (ValueError, OverflowError) as error:  # ParserError and EmptyDataError are ValueErrors
            raise UserError(place, "", f"is not valid CSV: {' '.join(str(error).split())}", _REMEDY) from None
        missing = [name for name in NEEDED if name not in rows.columns]
        if missing:
            raise UserError(place, missing[0], "there is no such column", _REMEDY)
        rows["keep"] = _kept(rows, place)
        _check(rows, place)
        return cls(file, rows)

    @property
    def kept(self) -> pd.DataFrame:
        """The rows that are kept."""
        return self.rows[self.rows["keep"]]

    def training_labels(self) -> dict[str, str]:
        """Content digest -> class, of the training images that are kept."""
        train = self.kept[self.kept["split"] == "train"]
        return dict(zip(train["sha256"], train["class"], strict=True))


def training_labels(file: str) -> Mapping[str, str]:
    """Content digest -> class of the training images that a curated manifest keeps; read once for each version of it.

    Raises:
        UserError: as for :meth:`CuratedManifest.load`.
    """
    path = Path(file)
    return _training_labels(path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=8)
def _training_labels(path: Path, mtime_ns: int) -> Mapping[str, str]:
    return CuratedManifest.load(path).training_labels()


def _kept(rows: pd.DataFrame, place: str) -> pd.Series:
    words = rows["keep"].str.strip().str.lower()
    unknown = ~words.isin(list(_KEEP))
    if unknown.any():
        row = rows[unknown].iloc[0]
        problem = f"{row['keep']!r} is neither true nor false (path {row['path']!r})"
        raise UserError(place, "keep", problem, "write true or false in every row")
    return words.map(_KEEP).astype(bool)


def _check(rows: pd.DataFrame, place: str) -> None:
    kept = rows[rows["keep"]]
    if not len(kept):
        raise UserError(place, "keep", "no image is kept", "write true in the rows of images that are to be used")
    problems = {
        "split": (~kept["split"].isin(SPLITS), f"write one of {', '.join(SPLITS)}"),
        "class": (kept["class"] == "", "write the image's class, or false in its column keep"),
        "sha256": (~kept["sha256"].str.fullmatch("[0-9a-f]{64}"), "leave this column as it was written"),
        "path": (kept["path"].duplicated(), "leave one row for each image"),
    }
    for column, (wrong, remedy) in problems.items():
        if wrong.any():
            row = kept[wrong].iloc[0]
            raise UserError(place, column, f"{row[column]!r} cannot be used (path {row['path']!r})", remedy)


@dataclass(frozen=True)
class Origin:
    """The source that a curated manifest was made of.

    Attributes:
        text: as ``open_source`` takes it; a folder or archive with its absolute path.
        path: where it lies if it is known by name and the user said so, or None.
        options: how it is read.
    """

    text: str
    path: Path | None
    options: ReadingOptions

    def to_json(self, folder: Path) -> dict[str, Any]:
        """The origin as the record in ``folder`` keeps it: a path also relative to it, so that both may move."""
        kind, _, location = self.text.partition(":")
        relative = os.path.relpath(location, folder.absolute()) if kind in PATH_KINDS else ""
        path = str(self.path) if self.path else ""
        return {"text": self.text, "relative": relative, "path": path, "options": self.options.to_json()}


def origin_of(file: Path) -> Origin:
    """The source that a curated manifest was made of, by the record beside it.

    Raises:
        UserError: the record is missing or damaged.
    """
    record = file.with_name(RECORD)
    try:
        source = json.loads(record.read_text(encoding="utf-8"))["source"]
        text, relative, path = (str(source[name]) for name in ("text", "relative", "path"))
        options = ReadingOptions.from_json(source["options"])
    except OSError as error:
        problem = f"cannot be read ({error.strerror}), and it says where the images of {file.name} lie"
        raise UserError(str(record), "", problem, f"keep {RECORD} beside the manifest") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(str(record), "", "is damaged", "run `python -m sota_bench curate` again") from None
    kind, _, location = text.partition(":")
    moved = file.parent.absolute() / relative
    if kind in PATH_KINDS and not Path(location).exists() and moved.exists():
        text = f"{kind}:{moved.resolve()}"
    return Origin(text, Path(path) if path else None, options)


class CuratedSource(Source):
    """The images of another source that a curated manifest keeps, with the splits and classes that it gives.

    Args:
        file: the manifest.
        source: in which its paths lie.
    """

    def __init__(self, file: Path, source: Source) -> None:
        self.file, self.source = file.absolute(), source
        self.name = f"{source.name} ({self.file.parent.name}/{self.file.name})"
        self.control = source.control

    @property
    def spec(self) -> dict[str, Any]:
        return {"kind": "curated", "file": str(self.file), "source": self.source.spec}

    def scan(self, progress: Progress | None = None) -> Manifest:
        """The images that are kept, as the source has them now: those that changed since are left out by name.

        Raises:
            UserError: the manifest or the source cannot be read, or what is kept is no data set.
        """
        import pandas as pd

        place = str(self.file)
        manifest = self.source.scan(progress)
        rows = CuratedManifest.load(self.file).rows.set_index("path")
        kept = rows[rows["keep"]]
        items = manifest.items[manifest.items["path"].isin(kept.index)]
        same = kept.loc[items["path"], "sha256"].to_numpy(dtype=object) == items["sha256"].to_numpy(dtype=object)
        left_out = [manifest.left_out]

        def leave_out(paths: Iterable[str], reason: str) -> None:
            frame = pd.DataFrame({"path": list(paths)}, dtype=object)
            left_out.append(frame.assign(reason=reason, split="", label="")[list(LEFT_OUT_COLUMNS)])

        leave_out(items["path"][~same], _CHANGED)
        dropped = rows.index[~rows["keep"]]
        leave_out(sorted(set(dropped) & set(manifest.items["path"])), _NOT_KEPT)
        leave_out(sorted(set(manifest.items["path"]) - set(rows.index)), f"not listed in {self.file.name}")
        gone = sorted(set(kept.index) - set(manifest.items["path"]))
        leave_out(sorted(set(gone) - set(manifest.left_out["path"])), "no such image: listed in the curated manifest")
        items = items[same]
        chosen = kept.loc[items["path"]]
        items = items.assign(split=chosen["split"].to_numpy(), label=chosen["class"].to_numpy())
        trained = set(items.loc[items["split"] == "train", "label"])
        untrained = items[~items["label"].isin(trained)]
        for label, group in untrained.groupby("label"):
            leave_out(group["path"], f"{UNTRAINED}: {label}")
        items = items[items["label"].isin(trained)].reset_index(drop=True)
        if len(trained) < 2:
            classes = "no class" if not trained else "one class"
            raise UserError(place, "keep", f"{classes} with training images is kept", "keep two or more")
        if shared := shared_contents(items):
            path = items.loc[items["sha256"] == shared[0], "path"].iloc[0]
            raise UserError(place, "split", f"the content of {path} is kept in two splits", "keep it in one")
        note = f"the curated manifest keeps {len(items):,} of {len(manifest.items):,} images"
        alarms = manifest.alarms
        if changed := int((~same).sum()) + len(gone):
            files = "1 image has" if changed == 1 else f"{changed:,} images have"
            alarms = (*alarms, f"{files} changed or gone since {self.file.name} was written: curate the source again.")
        skipped = pd.concat(left_out, ignore_index=True)
        return Manifest(self.name, items, skipped, manifest.junk, (*manifest.notes, note), alarms)

    def decode(self, path: str, size: int, sha256: str = "", scale: Scale = None) -> np.ndarray:
        return self.source.decode(path, size, sha256, scale)

    def leave_out(self, left_out: Iterable[tuple[str, str]]) -> None:
        self.source.leave_out(left_out)


def trained_on(manifest: Manifest, file: str) -> Manifest:
    """A manifest whose training images are those that a curated manifest keeps, with the classes that it gives; the
    images that judge stay as they are.

    Raises:
        UserError: the file cannot be read, or gives a class that the data set does not have.
    """
    labels = training_labels(file)
    items = manifest.items
    train = (items["split"] == "train").to_numpy(dtype=bool)
    keep = ~train | items["sha256"].isin(list(labels)).to_numpy(dtype=bool)
    given = items["sha256"].map(labels).where(train, items["label"])
    items = items.assign(label=given)[keep].reset_index(drop=True)
    unknown = sorted(set(items["label"]) - set(manifest.classes))
    if unknown:
        remedy = did_you_mean(unknown[0], manifest.classes, "write a class of the data set")
        raise UserError(file, "class", f"{manifest.name} has no class {unknown[0]!r}", remedy)
    return replace(manifest, items=items)
