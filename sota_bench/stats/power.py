"""What an experiment could have seen: minimum detectable effect and seeds needed, from the noncentral t.

Power is that of the two-sided t test at ``alpha`` for a true effect, never "observed power" at the estimate
(Hoenig and Heisey, 2001, The American Statistician 55(1)).

The noncentral t is integrated here, for many contrasts at once: scipy's `nct` and `nctdtr` return NaN for large
noncentralities, which the corrected levels of large families need. The tests compare both where both exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sota_bench.stats.kernels import Array
from sota_bench.stats.result import SEEDS_AND_IMAGES, ContrastRow

POWER = 0.80
MOST_SEEDS = 10_000
MOST_TIMES_IMAGES = 1_000
"""More than this many times the images are not advised."""

NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)
REACH = 8.0
"""Standard deviations of a normal beyond which nothing is left (6e-16)."""

MOST_DF = 1e9
"""Degrees of freedom beyond which the t is a normal to the last digit; the density of S would lose all of its own."""

MOST_CRITICAL = 1e150
"""Critical values beyond which nothing is found; those of levels near 0 are infinite."""


def upper_tail(critical: ArrayLike, df: ArrayLike, shift: ArrayLike) -> Array:
    """P(T > critical) of the noncentral t, for positive critical values.

    With S the root of a chi-square over its degrees of freedom, T > c means Z > c S - shift. Where c S is far below
    the shift this is certain, which leaves the distribution function of S and an integral over a short range of it.

    Args:
        critical: c > 0, infinite where the level is 0.
        df: degrees of freedom above 0, need not be whole; infinite ones are those of a normal.
        shift: noncentrality, infinite where nothing varies.
    """
    from scipy.special import chdtr, gammaln, ndtr

    critical, df = np.minimum(critical, MOST_CRITICAL), np.minimum(df, MOST_DF)
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
    """Probability that a two-sided t test at ``alpha`` finds ``effect``, given the standard error and its ``df``.

    Without an error any effect is found; whether none is found is then undefined, and NaN.
    """
    from scipy.special import stdtrit

    effect, se, df, alpha = np.broadcast_arrays(*(np.asarray(part, dtype=float) for part in (effect, se, df, alpha)))
    critical = np.abs(np.asarray(stdtrit(np.minimum(df, MOST_DF), alpha / 2)))  # for levels near 0 scipy gives +inf
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.abs(effect) / se
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
    pairs, inverse = np.unique(np.stack([np.minimum(df[usable], MOST_DF), alpha[usable]]), axis=1, return_inverse=True)
    if not pairs.size:
        return shifts
    critical = np.minimum(np.abs(stdtrit(pairs[0], pairs[1] / 2)), MOST_CRITICAL)
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


class Precision(NamedTuple):
    """What decides the error of contrasts at other numbers of seeds and images, each [K].

    Attributes:
        se, df: over seeds alone, with their degrees of freedom.
        seeds: seeds behind them.
        images: variance that the sample of images adds; 0 where an interval is about these images.
        spread: sampling variance of ``images``.
        flips: the part of ``se`` squared that more images would shrink, too.
    """

    se: Array
    df: Array
    seeds: Array
    images: Array
    spread: Array
    flips: Array

    @classmethod
    def of_seeds(cls, se: ArrayLike, df: ArrayLike, seeds: ArrayLike) -> Precision:
        """Contrasts on these images."""
        se, df, seeds = np.broadcast_arrays(*(np.asarray(part, dtype=float) for part in (se, df, seeds)))
        nothing = np.zeros(se.shape)
        return cls(se, df, seeds, nothing, nothing, nothing)

    @classmethod
    def of_row(cls, row: ContrastRow) -> Precision:
        """One contrast as an analysis shows it, for other numbers of seeds; with 2 seeds at least."""
        precision = cls.of_seeds([row.se_seeds or math.nan], [row.df_seeds or math.nan], [row.n])
        if row.scope != SEEDS_AND_IMAGES or not row.se_images or not row.df_images:
            return precision
        images = np.array([row.se_images**2])
        return precision._replace(images=images, spread=2 * images**2 / row.df_images)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Where there is an error to extrapolate from."""
        return np.asarray(np.isfinite(self.se) & (self.df > 0) & (self.seeds > 1))

    def at(self, seeds: ArrayLike, more_images: ArrayLike = 1.0) -> tuple[Array, Array]:
        """Standard errors and degrees of freedom with other totals.

        With n seeds the variance over seeds shrinks in proportion and its degrees of freedom, a multiple of n - 1 for
        every error term, grow; Satterthwaite's are those of the sum. With f times the images, the image component and
        the flips are divided by f.

        Args:
            seeds: in total, at least 2.
            more_images: factor f on the number of images.
        """
        totals, factor = np.asarray(seeds, dtype=float), np.asarray(more_images, dtype=float)
        steady = np.maximum(self.se**2 - self.flips, 0.0)
        over_seeds = (np.minimum(self.flips, self.se**2) / factor + steady) * self.seeds / totals
        df = np.maximum(self.df * (totals - 1) / (self.seeds - 1), 1e-9)
        total = over_seeds + self.images / factor
        doubt = over_seeds**2 / df + self.spread / factor**3 / 2
        all_df = np.where(doubt > 0, total**2 / np.where(doubt > 0, doubt, 1.0), df)
        return np.sqrt(total), np.minimum(all_df, MOST_DF)


