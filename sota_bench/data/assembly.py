"""From the images that a scan lists to a manifest: copies are left out, and what has no split is divided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sota_bench.data.manifest import (
    COLUMNS,
    COPY,
    GROUP_IN_TWO_SPLITS,
    LABELS,
    LEFT_OUT_COLUMNS,
    TWO_LABELS,
    UNTRAINED,
    LeftOut,
    Manifest,
    ScannedImage,
)
from sota_bench.data.split import divide, halve, shared_contents
from sota_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def assemble(
    name: str,
    images: Sequence[ScannedImage],
    left_out: Iterable[LeftOut],
    origin: str,
    *,
    junk: int = 0,
    notes: Sequence[str] = (),
    alarms: Sequence[str] = (),
    other_labels: Mapping[str, Mapping[str, str]] | None = None,
) -> Manifest:
    """The manifest of the images that a scan lists: splits are divided, and no content is in two of them.

    Args:
        name: what the source is called.
        images: those that can be used.
        left_out: files that cannot.
        origin: the source as the user knows it, for errors.
        junk, notes, alarms: as in the manifest.
        other_labels: column of a table -> path -> label.

    Returns:
        The manifest. With ``val`` or ``test`` alone, that split is halved into select and test; with both, they are
        select and test; with neither, images of each class are drawn from all. Contents that are in train are left out
        of the others, and copies inside the others are left out; copies in train that have two different labels are
        left out altogether, and so are classes that have no training image. A group that is in train is left out of
        the others, and one that is in val out of test; what is divided here keeps groups and near copies whole.

    Raises:
        UserError: no usable image, or only one class.
    """
    import pandas as pd

    table = pd.DataFrame([ScannedImage(*image) for image in images], columns=list(COLUMNS))
    items = table.sort_values("path", kind="stable", ignore_index=True)
    dropped = [LeftOut(*entry) for entry in left_out]
    undivided = (items["split"] == "").to_numpy(dtype=bool)
    if undivided.any() and not undivided.all():
        remedy = "use train/<class>/ and val/<class>/"
        raise UserError(origin, "", "some images are in a split and some are not", remedy)
    if not undivided.any() and len(items) and not (items["split"] == "train").any():
        problem = "there are no usable training images" + (f" ({_counted(dropped)})" if dropped else "")
        raise UserError(origin, "", problem, "put them in train/<class>/")
    was_judged = items["split"].isin(["val", "test"]).any()
    for rule in (_without_contradictions, _without_copies, _without_shared_groups, _without_untrained_classes):
        items, gone = rule(items)
        dropped += gone
    if not len(items):
        raise UserError(origin, "", f"no usable image ({_counted(dropped)})", "use train/<class>/*.jpg")
    given = set(items["split"])
    if len(set(items["group"])) == 1 and items["group"].iloc[0]:
        problem = f"puts all {len(items):,} images in one group, {items['group'].iloc[0]!r}"
        raise UserError(origin, "data.group", problem, "name a column or pattern that differs between images")
    items, drawn = _divided(items)
    if given == {"train"}:
        cause = "every validation and test image is left out" if was_judged else "there is no validation or test split"
        alarms = [*alarms, f"{cause[0].upper()}{cause[1:]}, so {drawn}."]
    elif drawn:
        notes = [*notes, f"there is no validation or test split, so {drawn}"]
    items, gone = _without_untrained_classes(items)  # a group of several classes may have taken all of one
    dropped += gone
    if items["label"].nunique() < 2:
        problem = f"only one class, {items['label'].iloc[0]!r}" + (f" ({_counted(dropped)})" if dropped else "")
        raise UserError(origin, "", problem, "use one folder for each class")
    shared = shared_contents(items)
    if shared:
        raise AssertionError(f"contents in two splits after their removal: {shared[:3]}")
    for column, labels in sorted((other_labels or {}).items()):
        own = zip(items["path"], items["label"], strict=True)
        items[LABELS + column] = [labels.get(path, label) for path, label in own]
    reasons = pd.DataFrame(sorted(dropped), columns=list(LEFT_OUT_COLUMNS), dtype=object)
    return Manifest(name, items, reasons, junk, tuple(notes), tuple(alarms))


def _counted(dropped: Sequence[LeftOut]) -> str:
    if not dropped:
        return "0 files left out"
    files = "1 file" if len(dropped) == 1 else f"{len(dropped):,} files"
    return f"{files} left out, such as {dropped[0].path}: {dropped[0].reason}"


def _divided(items: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The items with splits train, select and test, and a sentence if evaluation images were drawn."""
    present = set(items["split"])
    splits = items["split"].to_numpy(dtype=object).copy()
    drawn = ""
    if present in ({""}, {"train"}):
        splits = divide(items)
        drawn = "15% of each class are drawn for select and 15% for test"
    elif {"val", "test"} <= present:
        splits[splits == "val"] = "select"
    else:
        judging = splits != "train"
        splits[judging] = halve(items[judging])
    return items.assign(split=splits), drawn


