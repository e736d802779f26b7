"""What an experiment could have seen: minimum detectable effect and seeds needed, from the noncentral t.

Power is that of the two-sided t test at ``alpha`` for a true effect, never "observed power" at the estimate
(Hoenig and Heisey, 2001, The American Statistician 55(1)).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

POWER = 0.80
MOST_SEEDS = 10_000


def power_of(effect: float, se: float, df: float, alpha: float) -> float:
    """Probability that a two-sided t test finds ``effect`` when the standard error is ``se`` with ``df``."""
    from scipy.stats import nct, t

    critical = float(t.isf(alpha / 2, df))
    shift = abs(effect) / se
    # The far tail is below alpha / 2 and vanishes with the shift; nct loses precision there, so it stays a bonus.
    far = float(nct.cdf(-critical, df, shift)) if shift < 5 else 0.0
    return float(nct.sf(critical, df, shift)) + far


@lru_cache(maxsize=4096)
def detectable_shift(df: float, alpha: float, power: float = POWER) -> float:
    """The true effect, in standard errors, that the test finds with the wanted power.

    Args:
        df: degrees of freedom of the standard error.
        alpha: two-sided level.
        power: wanted probability.
    """
    from scipy.optimize import brentq
    from scipy.stats import t

    # The critical value over a low quantile of the chi distribution bounds the shift at every df >= 1.
    high = (float(t.isf(alpha / 2, df)) + 10.0) * 4.0
    return float(brentq(lambda shift: power_of(shift, 1.0, df, alpha) - power, 0.0, high, xtol=1e-10))


def minimum_detectable_effect(se: float, df: float, alpha: float, power: float = POWER) -> float:
    """Smallest true effect found with ``power`` (default 80%), in the units of the response."""
    return detectable_shift(df, alpha, power) * se


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
    return [
        minimum_detectable_effect(se * math.sqrt(seeds / total), df * (total - 1) / (seeds - 1), alpha)
        for total in totals
    ]


def seeds_needed(delta: float, se: float, df: float, seeds: float, alpha: float, power: float = POWER) -> int | None:
    """Seeds IN TOTAL for which a true effect of ``delta`` is found with ``power``.

    With N seeds the standard error becomes ``se * sqrt(seeds / N)`` and the degrees of freedom, a multiple of
    (seeds - 1) for both error terms, become ``df * (N - 1) / (seeds - 1)``.

    Returns:
        The number of seeds, at least 2, or None beyond ten thousand.
    """

    def enough(total: int) -> bool:
        wider = se * math.sqrt(seeds / total)
        return power_of(delta, wider, df * (total - 1) / (seeds - 1), alpha) >= power

    low, high = 1, 2
    while not enough(high):
        low, high = high, high * 2
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