def detectable_by_seeds(precision: Precision, totals: Iterable[int], alpha: float) -> list[float]:
    """The minimum detectable effect of one contrast at other numbers of seeds, on as many images.

    Args:
        precision: of the contrast, with 2 seeds at least.
        totals: the numbers of seeds, each at least 2.
        alpha: two-sided level.
    """
    return [float(value) for value in minimum_detectable_effects(*precision.at(np.array(list(totals))), alpha)]


def seeds_needed_each(
    delta: float, precision: Precision, alpha: ArrayLike, power: float = POWER
) -> NDArray[np.float64]:
    """Seeds IN TOTAL for which a true effect of ``delta`` is found with ``power``, for each contrast.

    Returns:
        The numbers of seeds [K], at least 2; NaN beyond ten thousand and where there is no error.
    """

    def enough(part: Precision, level: Array, total: Array) -> NDArray[np.bool_]:
        return np.asarray(power_of(delta, *part.at(total), level) >= power)

    return _smallest_total(enough, precision, alpha, 1.0, float(MOST_SEEDS))


def seeds_needed(delta: float, se: float, df: float, seeds: float, alpha: float, power: float = POWER) -> int | None:
    """`seeds_needed_each` for one contrast on these images; None beyond ten thousand."""
    (needed,) = seeds_needed_each(delta, Precision.of_seeds([se], [df], [seeds]), alpha, power)
    return None if math.isnan(needed) else int(needed)


class ImagesNeeded(NamedTuple):
    """Images and seeds in total that detect an effect together [K], NaN where images are not the limit."""

    images: Array
    seeds: Array


def images_needed_each(
    delta: float, precision: Precision, images: int, alpha: ArrayLike, power: float = POWER
) -> ImagesNeeded:
    """Images IN TOTAL for which ``delta`` is found, where images limit a contrast more than seeds do.

    They are the limit where they hold more than half of the variance, or where no number of seeds would do. Where no
    number of images would do with these seeds either, the seeds that leave half of the variance to images go with them.

    Args:
        delta: true effect.
        precision: of the contrasts, over seeds and images.
        images: that judge them now.
        alpha: two-sided levels [K].
        power: wanted probability.
    """
    alpha = np.broadcast_to(np.asarray(alpha, dtype=float), precision.se.shape)
    limiting = precision.usable & (precision.images > 0) & (power_of_now(delta, precision, alpha) < power)
    hopeless = np.isnan(seeds_needed_each(delta, precision, alpha, power))
    limiting &= (precision.images > precision.se**2) | hopeless

    def enough(part: Precision, level: Array, total: Array) -> NDArray[np.bool_]:
        return np.asarray(power_of(delta, *part.at(part.seeds, total / images), level) >= power)

    def with_seeds(part: Precision, seeds: Array) -> Precision:
        scale = part.seeds / np.maximum(seeds, 1)
        df = part.df * (seeds - 1) / np.maximum(part.seeds - 1, 1)
        return part._replace(se=part.se * np.sqrt(scale), df=df, seeds=seeds, flips=part.flips * scale)

    most = float(images * MOST_TIMES_IMAGES)
    alone = _smallest_total(enough, precision, alpha, float(images), most)
    steady = np.sqrt(np.maximum(precision.se**2 - precision.flips, 0.0))
    of_seeds = Precision.of_seeds(np.where(steady > 0, steady, np.nan), precision.df, precision.seeds)
    seeds = seeds_needed_each(delta / math.sqrt(2), of_seeds, alpha, power)
    seeds = np.where(np.isnan(alone), np.fmax(seeds, precision.seeds), precision.seeds)
    together = _smallest_total(enough, with_seeds(precision, seeds), alpha, float(images), most)
    known = limiting & np.isfinite(together)
    return ImagesNeeded(np.where(known, together, np.nan), np.where(known, seeds, np.nan))


def power_of_now(delta: float, precision: Precision, alpha: Array) -> Array:
    """Power of each contrast for ``delta`` as the experiment stands; NaN without an error."""
    power, usable = np.full(alpha.shape, np.nan), precision.usable
    if usable.any():
        part = Precision(*(column[usable] for column in precision))
        power[usable] = power_of(delta, *part.at(part.seeds), alpha[usable])
    return power


def _smallest_total(
    enough: Callable[[Precision, Array, Array], NDArray[np.bool_]],
    precision: Precision,
    alpha: ArrayLike,
    below: float,
    most: float,
) -> Array:
    """The smallest whole number above ``below`` that is enough, for each contrast; NaN beyond ``most``."""
    alpha = np.broadcast_to(np.asarray(alpha, dtype=float), precision.se.shape)
    needed, usable = np.full(precision.se.shape, np.nan), precision.usable
    distinct, inverse = np.unique(
        np.stack([*(part[usable] for part in precision), alpha[usable]]), axis=1, return_inverse=True
    )
    if not distinct.size:
        return needed
    part, level = Precision(*distinct[:-1]), distinct[-1]
    low, high = np.full(len(level), below), np.full(len(level), most)
    within_reach = enough(part, level, high)
    while (high - low > 1).any():
        middle = np.floor((low + high) / 2)
        middle = np.where(high - low > 1, middle, high)
        reached = enough(part, level, middle)
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    needed[usable] = np.where(within_reach, high, np.nan)[inverse.reshape(-1)]
    return needed
