"""Looks at a growing number of seeds: which level each look may use, so that the error holds however often one looks.

A run that stops when its questions are answered tests the same data again and again, and at 5% each time it would be
wrong far more often than in 5%. Here the looks are planned, and the level is spent over them (Lan and DeMets, 1983,
Biometrika 70(3)): by the look at a share t of the information, the chance of a false claim is ``alpha t**1.5``, a
member of the family of Kim and DeMets (1987, Biometrika 74(1)). Boundaries follow by recursive integration
(Armitage, McPherson and Rowe, 1969, JRSS A 132(2); Jennison and Turnbull, 2000, Group Sequential Methods, chapter 19).

Three things follow for each look, all on the scale of p-values, so that Student's t with the look's own degrees of
freedom takes the place of the normal (Jennison and Turnbull, section 3.8):

- the **nominal level** that a p-value is compared with at this look, for any overall level;
- the **repeated p-value**, the smallest overall level that would have made the claim here. Holm's procedure over
  repeated p-values is the group-sequential Holm procedure (Ye, Li, Liu and Yao, 2013, Statistics in Medicine 32(7);
  Maurer and Bretz, 2013, Statistics in Biopharmaceutical Research 5(4));
- the **repeated confidence interval**, at the nominal level: intervals of all looks cover together, so the one at
  which a run stops covers, whatever made it stop (Jennison and Turnbull, 1989, JRSS B 51(3)).

Information is counted in degrees of freedom, ``seeds - 1``: the t statistics of small samples are less alike from look
to look than normal ones with ``seeds``. A variance that more seeds do not reduce, such as that of the images, makes
looks more alike than is assumed, which errs on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

EXPONENT = 1.5
"""Of the spending function: 1 spends evenly, larger ones keep more of the level for the last looks."""

GROWTH = 1.5
"""Seeds of a look over those of the look before, at most."""

_REACH = 8.5
"""Standard deviations of a normal beyond which nothing is left (2e-17)."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_LEVELS = np.concatenate([np.geomspace(1e-12, 0.5, 48), np.linspace(0.55, 0.999, 12)])


@dataclass(frozen=True)
class LookPlan:
    """The looks of a run, fixed before the first one.

    Attributes:
        seeds: seeds at each look, rising, 2 at least.
    """

    seeds: tuple[int, ...]

    @property
    def most(self) -> int:
        """Seeds at the last look."""
        return self.seeds[-1]

    @property
    def fractions(self) -> tuple[float, ...]:
        """Share of the information at each look, the last one 1."""
        return tuple((seeds - 1) / (self.most - 1) for seeds in self.seeds)

    def nominal(self, alpha: ArrayLike, look: int) -> Array:
        """The two-sided level at which a look tests.

        Args:
            alpha: overall levels.
            look: 1 for the first one.
        """
        levels = np.log(np.asarray(alpha, dtype=float))
        return np.asarray(np.exp(_interpolated(levels, np.log(_LEVELS), self._log_nominal[:, look - 1])))

    def repeated(self, p: ArrayLike, look: int) -> Array:
        """Repeated p-values: the smallest overall level at which a look would claim something. NaN stays NaN.

        Args:
            p: two-sided p-values as of a single look.
            look: 1 for the first one.
        """
        values = np.log(np.maximum(np.asarray(p, dtype=float), 1e-300))
        levels = np.exp(_interpolated(values, self._log_nominal[:, look - 1], np.log(_LEVELS)))
        return np.asarray(np.minimum(levels, 1.0))

    def power(self, shift: float, alpha: float) -> float:
        """Probability that some look claims an effect.

        Args:
            shift: the effect in standard errors of the last look.
            alpha: overall two-sided level.
        """
        bounds = boundaries(self.fractions, np.array([alpha]))
        return float(exit_probabilities(self.fractions, bounds, shift).sum())

    @cached_property
    def _log_nominal(self) -> Array:
        """Logarithms of the nominal levels for ``_LEVELS`` [levels, looks]."""
        return _log_nominal_levels(self.fractions)


@dataclass(frozen=True)
class Look:
    """One of the planned looks.

    Attributes:
        plan: all of them.
        number: 1 for the first one.
    """

    plan: LookPlan
    number: int

    @property
    def seeds(self) -> int:
        """Seeds of this look."""
        return self.plan.seeds[self.number - 1]

    @property
    def is_last(self) -> bool:
        """Whether no other look follows."""
        return self.number == len(self.plan.seeds)

    def nominal(self, alpha: ArrayLike) -> Array:
        """The two-sided levels at which this look tests, for overall levels."""
        return self.plan.nominal(alpha, self.number)

    def repeated(self, p: ArrayLike) -> Array:
        """The repeated p-values of two-sided p-values."""
        return self.plan.repeated(p, self.number)


@dataclass(frozen=True)
class Settled:
    """What an earlier look has claimed of a contrast, which stays claimed.

    Attributes:
        real: that the effect is not 0.
        small: that it is no larger than delta.
    """

    real: bool
    small: bool


def plan_looks(first: int, most: int) -> LookPlan:
    """Looks from ``first`` to ``most`` seeds, each at most half again as many seeds as the one before.

    Args:
        first: seeds that were declared; the first look has 2 at least.
        most: seeds at the last look, at least as many.
    """
    first = max(first, 2)
    steps = math.ceil(math.log(most / first) / math.log(GROWTH) - 1e-9) if most > first else 0
    seeds = {round(first * (most / first) ** (step / max(steps, 1))) for step in range(steps + 1)}
    return LookPlan(tuple(sorted(seeds)))


