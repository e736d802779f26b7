"""From an estimate to a verdict: t interval, Holm within a family, two one-sided tests against delta.

Holm: Scandinavian Journal of Statistics 6 (1979). Two one-sided tests (TOST): Schuirmann, Journal of Pharmacokinetics
and Biopharmaceutics 15 (1987).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats.kernels import Array, Estimate
from sota_bench.stats.sequential import Look, Settled

HELPS, HURTS, CURVED = "helps", "hurts", "curved"
NEGLIGIBLE = "real but negligible"
EQUIVALENT = "no effect larger than delta"
UNDETECTED = "no detectable effect"
NOT_ESTIMABLE = "not estimable"
# "curved" is the significant verdict of a quadratic trend alone: curvature is neither better nor worse.
VERDICTS = (HELPS, HURTS, CURVED, NEGLIGIBLE, EQUIVALENT, UNDETECTED, NOT_ESTIMABLE)
# What is said of an interaction, which is neither good nor bad.
CLEAR, UNCLEAR = "clear interaction", "no clear interaction"
DECIDED = (HELPS, HURTS, NEGLIGIBLE, EQUIVALENT)
"""Verdicts of a main effect that answer its question."""
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
    look: Look | None = None,
    settled: Sequence[Settled | None] = (),
) -> Judged:
    """Interval, p-values and verdict of every contrast in one family (the last axis).

    A difference is claimed when Holm's p is below alpha. With a smallest effect of interest ``delta``, TOST asks
    whether the effect lies inside (-delta, delta); its p-values get their own Holm correction, because "no effect
    larger than delta" is a claim too.

    At a look of a run that goes on until it is decided, p-values are repeated p-values and intervals repeated ones (see
    `sota_bench.stats.sequential`), and "no effect larger than delta" asks that the interval at the level of Holm's
    correction lies within (-delta, delta): half the error of TOST at ``alpha``, so that both kinds of claims together
    stay near it.

    Args:
        estimate: contrasts [..., K].
        delta: smallest effect of interest, in the units of the response.
        alpha: two-sided level of the interval and of the family.
        higher_is_better: whether a positive difference helps.
        curvature: which contrasts are quadratic trends, which have no better or worse [K].
        look: one of the looks that were planned; None for a single analysis.
        settled: what earlier looks have claimed of each contrast [K], which Holm's procedure counts as rejected; of a
            settled contrast nothing else is claimed.
    """
    from scipy.stats import t

    value, se, df = estimate
    usable = np.isfinite(value) & np.isfinite(se) & (df > 0)
    safe_df, safe_se = np.where(usable, df, 1.0), np.where(usable, se, 1.0)

    def where_usable(array: Array) -> Array:
        return np.where(usable, array, np.nan)

    level = alpha if look is None else float(look.nominal(alpha))
    margin = t.isf(level / 2, safe_df) * safe_se
    p = where_usable(2 * t.sf(np.abs(value) / safe_se, safe_df))
    p_tost = where_usable(t.sf((delta - np.abs(value)) / safe_se, safe_df)) if delta else np.full_like(p, np.nan)
    if look is None:
        p_holm, p_tost_holm = holm(p), holm(p_tost)
    else:
        p, p_tost = look.repeated(p), look.repeated(np.minimum(2 * p_tost, 1.0))
        p_holm = _holm_at_look(p, [part.real if part else None for part in settled])
        p_tost_holm = _holm_at_look(p_tost, [part.small if part else None for part in settled])
    real, small = p_holm < alpha, p_tost_holm < alpha
    better = (value > 0) == higher_is_better
    verdict = np.select(
        [~usable, real & small, small, real & curvature, real & better, real],
        [NOT_ESTIMABLE, NEGLIGIBLE, EQUIVALENT, CURVED, HELPS, HURTS],
        default=UNDETECTED,
    )
    return Judged(where_usable(value - margin), where_usable(value + margin), p, p_holm, p_tost, p_tost_holm, verdict)


def _holm_at_look(p: Array, claimed: Sequence[bool | None]) -> Array:
    """Holm's adjusted p-values at a look: what was claimed before is rejected, and a contrast that cannot be estimated
    yet, or of which something else was claimed, still counts.

    Args:
        p: repeated p-values [K].
        claimed: whether an earlier look has claimed it; None where nothing is settled yet. Empty for none at all.
    """
    if not np.isfinite(p).any():
        return p
    counted = np.where(np.isfinite(p), p, 1.0)
    for index, before in enumerate(claimed):
        if before is not None:
            counted[..., index] = 0.0 if before else 1.0
    return np.where(np.isfinite(p), holm(counted), np.nan)
