"""Copies within and across splits: the same content, what a scan found by difference hashes (``data/copies.py``), and
what the features find: copies that were mirrored, cropped a little, or made brighter or darker.

A pair that features call near is confirmed by the edges of its grey pictures, so that two photographs of the same kind
of thing, or two skies, are not taken for copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sota_bench.data.copies import connected_groups
from sota_bench.data.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd

LEAST_COSINE = 0.5
"""Between the features of copies, centred on the mean of their class."""

LEAST_CORRELATION = 0.6
"""Between the edges of copies."""

LEAST_MEAN = 0.735
"""Of cosine and correlation. Of 2,700 photographs of Imagenette, pairs that are no copies stay below 0.72; copies that
were encoded again, scaled, mirrored, made brighter or cropped to 95% have 0.75 and more."""

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
        similarity: float64 [N], correlation of the edges of an image and of the image that it is taken for a
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
    groups = connected_groups(_pairs_of_copies(items, labels, features, looks))
    similarity = np.zeros(len(items))
    for group in groups:
        others = [group[1], *([group[0]] * (len(group) - 1))]  # each with the first, and the first with the second
        similarity[group] = edge_correlation(looks[group], looks[others])
    return Copies(groups, similarity)


def _pairs_of_copies(
    items: pd.DataFrame, labels: np.ndarray, features: np.ndarray, looks: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Pairs with the same content or the same group of near copies, and pairs that features and edges call copies."""
    for column in ("sha256", "near_copies"):
        first_of: dict[str, int] = {}
        for position, key in enumerate(items[column]):
            if key:
                yield first_of.setdefault(key, position), position
    for pairs, cosines in _near_pairs(labels, features):
        edges = edge_correlation(looks[pairs[:, 0]], looks[pairs[:, 1]])
        confirmed = (edges >= LEAST_CORRELATION) & ((cosines + edges) / 2 >= LEAST_MEAN)
        yield from pairs[confirmed].tolist()


def edge_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The larger one of the correlations of the edges of two pictures, as they are and with one of them mirrored.

    Args:
        first, second: uint8 [M, H, W], grey levels.

    Returns:
        float64 [M], -1 to 1; 0 where a picture has no edge.
    """
    one, other = _edges(first), _edges(second)
    mirrored = other[:, :, :, ::-1] * np.array([-1.0, 1.0])[:, None, None]
    plain, turned = ((one * each).sum(axis=(1, 2, 3)) for each in (other, mirrored))
    best: np.ndarray = np.maximum(plain, turned)
    return best


def _edges(looks: np.ndarray) -> np.ndarray:
    """Differences of neighbouring levels to the right and down, of norm 1, float64 [M, 2, H - 2, W - 2]."""
    levels = looks.astype(np.float64)
    right = levels[:, 1:-1, 2:] - levels[:, 1:-1, :-2]
    down = levels[:, 2:, 1:-1] - levels[:, :-2, 1:-1]
    edges = np.stack([right, down], axis=1)
    norms = np.sqrt((edges**2).sum(axis=(1, 2, 3), keepdims=True))
    scaled: np.ndarray = edges / np.maximum(norms, 1e-9)
    return scaled


def _near_pairs(labels: np.ndarray, features: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of images of one class with near features, int64 [M, 2], some of them twice, and their cosines [M]."""
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        values = np.asarray(features[rows], np.float32)
        values -= values.mean(axis=0)
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
        compared = np.arange(0, len(rows), max(1, -(-len(rows) // MOST_COMPARED)))
        for start in range(0, len(rows), _ROWS):
            cosines = values[start : start + _ROWS] @ values[compared].T
            here = np.arange(start, start + len(cosines))
            cosines[here[:, None] == compared[None, :]] = -1
            nearest = np.argsort(-cosines, axis=1)[:, :NEIGHBOURS]
            largest = np.take_along_axis(cosines, nearest, axis=1)
            index, column = np.nonzero(largest >= LEAST_COSINE)
            if len(index):
                pairs = np.stack([rows[here[index]], rows[compared[nearest[index, column]]]], axis=1)
                yield pairs, largest[index, column]


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
