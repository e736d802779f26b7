"""What should not be in a data set, image by image: a reason and a score for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sota_bench.curate.copies import Copies
from sota_bench.data.account import kind_of
from sota_bench.data.manifest import COPY, TWO_LABELS, UNTRAINED, Manifest

if TYPE_CHECKING:
    import pandas as pd

WRONG_LABEL, OUTLIER, NEAR_COPY, LEAK, TINY = "wrong-label", "outlier", "near-copy", "leak", "tiny"
UNREADABLE, UNUSED, NOT_CHOSEN = "unreadable", "unused", "not-chosen"

REASONS = {
    WRONG_LABEL: "Confident learning finds that the label is probably wrong",
    OUTLIER: "The features lie far from those of all other images",
    NEAR_COPY: "Another image of the same split is the same or looks the same",
    LEAK: "An image of another split is the same or looks the same",
    TINY: "The shorter side has far fewer pixels than usual",
    UNREADABLE: "The file cannot be read as an image",
    UNUSED: "Left out when the source was read",
    NOT_CHOSEN: "Not among the classes and images that were asked for",
}
"""Words of the column ``reasons``."""

DROPPABLE = (WRONG_LABEL, OUTLIER, NEAR_COPY, LEAK, TINY)

TINY_SIDE, TINY_SHARE = 48, 0.5
"""An image is tiny whose shorter side is below this many pixels, and below this share of the median."""

SEPARATOR = "; "


def tiny(sides: np.ndarray) -> np.ndarray:
    """Which images are tiny, bool [N].

    Args:
        sides: int [N], shorter sides in pixels as far as they were decoded; 0 for images that did not decode.
    """
    known = sides[sides > 0]
    limit = min(TINY_SIDE, TINY_SHARE * float(np.median(known)))
    return (sides > 0) & (sides < limit)


def copy_flags(splits: np.ndarray, paths: Sequence[str], copies: Copies) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Which images are copies within their split, which have one in another split, and of what each is a copy.

    Args:
        splits: str [N].
        paths: of each image.
        copies: groups of positions.

    Returns:
        near_copy bool [N] (all but the first of a split), leak bool [N] (all of a group that is in several splits), and
        the path of the copy ("" for none): of an image in another split where there is one, else of the first.
    """
    near_copy, leak = np.zeros(len(splits), dtype=bool), np.zeros(len(splits), dtype=bool)
    copy_of = [""] * len(splits)
    for group in copies.groups:
        first_of: dict[str, int] = {}
        for position in group:
            near_copy[position] = first_of.setdefault(str(splits[position]), position) != position
        for position in group:
            elsewhere = [first for split, first in first_of.items() if split != splits[position]]
            leak[position] = bool(elsewhere)
            original = min(elsewhere) if elsewhere else first_of[str(splits[position])]
            if original != position:
                copy_of[position] = paths[original]
    return near_copy, leak, copy_of


def left_out_rows(manifest: Manifest, originals: dict[str, str]) -> pd.DataFrame:
    """Rows of the curated manifest for the files that the reading of the source leaves out; never kept.

    Args:
        manifest: of the source.
        originals: path -> path of the original, of exact copies.
    """
    import pandas as pd

    splits = dict(zip(manifest.items["path"], manifest.items["split"], strict=True))
    rows = []
    left_out = manifest.left_out
    columns = (left_out[name] for name in ("path", "reason", "split", "label"))
    for path, reason, split, label in zip(*columns, strict=True):
        original = originals.get(path, "")
        kind = kind_of(reason)
        if kind == COPY and original:
            word = LEAK if splits.get(original, split) != _used(split) else NEAR_COPY
        else:
            word = UNUSED if kind in (COPY, TWO_LABELS, UNTRAINED) or not label else UNREADABLE
        rows.append({
            "path": path, "split": _used(split), "class": label, "keep": False, "reasons": word, "copy_of": original,
            "note": reason,
        })  # fmt: skip
    return pd.DataFrame(rows, dtype=object)


def _used(split: str) -> str:
    """What a manifest calls the split of a folder: images of ``val`` choose."""
    return "select" if split == "val" else split
