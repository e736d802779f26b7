"""What an experiment could have seen: minimum detectable effect and seeds needed, from the noncentral t.

Power is that of the two-sided t test at ``alpha`` for a true effect, never "observed power" at the estimate
(Hoenig and Heisey, 2001, The American Statistician 55(1)).

The noncentral t is integrated here, for many contrasts at once: scipy's `nct` and `nctdtr` return NaN for large
noncentralities, which the corrected levels of large families need. The tests compare both where both exist.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sota_bench.stats.kernels import Array

POWER = 0.80
MOST_SEEDS = 10_000
NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)
REACH = 8.0
"""Standard deviations of a normal beyond which nothing is left (6e-16)."""


def upper_tail(critical: ArrayLike, df: ArrayLike, shift: ArrayLike) -> Array:
    """P(T > critical) of the noncentral t, for positive critical values.

    With S the root of a chi-square over its degrees of freedom, T > c means Z > c S - shift. Where c S is far below
    the shift this is certain, which leaves the distribution function of S and an integral over a short range of it.

    Args:
        critical: c > 0.
        df: degrees of freedom, need not be whole.
        shift: noncentrality.
    """
    from scipy.special import chdtr, gammaln, ndtr

    critical, df, shift = np.broadcast_arrays(*(np.asarray(part, dtype=float) for part in (critical, df, shift)))
    # A chi is a Lipschitz function of normals, so it lies within REACH of its mean, which is below the root of df.
    smallest = np.maximum(np.sqrt(np.maximum(1 - 1 / df, 0)) - REACH / np.sqrt(df), 0)
    largest = 1 + REACH / np.sqrt(df)
    low = np.clip((shift - REACH) / critical, 0.0, largest)
    high = np.clip((shift + REACH) / critical, low, largest)
    start = np.minimum(np.maximum(low, smallest), high)
    half = (high - start) / 2
    scale = (start + half)[..., None] + half[..., None] * NODES
    wide, positive = df[..., None], np.maximum(scale, 1e-300)
    constant = np.log(2.0) + wide / 2 * np.log(wide / 2) - gammaln(wide / 2)
    log_density = constant + (wide - 1) * np.log(positive) - wide / 2 * scale**2
    inside = (np.exp(log_density) * ndtr(shift[..., None] - critical[..., None] * scale)) @ WEIGHTS * half
    return np.asarray(np.minimum(chdtr(df, df * start**2) + inside, 1.0))


def power_of(effect: ArrayLike, se: ArrayLike, df: ArrayLike, alpha: ArrayLike) -> Array:
    """Probability that a two-sided t test at ``alpha`` finds ``effect``, given the standard error and its ``df``."""
    from scipy.special import stdtrit

    effect, se, df, alpha = np.broadcast_arrays(*(np.asarray(part, dtype=float) for part in (effect, se, df, alpha)))
    critical, shift = np.asarray(-stdtrit(df, alpha / 2)), np.abs(effect) / se
    power = np.array(upper_tail(critical, df, shift))
    far = shift < 5  # beyond, the other tail holds less than a normal's below -5, 3e-7
    power[far] += upper_tail(critical[far], df[far], -shift[far])
    return power


def detectable_shifts(df: ArrayLike, alpha: ArrayLike, power: float = POWER) -> Array:
    """The true effects, in standard errors, that the test finds with the wanted power; NaN without degrees of freedom.

    Args:
        df: degrees of freedom [K].
        alpha: two-sided levels [K].
        power: wanted probability.
    """
    from scipy.special import stdtrit

    df, alpha = np.broadcast_arrays(np.asarray(df, dtype=float), np.asarray(alpha, dtype=float))
    shifts = np.full(df.shape, np.nan)
    usable = df > 0
    pairs, inverse = np.unique(np.stack([df[usable], alpha[usable]]), axis=1, return_inverse=True)
    if not pairs.size:
        return shifts
    critical = -stdtrit(pairs[0], pairs[1] / 2)
    # S is below 3 in more than 99% for one degree of freedom or more, and Z is above -7.
    low, high = np.zeros(pairs.shape[1]), critical * 4.0 + 10.0
    for _ in range(24):  # the far tail, at most alpha / 2, joins at the end
        middle = (low + high) / 2
        enough = upper_tail(critical, pairs[0], middle) >= power
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    below, above = (power_of(end, 1.0, *pairs) for end in (low, high))
    share = np.where(above > below, (power - below) / np.where(above > below, above - below, 1.0), 1.0)
    shifts[usable] = (low + share * (high - low))[inverse.reshape(-1)]
    return shifts


def minimum_detectable_effects(se: Array, df: Array, alpha: ArrayLike, power: float = POWER) -> Array:
    """Smallest true effects [K] found with ``power``, in the units of the response; NaN where there is no error."""
    return np.asarray(detectable_shifts(np.where(np.isfinite(se), df, 0.0), alpha, power) * se)


def minimum_detectable_effect(se: float, df: float, alpha: float, power: float = POWER) -> float:
    """Smallest true effect found with ``power`` (default 80%), in the units of the response."""
    return float(minimum_detectable_effects(np.array([se]), np.array([df]), alpha, power)[0])


def detectable_by_seeds(se: float, df: float, seeds: int, totals: Iterable[int], alpha: float) -> list[float]:
    """The minimum detectable effect at other numbers of seeds.

    The standard error shrinks with the root of the seeds, and the degrees of freedom grow in proportion to seeds - 1.

    Args:
        se: standard error with ``seeds`` seeds.
        df: its degrees of freedom.
        seeds: seeds behind it, at least 2.
        totals: the numbers of seeds, each at least 2.
        alpha: two-sided level.
    """
    several = np.array(list(totals), dtype=float)
    errors, freedom = se * np.sqrt(seeds / several), df * (several - 1) / (seeds - 1)
    return [float(value) for value in minimum_detectable_effects(errors, freedom, alpha)]


def seeds_needed_each(
    delta: float, se: Array, df: Array, seeds: Array, alpha: ArrayLike, power: float = POWER
) -> NDArray[np.float64]:
    """Seeds IN TOTAL for which a true effect of ``delta`` is found with ``power``, for each contrast.

    With N seeds the standard error becomes ``se * sqrt(seeds / N)`` and the degrees of freedom, a multiple of
    (seeds - 1) for every error term, become ``df * (N - 1) / (seeds - 1)``.

    Returns:
        The numbers of seeds [K], at least 2; NaN beyond ten thousand and where there is no error.
    """
    se, df, seeds, alpha = np.broadcast_arrays(se, df, seeds, np.asarray(alpha, dtype=float))
    needed = np.full(se.shape, np.nan)
    usable = np.isfinite(se) & (df > 0) & (seeds > 1)
    distinct, inverse = np.unique(
        np.stack([part[usable] for part in (se, df, seeds, alpha)]), axis=1, return_inverse=True
    )
    if not distinct.size:
        return needed
    se, df, seeds, alpha = distinct

    def enough(total: Array) -> NDArray[np.bool_]:
        reached = power_of(delta, se * np.sqrt(seeds / total), df * (total - 1) / (seeds - 1), alpha)
        return np.asarray(reached >= power)

    low, high = np.ones(len(se)), np.full(len(se), float(MOST_SEEDS))
    within_reach = enough(high)
    while (high - low > 1).any():
        middle = np.floor((low + high) / 2)
        middle = np.where(high - low > 1, middle, high)
        reached = enough(middle)
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    needed[usable] = np.where(within_reach, high, np.nan)[inverse.reshape(-1)]
    return needed


def seeds_needed(delta: float, se: float, df: float, seeds: float, alpha: float, power: float = POWER) -> int | None:
    """`seeds_needed_each` for one contrast; None beyond ten thousand."""
    (needed,) = seeds_needed_each(delta, np.array([se]), np.array([df]), np.array([seeds]), alpha, power)
    return None if math.isnan(needed) else int(needed)