def _left_out(rows: pd.DataFrame, reasons: Iterable[str]) -> list[LeftOut]:
    columns = zip(rows["path"], reasons, rows["split"], rows["label"], strict=True)
    return [LeftOut(*entry) for entry in columns]


def _without_contradictions(items: pd.DataFrame) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Drop training contents that carry two labels: which one is right cannot be known."""
    train = items[items["split"].isin(["train", ""])]
    labels = train.groupby("sha256")["label"].nunique()
    bad = train[train["sha256"].isin(labels[labels > 1].index)]
    reason = f"{TWO_LABELS}: the same content has another label too"
    return items.drop(index=bad.index).reset_index(drop=True), _left_out(bad, [reason] * len(bad))


def _without_copies(items: pd.DataFrame) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Drop from the evaluation splits what is in train already, and second copies."""
    order = items["split"].map({"train": 0, "": 0, "val": 1, "test": 2})
    ranked = items.assign(_order=order).sort_values(["_order", "path"], kind="stable")
    first = ranked.drop_duplicates("sha256").set_index("sha256")
    copies = ranked[ranked.duplicated("sha256") & (ranked["split"] != "train")]
    reasons = []
    for sha, label in zip(copies["sha256"], copies["label"], strict=True):
        original, its_label = str(first.at[sha, "path"]), str(first.at[sha, "label"])
        same = f"{COPY}: the same content as {original}"
        reasons.append(same if label == its_label else f"{TWO_LABELS}: the same content as {original} ({its_label})")
    return items.drop(index=copies.index).reset_index(drop=True), _left_out(copies, reasons)


def _without_shared_groups(items: pd.DataFrame) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Drop from the evaluation splits what belongs to a group of an earlier split: train, then val, then test."""
    grouped = items[items["group"] != ""]
    order = grouped["split"].map({"train": 0, "": 0, "val": 1, "test": 2})
    first = order.groupby(grouped["group"]).transform("min")
    gone = grouped[order > first]
    owners = first[gone.index].map({0: "train", 1: "val"})
    reasons = [f"{GROUP_IN_TWO_SPLITS}: {group} is in {owner} too"
               for group, owner in zip(gone["group"], owners, strict=True)]  # fmt: skip
    return items.drop(index=gone.index).reset_index(drop=True), _left_out(gone, reasons)


def _without_untrained_classes(items: pd.DataFrame) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Drop classes that have no training image: no network could name them."""
    if not (items["split"] == "train").any():
        return items, []
    trained = set(items.loc[items["split"] == "train", "label"])
    gone = items[~items["label"].isin(trained)]
    reasons = [f"{UNTRAINED}: {label}" for label in gone["label"]]
    return items.drop(index=gone.index).reset_index(drop=True), _left_out(gone, reasons)
