"""The additive model of times: from the combinations that were measured to all others of a grid.

Within one network, size and batch, a technique adds a time of its own to an image, whatever the others do: with the
times t of combinations without, with a, and with b, the time with both is t(a) + t(b) - t(). So n_i settings of each of
k techniques take 1 + sum(n_i - 1) measurements instead of their product: of the 66 combinations that the grid of 264
trials in ``benchmarks/peers/whole_grid.py`` trains 20 are measured, of the 12 of the quick-start grid 7. To measure all
would take longer than many a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sota_bench.forecast.calibration import Calibration, weighted_sum
from sota_bench.forecast.combination import Combination

_TOLERANCE = 1e-6


def _design_matrix(combinations: Sequence[Combination]) -> np.ndarray:
    """A row for each combination: 1, then an indicator for each setting of each technique; float64 [N, 1 +
    settings]."""
    columns: dict[tuple[str, str], int] = {}
    for combination in combinations:
        for setting in combination.features.items():
            columns.setdefault(setting, 1 + len(columns))
    matrix = np.zeros((len(combinations), 1 + len(columns)))
    matrix[:, 0] = 1
    for row, combination in zip(matrix, combinations, strict=True):
        row[[columns[setting] for setting in combination.features.items()]] = 1
    return matrix


def weights_of(target: Combination, measured: Sequence[Combination]) -> np.ndarray | None:
    """The weights with which measured combinations add up to another one; 1, 1 and -1 in the example above.

    Args:
        target: of the same group as the measured ones.
        measured: of one group.

    Returns:
        float64 [N], the smallest weights that do; None where the measured ones do not determine it.
    """
    if not measured:
        return None
    rows = _design_matrix([*measured, target])
    weights, *_ = np.linalg.lstsq(rows[:-1].T, rows[-1], rcond=None)
    return weights if np.abs(rows[:-1].T @ weights - rows[-1]).max() < _TOLERANCE else None


def to_measure(needed: Iterable[Combination], measured: Iterable[Combination]) -> list[Combination]:
    """The fewest combinations whose measurement determines all others that are needed, in their order.

    Args:
        needed: all of a plan.
        measured: those that are known.
    """
    groups: dict[str, list[Combination]] = {}
    for combination in measured:
        groups.setdefault(combination.group_name, []).append(combination)
    missing = []
    for combination in dict.fromkeys(needed):
        group = groups.setdefault(combination.group_name, [])
        if weights_of(combination, group) is None:
            group.append(combination)
            missing.append(combination)
    return missing


class AdditiveModel:
    """Calibrations of all combinations that the measured ones determine.

    Args:
        measured: combination -> its calibration.
    """

    def __init__(self, measured: Mapping[Combination, Calibration]) -> None:
        self._measured = dict(measured)
        self._groups: dict[str, list[Combination]] = {}
        for combination in measured:
            self._groups.setdefault(combination.group_name, []).append(combination)

    def calibration_of(self, combination: Combination) -> Calibration | None:
        """The measured calibration, or what the others of its group add up to; None where they do not determine it."""
        if combination in self._measured:
            return self._measured[combination]
        group = self._groups.get(combination.group_name, [])
        weights = weights_of(combination, group)
        if weights is None:
            return None
        return weighted_sum((float(weight), self._measured[part]) for weight, part in zip(weights, group, strict=True))
