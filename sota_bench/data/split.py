"""Which images train, which choose (``select``) and which confirm (``test``): decided for each by its own content.

An image's split follows from a hash of its content, whatever else the data set holds. So images that are added, removed
or moved to another class leave every other image where it was, and what confirms has never chosen.

The price is that halves are equal in expectation, not exactly: of a class with n images that judge, n/2 choose, give or
take sqrt(n)/2 (one standard deviation: 50 of 100, give or take 5). The one exception to the rule keeps tiny classes
usable: where the hashes leave a split of a class empty, one image is moved into it, chosen by another hash. For two
halves that happens with probability 2^(1 - n) in a class of n images (1 in 512 for n = 10), and that one image may
move back when the class grows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "select", "test")

HALVES: Mapping[str, float] = {"select": 0.5, "test": 0.5}
THREE_PARTS: Mapping[str, float] = {"select": 0.15, "test": 0.15, "train": 0.7}

_GROUP = "group:"
"""Before the name of a group: no digest starts with it."""

_BITS = 52
"""Of a hash, as many as a float holds exactly."""


def rank_key(sha256: str, purpose: str) -> str:
    """A pseudo-random, reproducible sort key of an image for one purpose.

    Different purposes give unrelated orders, so that a subset says nothing about a split.
    """
    return hashlib.sha256(f"{purpose}:{sha256}".encode()).hexdigest()


def position(sha256: str, purpose: str) -> float:
    """A number in [0, 1), uniform over contents, that depends on this content and the purpose alone."""
    return int(rank_key(sha256, purpose)[: _BITS // 4], 16) / 2.0**_BITS


def image_ids(contents: Iterable[str]) -> np.ndarray:
    """Numbers that identify images by content: the same in every subset, seed, process and on every machine.

    Args:
        contents: SHA-256 in hex, one per image.

    Returns:
        int64 [N], not negative: the first 63 bits of each digest.
    """
    return np.array([int(sha[:16], 16) >> 1 for sha in contents], dtype=np.int64)


def halve(items: pd.DataFrame) -> np.ndarray:
    """Divide images into ``select`` and ``test``, about half of every class each.

    Args:
        items: column ``label``, and those of :func:`belonging_keys`.

    Returns:
        An array of split names, one per row. A class of two images or more has at least one in each half.
    """
    return _assign(items, HALVES, "halve", priority=("select", "test"), least=2)


def divide(items: pd.DataFrame) -> np.ndarray:
    """Divide images that came without a split into train (70%), select (15%) and test (15%).

    Args:
        items: as for :func:`halve`.

    Returns:
        An array of split names, one per row. Every class trains on at least one image; from two images on one chooses,
        from three on one confirms.
    """
    return _assign(items, THREE_PARTS, "divide", priority=("train", "select", "test"), least=1)


def redraw(items: pd.DataFrame, seed: int) -> np.ndarray:
    """Divide the images that train or choose anew between ``train`` and ``select``, in about the same shares.

    Images that confirm are none of ``items``, so they stay what they are whatever is drawn.

    Args:
        items: as for :func:`halve`, with the column ``split`` ("train" or "select").
        seed: of the draw; each one gives an unrelated division.

    Returns:
        An array of split names, one per row. Every class trains on at least one image, and from two images on one
        chooses.
    """
    share = float((items["split"] == "select").mean())
    shares = {"select": share, "train": 1 - share}
    return _assign(items, shares, f"redraw/{seed}", priority=("train", "select"), least=1)


def shared_contents(items: pd.DataFrame) -> list[str]:
    """The digests of contents that occur in more than one split: empty where the splits are disjoint."""
    counts = items.groupby("sha256")["split"].nunique()
    return sorted(counts[counts > 1].index)


def _assign(
    items: pd.DataFrame, shares: Mapping[str, float], purpose: str, priority: Sequence[str], least: int
) -> np.ndarray:
    """Split names by each image's own hash; images that belong together go together, by the hash of their key.

    Then the first splits of ``priority`` get one key of each class that has at least ``least`` keys and lacks it, as
    far as there are keys for them.
    """
    keys = belonging_keys(items)
    names = list(shares)
    ends = np.cumsum(list(shares.values()))[:-1]
    split_of = {key: names[int(np.searchsorted(ends, position(key, purpose), side="right"))] for key in set(keys)}
    keys_of: dict[str, set[str]] = {}
    for label, key in zip(items["label"], keys, strict=True):
        keys_of.setdefault(label, set()).add(key)
    _fill(split_of, keys_of, purpose, priority, least)
    return np.array([split_of[key] for key in keys], dtype=object)


def _fill(
    split_of: dict[str, str], keys_of: Mapping[str, set[str]], purpose: str, priority: Sequence[str], least: int
) -> None:
    """Move a key into each needed split of a class that has none, from a split that can spare it in all its classes."""
    labels_of: dict[str, list[str]] = {}
    for label, keys in keys_of.items():
        for key in keys:
            labels_of.setdefault(key, []).append(label)
    needed = {label: priority[: len(keys)] if len(keys) >= least else () for label, keys in keys_of.items()}
    counts = {label: Counter(split_of[key] for key in keys) for label, keys in keys_of.items()}

    def can_spare(key: str) -> bool:
        split = split_of[key]
        return all(counts[label][split] > 1 or split not in needed[label] for label in labels_of[key])

    for split in priority:
        for label in sorted(keys_of):
            if split not in needed[label] or counts[label][split]:
                continue
            spare = [key for key in keys_of[label] if can_spare(key)]
            if not spare:  # each of them is all that another class has somewhere
                continue
            moved = min(spare, key=lambda key: rank_key(key, f"{purpose}:{split}"))
            for other in labels_of[moved]:
                counts[other][split_of[moved]] -= 1
                counts[other][split] += 1
            split_of[moved] = split


def belonging_keys(items: pd.DataFrame) -> list[str]:
    """A key for each image that all images share that belong together: near copies, and those of one group.

    Args:
        items: columns ``sha256`` and, where there are such, ``near_copies`` and ``group`` ("" for none).

    Returns:
        The name of a group, the content that stands for near copies, or the image's own content.
    """
    contents = items["sha256"].tolist()
    near = items["near_copies"].tolist() if "near_copies" in items else [""] * len(contents)
    groups = items["group"].tolist() if "group" in items else []
    if not any(groups):
        return [content or sha for content, sha in zip(near, contents, strict=True)]
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for sha, content, group in zip(contents, near, groups, strict=True):
        for node in (content, _GROUP + group if group else ""):
            if node:
                one, other = sorted((root(sha), root(node)), key=lambda name: (not name.startswith(_GROUP), name))
                parent[other] = one
    return [root(sha) for sha in contents]
