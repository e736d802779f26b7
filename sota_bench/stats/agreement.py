"""Does a cheaper setting put the cells in the same order? Kendall's tau with an interval that holds for a few seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.99
"""Confidence for the sign of one pair of cells. With it the interval of tau covers the true one in at least 95% of
simulated grids (4 to 16 cells, 3 seeds, any signal). Intervals from resampled seeds cover far less: the noise that they
add puts cells out of order that are in order."""


@dataclass(frozen=True)
class Agreement:
    """How far two settings agree on the order of the same cells.

    Attributes:
        tau: Kendall's tau of the cells' means, -1 to 1; None for fewer than two cells.
        low, high: its interval: pairs of cells that the seeds cannot order in both settings count against it, and for
            it; None for one seed.
        cells: how many.
        clear: pairs that the reference orders beyond its seeds' noise.
        kept: how many of those the other setting orders the same way, beyond its own seeds' noise.
        reversed: how many of those it orders the other way round, beyond that noise.
    """

    tau: float | None
    low: float | None
    high: float | None
    cells: int
    clear: int
    kept: int
    reversed: int

    @property
    def keeps_order(self) -> bool:
        """Whether the other setting is sure of every pair that the reference can order, and there is such a pair: in a
        setting where no cell learns, no pair is turned and none is kept."""
        return self.clear > 0 and self.kept == self.clear

    @property
    def word(self) -> str:
        """Whether the order is kept: ``yes``, ``no``, or ``undecided`` where the seeds are too few to say."""
        return "yes" if self.keeps_order else "no" if self.reversed else "undecided"


def agreement(reference: np.ndarray, other: np.ndarray) -> Agreement:
    """Compares the order of cells.

    The sign of each pair of cells comes from a t interval of the difference of their means, with the residual variance
    of cells and seeds together (Fisher's least significant difference, two-way layout without interaction).

    Args:
        reference: responses float [cells, seeds] at the setting that is trusted.
        other: the same cells and seeds at another setting.

    Raises:
        ValueError: the shapes differ, or a response is missing.
    """
    if reference.shape != other.shape or reference.ndim != 2:
        raise ValueError(f"shapes {reference.shape} and {other.shape} are not two tables of the same cells and seeds")
    if not (np.isfinite(reference).all() and np.isfinite(other).all()):
        raise ValueError("a response is missing")
    cells, seeds = reference.shape
    if cells < 2:
        return Agreement(None, None, None, cells, 0, 0, 0)
    means = [table.mean(axis=1) for table in (reference, other)]
    tau = float(stats.kendalltau(*means).statistic)
    if seeds < 2:
        return Agreement(_finite(tau), None, None, cells, 0, 0, 0)
    sure = [_signs(mean, _least_difference(table)) for mean, table in zip(means, (reference, other), strict=True)]
    product = sure[0] * sure[1]
    low, high = (float(np.where(product == 0, doubt, product).mean()) for doubt in (-1, 1))
    clear, kept, turned = (int(pairs.sum()) for pairs in (sure[0] != 0, product > 0, product < 0))
    return Agreement(_finite(tau), low, high, cells, clear, kept, turned)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _signs(means: np.ndarray, beyond: float) -> np.ndarray:
    """Sign of each pair's difference, 0 where it is no larger than ``beyond``; int [pairs]."""
    first, second = np.triu_indices(len(means), 1)
    differences = means[first] - means[second]
    return np.where(np.abs(differences) > beyond, np.sign(differences), 0).astype(int)


def _least_difference(table: np.ndarray) -> float:
    """Difference of two cells' means that is clear of zero."""
    cells, seeds = table.shape
    residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    df = (cells - 1) * (seeds - 1)
    variance = float((residuals**2).sum()) / df
    return float(stats.t.ppf((1 + LEVEL) / 2, df)) * float(np.sqrt(2 * variance / seeds))
