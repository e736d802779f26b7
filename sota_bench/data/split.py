"""Which images train, which choose (``select``) and which confirm (``test``): decided once, by content alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "select", "test")


def rank_key(sha256: str, purpose: str) -> str:
    """A pseudo-random, reproducible sort key of an image for one purpose.

    Different purposes give unrelated orders, so that a subset says nothing about a split.
    """
    return hashlib.sha256(f"{purpose}:{sha256}".encode()).hexdigest()


def halve(items: pd.DataFrame) -> np.ndarray:
    """Divide images into ``select`` and ``test``, each with half of every class.

    Within a class images are sorted by a hash of their content; the first half chooses. Of an odd number the extra
    image goes to ``select`` and ``test`` in turn from class to class, so that the whole halves differ by at most one.

    Args:
        items: columns ``label`` and ``sha256``.

    Returns:
        An array of split names, one per row.
    """
    splits = np.full(len(items), "test", dtype=object)
    extra = 1
    for rows in _by_class(items, "halve"):
        half = len(rows) // 2
        if len(rows) % 2:
            half += extra
            extra = 1 - extra
        splits[rows[:half]] = "select"
    return splits


def divide(items: pd.DataFrame, select_percent: int = 15, test_percent: int = 15) -> np.ndarray:
    """Divide images that came without a split into train, select and test, class by class, by a hash of their content.

    Args:
        items: columns ``label`` and ``sha256``.
        select_percent, test_percent: shares of each class; a class always keeps at least one training image.

    Returns:
        An array of split names, one per row.
    """
    splits = np.full(len(items), "train", dtype=object)
    for rows in _by_class(items, "divide"):
        select = min(round(len(rows) * select_percent / 100), len(rows) - 1)
        test = min(round(len(rows) * test_percent / 100), len(rows) - 1 - select)
        splits[rows[:select]] = "select"
        splits[rows[select : select + test]] = "test"
    return splits


def shared_contents(items: pd.DataFrame) -> list[str]:
    """The digests of contents that occur in more than one split: empty where the splits are disjoint."""
    counts = items.groupby("sha256")["split"].nunique()
    return sorted(counts[counts > 1].index)


def _by_class(items: pd.DataFrame, purpose: str) -> list[np.ndarray]:
    """The row positions of each class, classes by name, rows by hash."""
    labels = items["label"].to_numpy(dtype=object)
    keys = np.array([rank_key(sha, purpose) for sha in items["sha256"]], dtype=object)
    order = sorted(range(len(items)), key=lambda row: (labels[row], keys[row], row))
    groups: dict[str, list[int]] = {}
    for row in order:
        groups.setdefault(labels[row], []).append(row)
    return [np.array(rows) for rows in groups.values()]
