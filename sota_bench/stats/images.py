"""Images that two predictions of one training answer differently, and McNemar's test of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class ChangedImages(NamedTuple):
    """Images that only the second of two predictions has right (gained), or only the first (lost).

    Attributes:
        gained, lost: how many.
        p: McNemar's exact test.
    """

    gained: int
    lost: int
    p: float


def changed_images(correct_a: ArrayLike, correct_b: ArrayLike) -> ChangedImages:
    """What changes from prediction a to prediction b, with McNemar's exact two-sided test.

    Args:
        correct_a: whether each image is right under a, bool [N].
        correct_b: the same images under b, bool [N].

    Raises:
        ValueError: where the shapes differ, or there is no image.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError(f"two sets of correct images must have one shape [N], not {a.shape} and {b.shape}")
    gained, lost = int((~a & b).sum()), int((a & ~b).sum())
    if gained + lost == 0:
        return ChangedImages(0, 0, 1.0)
    table = np.array([[int((a & b).sum()), lost], [gained, int((~a & ~b).sum())]])
    return ChangedImages(gained, lost, min(float(mcnemar(table, exact=True).pvalue), 1.0))