def spent(fractions: Sequence[float]) -> Array:
    """The share of the level that is spent by each look."""
    return np.asarray(fractions, dtype=float) ** EXPONENT


def boundaries(fractions: Sequence[float], alpha: Array) -> Array:
    """The two-sided boundaries ``|Z| >= c`` of each look that spend overall levels as planned.

    Args:
        fractions: share of the information at each look, rising to 1.
        alpha: overall levels [A].

    Returns:
        Boundaries [A, looks].
    """
    increments = np.diff(spent(fractions), prepend=0.0) * alpha[:, None]
    path, found = _Path(fractions, len(alpha)), []
    for number in range(len(fractions)):
        low, high = np.zeros(len(alpha)), np.full(len(alpha), _REACH)
        for _ in range(45):
            middle = (low + high) / 2
            beyond = path.beyond(number, middle).sum(axis=0) > increments[:, number]
            low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
        found.append((low + high) / 2)
        path.go_on(number, found[-1])
    return np.stack(found, axis=-1)


def exit_probabilities(fractions: Sequence[float], bounds: ArrayLike, shift: float = 0.0) -> Array:
    """The probability that each look is the first one at which ``|Z|`` reaches its boundary.

    Args:
        fractions: share of the information at each look, rising to 1.
        bounds: boundaries [..., looks].
        shift: mean of Z at full information: the effect in standard errors of the last look.

    Returns:
        Probabilities, shaped as ``bounds``.
    """
    limits = np.asarray(bounds, dtype=float)
    flat = limits.reshape(-1, limits.shape[-1])
    path = _Path(fractions, len(flat), shift)
    exits = []
    for number in range(flat.shape[1]):
        exits.append(path.beyond(number, flat[:, number]).sum(axis=0))
        path.go_on(number, flat[:, number])
    return np.asarray(np.stack(exits, axis=-1).reshape(limits.shape))


def error_after_second_look(first: int, all_seeds: int, alpha: float = 0.05) -> float | None:
    """How often a comparison without an effect is significant at one of two looks that were not planned, each at
    ``alpha``; None where the first look had no interval.

    Args:
        first: seeds of the first look.
        all_seeds: seeds of the second one.
        alpha: two-sided level of each.
    """
    if not 2 <= first < all_seeds:
        return None
    from scipy.special import ndtri

    bound = float(-ndtri(alpha / 2))
    fractions = ((first - 1) / (all_seeds - 1), 1.0)
    return float(exit_probabilities(fractions, [bound, bound]).sum())


class _Path:
    """The density of Z among runs that no look has stopped, carried from look to look on nodes of Gauss and Legendre.

    Args:
        fractions: share of the information at each look.
        count: how many sets of boundaries are followed at once.
        shift: mean of Z at full information.
    """

    def __init__(self, fractions: Sequence[float], count: int, shift: float = 0.0) -> None:
        self.fractions, self.shift = [float(fraction) for fraction in fractions], shift
        self.nodes: Array = np.zeros((count, 1))  # before the first look all is at 0
        self.mass: Array = np.ones((count, 1))

    def _step(self, number: int) -> tuple[Array, float]:
        """Mean of Z at the next look from each node, and its standard deviation."""
        before, now = self.fractions[number - 1] if number else 0.0, self.fractions[number]
        mean = (self.nodes * math.sqrt(before) + self.shift * (now - before)) / math.sqrt(now)
        return mean, math.sqrt((now - before) / now)

    def beyond(self, number: int, bound: Array) -> Array:
        """The probabilities that Z lies below ``-bound`` and above ``bound`` at the next look [2, count]."""
        from scipy.special import ndtr

        mean, deviation = self._step(number)
        below = ndtr((-bound[:, None] - mean) / deviation)
        above = ndtr((mean - bound[:, None]) / deviation)
        return np.stack([(self.mass * side).sum(axis=1) for side in (below, above)])

    def go_on(self, number: int, bound: Array) -> None:
        """Move to the next look, where runs beyond the boundary have stopped."""
        mean, deviation = self._step(number)
        # Without a boundary that can be reached the nodes cover where Z can lie.
        centre = self.shift * math.sqrt(self.fractions[number])
        low = np.maximum(-bound, centre - _REACH)
        high = np.minimum(bound, centre + _REACH)
        half = np.maximum(high - low, 1e-12)[:, None] / 2
        nodes = low[:, None] + half * (1 + _NODES)
        away = (nodes[:, :, None] - mean[:, None, :]) / deviation
        density = np.exp(-(away**2) / 2) / (math.sqrt(2 * math.pi) * deviation)
        self.mass = np.asarray((density * self.mass[:, None, :]).sum(axis=2) * half * _WEIGHTS)
        self.nodes = nodes


@lru_cache(maxsize=64)
def _log_nominal_levels(fractions: tuple[float, ...]) -> Array:
    from scipy.special import ndtr

    if len(fractions) == 1:
        return np.asarray(np.log(_LEVELS)[:, None])
    return np.asarray(np.log(2 * ndtr(-boundaries(fractions, _LEVELS))))


def _interpolated(at: Array, x: Array, y: Array) -> Array:
    """Piecewise linear values at ``at``, along the first and the last piece beyond their ends."""
    inside = np.interp(at, x, y)
    first, last = ((y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2]))
    inside = np.where(at < x[0], y[0] + first * (at - x[0]), inside)
    return np.asarray(np.where(at > x[-1], y[-1] + last * (at - x[-1]), inside))
