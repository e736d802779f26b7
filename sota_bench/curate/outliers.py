"""Outliers: images whose features lie far from those of all other images (Kuan and Mueller 2022, Back to the Basics,
https://arxiv.org/abs/2207.03061)."""

from __future__ import annotations

import numpy as np

NEIGHBOURS = 10
MOST_COMPARED = 20_000
"""Images that each one is compared with, evenly spread: time grows with the images, not with their square."""

FAR_OUT = 3.0
"""Interquartile ranges above the upper quartile from which on a distance is far out (Tukey 1977)."""

_ROWS = 1024


def outlier_scores(projected: np.ndarray, compared: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How usual each image is, and which are outliers.

    Args:
        projected: float32 [N, C], principal components of variance 1.
        compared: int64 [M], images to compare with: those that train.
        usable: bool [N], which images were decoded.

    Returns:
        Scores float64 [N], 0 (far from everything) to 1, 0.5 for the median distance; outliers bool [N].
    """
    reference = compared[:: max(1, -(-len(compared) // MOST_COMPARED))]
    scale = np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-6)
    basis = projected[reference] / scale[reference]
    neighbours = min(NEIGHBOURS, len(reference) - 1)
    scores, outliers = np.ones(len(projected)), np.zeros(len(projected), dtype=bool)
    if neighbours < 1:
        return scores, outliers
    distances = np.empty(len(projected))
    for start in range(0, len(projected), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(projected)))
        cosines = (projected[rows] / scale[rows]) @ basis.T
        cosines[rows[:, None] == reference[None, :]] = -1  # not itself
        nearest = -np.partition(-cosines, neighbours - 1, axis=1)[:, :neighbours]
        distances[rows] = 1 - nearest.mean(axis=1)
    known = distances[usable]
    low, middle, high = np.percentile(known, [25, 50, 75])
    outliers = usable & (distances > high + FAR_OUT * (high - low))
    scores[usable] = np.exp2(-np.maximum(known, 0) / max(middle, 1e-9))
    return scores, outliers
