"""What a design without looks takes to find as much, and whether more seeds are worth it."""

from __future__ import annotations

import math

from sota_bench.stats.power import Precision, seeds_needed_each
from sota_bench.stats.sequential import LookPlan

SAME_POWER = 0.99
"""The largest power that a fixed design is compared at; nobody asks for more."""


def fixed_seeds(plan: LookPlan, delta: float, precision: Precision, alpha: float) -> tuple[int | None, float]:
    """Seeds of a fixed design that finds ``delta`` as often as the looks do, and that probability.

    Args:
        plan: the looks.
        delta: smallest effect of interest, in the units of the standard error.
        precision: of one contrast.
        alpha: two-sided level of this contrast.

    Returns:
        The seeds, None beyond ten thousand; the power, `SAME_POWER` at most.
    """
    from scipy.special import ndtri, stdtrit

    # The boundaries are normal: the effect shrinks by what Student's t asks beyond the normal at the last look.
    se, df = (float(part[0]) for part in precision.at(plan.most))
    level = float(plan.nominal(alpha, len(plan.seeds)))
    wider = float(stdtrit(df, level / 2) / ndtri(level / 2))
    power = min(plan.power(delta / se / wider, alpha), SAME_POWER)
    needed = float(seeds_needed_each(delta, precision, alpha, power)[0])
    return (None if math.isnan(needed) else int(needed)), power


def narrowed(precision: Precision) -> float:
    """The standard error of one contrast with endlessly many seeds over that of now: near 1, images are the limit."""
    images, seeds = float(precision.images[0]), float(precision.se[0]) ** 2
    return math.sqrt(images / (images + seeds))
