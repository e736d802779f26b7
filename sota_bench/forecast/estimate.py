"""From the combinations that were measured to all others: within a group the times of techniques add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sota_bench.forecast.calibration import Calibration, weighted
from sota_bench.forecast.combination import Combination

_TOLERANCE = 1e-6


def _vectors(combinations: Sequence[Combination]) -> np.ndarray:
    """One row per combination: 1, then an indicator for each setting of each technique; float64 [N, 1 + settings]."""
    places: dict[tuple[str, str], int] = {}
    for combination in combinations:
        for pair in combination.features.items():
            places.setdefault(pair, 1 + len(places))
    rows = np.zeros((len(combinations), 1 + len(places)))
    rows[:, 0] = 1
    for row, combination in zip(rows, combinations, strict=True):
        row[[places[pair] for pair in combination.features.items()]] = 1
    return rows


def weights_of(wanted: Combination, measured: Sequence[Combination]) -> np.ndarray | None:
    """The combination of measured ones that a wanted one is: with ``a+b = a + b - base``, weights 1, 1 and -1.

    Args:
        wanted: of the same group.
        measured: of the same group.

    Returns:
        float64 [N], the smallest weights that do it; None where the measured ones do not determine it.
    """
    if not measured:
        return None
    rows = _vectors([*measured, wanted])
    weights, *_ = np.linalg.lstsq(rows[:-1].T, rows[-1], rcond=None)
    return weights if np.abs(rows[:-1].T @ weights - rows[-1]).max() < _TOLERANCE else None


def to_measure(wanted: Iterable[Combination], measured: Iterable[Combination]) -> list[Combination]:
    """The fewest combinations, in the order wanted, whose measurement determines all others.

    Args:
        wanted: all that a plan has.
        measured: those already known.
    """
    known: dict[str, list[Combination]] = {}
    for combination in measured:
        known.setdefault(combination.group_name, []).append(combination)
    found = []
    for combination in dict.fromkeys(wanted):
        group = known.setdefault(combination.group_name, [])
        if weights_of(combination, group) is None:
            group.append(combination)
            found.append(combination)
    return found


class Estimates:
    """Calibrations of all combinations that the measured ones determine.

    Args:
        measured: what was measured.
    """

    def __init__(self, measured: Mapping[Combination, Calibration]) -> None:
        self._measured = dict(measured)
        self._groups: dict[str, list[Combination]] = {}
        for combination in measured:
            self._groups.setdefault(combination.group_name, []).append(combination)

    def of(self, combination: Combination) -> Calibration | None:
        """The measurement, or what the others of its group add up to; None where they do not determine it."""
        if combination in self._measured:
            return self._measured[combination]
        group = self._groups.get(combination.group_name, [])
        weights = weights_of(combination, group)
        if weights is None:
            return None
        return weighted((float(weight), self._measured[one]) for weight, one in zip(weights, group, strict=True))
