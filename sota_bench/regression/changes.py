"""Lasting changes in a series of times: where a workload became slower or faster for good.

The series of logarithms is modelled as constant pieces with noise. Optimal partitioning (Jackson et al. 2005,
doi:10.1109/LSP.2001.838216) finds the pieces that minimize

    sum of squared residuals + beta x (number of changes),    beta = 3 sigma^2 log n,

by dynamic programming in O(n^2); this penalty is the leading term of the modified BIC (Zhang and Siegmund 2007,
doi:10.1111/j.1541-0420.2006.00662.x). sigma is estimated from the differences of neighbours, which changes hardly
affect: their median absolute value is 0.6745 sqrt(2) sigma. Pieces have at least two records and are sought in the
running median of three, so that one bad day is no change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SHORTEST = 2
LEAST_NOISE = 0.002
"""Noise in the logarithm that is assumed at least: in a series of equal times every digit would otherwise be a
change."""


@dataclass(frozen=True)
class LastingChange:
    """A change that lasts.

    Attributes:
        index: position of the first value after it.
        change: as a share: 0.1 is 10% slower.
    """

    index: int
    change: float


def lasting_changes(seconds: Sequence[float]) -> list[LastingChange]:
    """The lasting changes of a series.

    Args:
        seconds: in order, all above zero.
    """
    edges = pieces_of(seconds)
    means = [fmean(map(math.log, seconds[start:end])) for start, end in pairwise(edges)]
    ratios = [after - before for before, after in pairwise(means)]
    return [LastingChange(edge, math.expm1(ratio)) for edge, ratio in zip(edges[1:-1], ratios, strict=True)]


def pieces_of(seconds: Sequence[float]) -> list[int]:
    """Edges of the constant pieces of a series of times, see :func:`pieces`."""
    import numpy as np
    from scipy.ndimage import median_filter

    if len(seconds) < 2 * SHORTEST:
        return pieces(seconds, 0.0)
    logs = np.log(np.asarray(seconds, float))
    sigma = max(LEAST_NOISE, float(np.median(np.abs(np.diff(logs)))) / (0.6745 * math.sqrt(2)))
    return pieces(median_filter(logs, size=3, mode="mirror"), 3 * sigma**2 * math.log(len(logs)))


def pieces(values: Sequence[float] | np.ndarray, penalty: float) -> list[int]:
    """Edges of the constant pieces: 0, the first value of every later piece, and the number of values.

    Args:
        values: in order.
        penalty: beta, for each change.
    """
    import numpy as np

    n = len(values)
    if n < 2 * SHORTEST:
        return [0, n] if n else [0]
    x = np.asarray(values, float)
    # Centred, so that the difference of the two sums keeps its digits.
    first = np.concatenate([[0.0], np.cumsum(x - x.mean())])
    squares = np.concatenate([[0.0], np.cumsum((x - x.mean()) ** 2)])
    best, last = np.full(n + 1, np.inf), np.zeros(n + 1, int)
    best[0] = -penalty
    for end in range(SHORTEST, n + 1):
        starts = np.arange(0, end - SHORTEST + 1)
        sums = first[end] - first[starts]
        costs = best[starts] + squares[end] - squares[starts] - sums**2 / (end - starts) + penalty
        last[end] = int(np.argmin(costs))
        best[end] = float(costs[last[end]])
    edges = [n]
    while edges[-1] > 0:
        edges.append(int(last[edges[-1]]))
    return edges[::-1]
