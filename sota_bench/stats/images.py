"""The uncertainty over images, from stored per-image correctness: it stands beside the one over seeds.

Seeds say whether another training would give the same answer; images say whether another sample of images would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class ImageInterval:
    """Paired difference in accuracy, b minus a, in percentage points.

    Attributes:
        estimate, low, high, se: difference as observed, its interval and standard error over images.
        images, runs: how many of each.
        gained, lost: image-run pairs that only b, or only a, has right.
        p: exact McNemar test of one run against one run; None for several runs.
    """

    estimate: float
    low: float
    high: float
    se: float
    images: int
    runs: int
    gained: int
    lost: int
    p: float | None


def image_uncertainty(correct_a: ArrayLike, correct_b: ArrayLike, alpha: float = 0.05) -> ImageInterval:
    """Interval over images for the difference in accuracy between two predictions of the same images.

    Each image gives its mean difference over runs, in [-1, 1]; the interval is theirs, with half a count added to
    each cell of the paired 2 x 2 table (Agresti and Min, Statistics in Medicine 24, 2005), so that few changed images
    do not make it collapse. For one run it is exactly their adjusted Wald interval.

    Args:
        correct_a: whether each image is right under the baseline, bool [N], or [S, N] for S runs.
        correct_b: the same images under the other level, same shape, runs in the same order.
        alpha: 1 - confidence.

    Raises:
        ValueError: where the shapes differ, or there is no image.
    """
    from scipy.stats import norm

    a, b = _pair(correct_a, correct_b)
    runs, images = a.shape
    change = b.astype(float) - a
    per_image = change.mean(axis=0)
    # Two pseudo-images: half a gain, half a loss and one without change.
    centre = per_image.sum() / (images + 2)
    square = ((per_image**2).sum() + 1.0) / (images + 2)
    se = float(np.sqrt(max(square - centre**2, 0.0) / (images + 2)))
    margin = float(norm.isf(alpha / 2)) * se
    return ImageInterval(
        estimate=100 * float(per_image.mean()),
        low=100 * max(centre - margin, -1.0),
        high=100 * min(centre + margin, 1.0),
        se=100 * se,
        images=images,
        runs=runs,
        gained=int((change > 0).sum()),
        lost=int((change < 0).sum()),
        p=mcnemar(a[0], b[0]) if runs == 1 else None,
    )


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """Exact two-sided McNemar p-value for two predictions of the same images, bool [N] each."""
    from statsmodels.stats.contingency_tables import mcnemar as test

    a, b = _pair(correct_a, correct_b)
    table = np.array([[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]])
    if table[0, 1] + table[1, 0] == 0:
        return 1.0
    return min(float(test(table, exact=True).pvalue), 1.0)


def _pair(correct_a: ArrayLike, correct_b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.atleast_2d(np.asarray(correct_a, dtype=bool)), np.atleast_2d(np.asarray(correct_b, dtype=bool))
    if a.shape != b.shape or a.ndim != 2 or a.size == 0:
        raise ValueError(f"two sets of correct images must have one shape [N] or [S, N], not {a.shape} and {b.shape}")
    return a, b
