"""From an estimate to a verdict: t interval, Holm within a family, two one-sided tests against delta.

Holm: Scandinavian Journal of Statistics 6 (1979). Two one-sided tests (TOST): Schuirmann, Journal of Pharmacokinetics
and Biopharmaceutics 15 (1987).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats.kernels import Array, Estimate

HELPS, HURTS, CURVED = "helps", "hurts", "curved"
NEGLIGIBLE = "real but negligible"
EQUIVALENT = "no effect larger than delta"
UNDETECTED = "no detectable effect"
NOT_ESTIMABLE = "not estimable"
# "curved" is the significant verdict of a quadratic trend alone: curvature is neither better nor worse.
VERDICTS = (HELPS, HURTS, CURVED, NEGLIGIBLE, EQUIVALENT, UNDETECTED, NOT_ESTIMABLE)
# What is said of an interaction, which is neither good nor bad.
CLEAR, UNCLEAR = "clear interaction", "no clear interaction"
INTERACTION_VERDICTS = (CLEAR, UNCLEAR, NOT_ESTIMABLE)


class Judged(NamedTuple):
    """Arrays of one family of contrasts, [..., K]. ``p_tost*`` are NaN without a delta."""

    low: Array
    high: Array
    p: Array
    p_holm: Array
    p_tost: Array
    p_tost_holm: Array
    verdict: NDArray[np.str_]


def holm(p: Array) -> Array:
    """Holm's adjusted p-values along the last axis; NaN (not estimable) takes no part in the family.

    The i-th smallest of m becomes ``max over j <= i of (m - j + 1) p_(j)``, at most 1. statsmodels' `multipletests`
    gives the same for one family (the tests compare both); this one takes many at once, for the simulations.
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, axis=-1)  # NaN comes last
    ranked = np.take_along_axis(p, order, axis=-1)
    left = np.isfinite(p).sum(axis=-1, keepdims=True) - np.arange(p.shape[-1])
    adjusted = np.empty_like(p)
    steps = np.minimum(np.maximum.accumulate(ranked * left, axis=-1), 1.0)
    np.put_along_axis(adjusted, order, np.where(np.isfinite(ranked), steps, np.nan), axis=-1)
    return adjusted


def judge(
    estimate: Estimate,
    *,
    delta: float | None = None,
    alpha: float = 0.05,
    higher_is_better: bool = True,
    curvature: bool | NDArray[np.bool_] = False,
) -> Judged:
    """Interval, p-values and verdict of every contrast in one family (the last axis).

    A difference is claimed when Holm's p is below alpha. With a smallest effect of interest ``delta``, TOST asks
    whether the effect lies inside (-delta, delta); its p-values get their own Holm correction, because "no effect
    larger than delta" is a claim too.

    Args:
        estimate: contrasts [..., K].
        delta: smallest effect of interest, in the units of the response.
        alpha: two-sided level of the interval and of the family.
        higher_is_better: whether a positive difference helps.
        curvature: which contrasts are quadratic trends, which have no better or worse [K].
    """
    from scipy.stats import t

    value, se, df = estimate
    usable = np.isfinite(value) & np.isfinite(se) & (df > 0)
    safe_df, safe_se = np.where(usable, df, 1.0), np.where(usable, se, 1.0)

    def where_usable(array: Array) -> Array:
        return np.where(usable, array, np.nan)

    margin = t.isf(alpha / 2, safe_df) * safe_se
    p = where_usable(2 * t.sf(np.abs(value) / safe_se, safe_df))
    p_holm = holm(p)
    p_tost = where_usable(t.sf((delta - np.abs(value)) / safe_se, safe_df)) if delta else np.full_like(p, np.nan)
    p_tost_holm = holm(p_tost)
    real, small = p_holm < alpha, p_tost_holm < alpha
    better = (value > 0) == higher_is_better
    verdict = np.select(
        [~usable, real & small, small, real & curvature, real & better, real],
        [NOT_ESTIMABLE, NEGLIGIBLE, EQUIVALENT, CURVED, HELPS, HURTS],
        default=UNDETECTED,
    )
    return Judged(where_usable(value - margin), where_usable(value + margin), p, p_holm, p_tost, p_tost_holm, verdict)
