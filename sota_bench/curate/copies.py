"""Copies within and across splits: the same content, what a scan found by difference hashes (``data/copies.py``), and
what the features find: copies that were mirrored, cropped a little, or made brighter or darker.

A pair that features call near is confirmed by its grey pictures, so that two photographs of the same kind of thing are
not taken for copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sota_bench.data.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd

LEAST_COSINE = 0.9
"""Between features of copies."""

LEAST_CORRELATION = 0.9
"""Between grey pictures of copies, one of them mirrored or not."""

NEIGHBOURS = 3
"""Of each image that are looked at."""

MOST_COMPARED = 20_000
"""Images of one class that each of its images is compared with, evenly spread."""

_ROWS = 1024


@dataclass(frozen=True)
class Copies:
    """Groups of copies among N images.

    Attributes:
        groups: positions of each group, in the order of their first.
        similarity: float64 [N], correlation of the grey pictures of an image and of the image that it is taken for a
            copy of; 0 where there is none.
    """

    groups: list[list[int]]
    similarity: np.ndarray


def find_copies(items: pd.DataFrame, labels: np.ndarray, features: np.ndarray, looks: np.ndarray) -> Copies:
    """Finds groups of copies.

    Args:
        items: columns ``sha256`` and ``near_copies``, one row per image.
        labels: int64 [N].
        features: float16 [N, D].
        looks: uint8 [N, H, W], grey pictures.
    """
    parent = np.arange(len(items))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = int(parent[position])
        return position

    def join(first: int, second: int) -> None:
        ends = sorted((root(first), root(second)))
        parent[ends[1]] = ends[0]

    for column in ("sha256", "near_copies"):
        first_of: dict[str, int] = {}
        for position, key in enumerate(items[column]):
            if key:
                join(first_of.setdefault(key, position), position)
    normal = _normal(looks)
    for first, second in _near_pairs(labels, features):
        if correlation(normal[first], normal[second]) >= LEAST_CORRELATION:
            join(first, second)
    members: dict[int, list[int]] = {}
    for position in range(len(items)):
        members.setdefault(root(position), []).append(position)
    groups = [group for group in members.values() if len(group) > 1]
    similarity = np.zeros(len(items))
    for group in groups:
        similarity[group[0]] = correlation(normal[group[0]], normal[group[1]])
        for position in group[1:]:
            similarity[position] = correlation(normal[group[0]], normal[position])
    return Copies(groups, similarity)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """The larger one of the correlations of two grey pictures, as they are and with one of them mirrored.

    Args:
        first, second: float32 [H, W], of mean 0 and norm 1.
    """
    return max(float((first * second).sum()), float((first * second[:, ::-1]).sum()))


def _normal(looks: np.ndarray) -> np.ndarray:
    levels = looks.astype(np.float32)
    levels -= levels.mean(axis=(1, 2), keepdims=True)
    norms = np.sqrt((levels**2).sum(axis=(1, 2), keepdims=True))
    normal: np.ndarray = levels / np.maximum(norms, 1e-6)
    return normal


def _near_pairs(labels: np.ndarray, features: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of images of one class with near features, each once."""
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        values = np.asarray(features[rows], np.float32)
        values -= values.mean(axis=0)
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
        step = max(1, -(-len(rows) // MOST_COMPARED))
        compared = np.arange(0, len(rows), step)
        for start in range(0, len(rows), _ROWS):
            cosines = values[start : start + _ROWS] @ values[compared].T
            here = np.arange(start, start + len(cosines))
            cosines[here[:, None] == compared[None, :]] = -1
            nearest = np.argsort(-cosines, axis=1)[:, :NEIGHBOURS]
            for index, columns in enumerate(nearest):
                for column in columns[cosines[index, columns] >= LEAST_COSINE]:
                    first, second = rows[start + index], rows[compared[column]]
                    if first < second or (start + index) % step:
                        yield int(first), int(second)


def originals_of(manifest: Manifest) -> dict[str, str]:
    """Path -> path of the original, of the exact copies that the reading of the source leaves out."""
    from sota_bench.data.account import kind_of
    from sota_bench.data.manifest import COPY

    marker = "the same content as "
    return {
        path: reason.partition(marker)[2]
        for path, reason in zip(manifest.left_out["path"], manifest.left_out["reason"], strict=True)
        if kind_of(reason) == COPY and marker in reason
    }
