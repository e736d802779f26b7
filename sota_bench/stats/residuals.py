"""What cell and seed do not explain: the residuals that the intervals assume to be alike and normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sota_bench.stats.kernels import Array

if TYPE_CHECKING:
    import pandas as pd

SWEEPS = 50
"""Sweeps of alternating means; two are exact for complete tables."""


def cell_seed_residuals(trials: pd.DataFrame, response: str = "accuracy") -> pd.DataFrame:
    """Residuals of ``y = cell + seed``, fitted by alternating means.

    Args:
        trials: one row per finished trial, with ``trial``, ``cell``, ``seed`` and the response.
        response: numeric column.

    Returns:
        Columns ``trial``, ``fitted``, ``residual`` in the response's unit, and ``scaled`` by the residual standard
        deviation; empty with one seed, and where cell and seed explain everything.
    """
    import pandas as pd

    empty = pd.DataFrame(columns=["trial", "fitted", "residual", "scaled"])
    frame = trials[["trial", "cell", "seed", response]].dropna()
    df = len(frame) - frame["cell"].nunique() - frame["seed"].nunique() + 1
    if df < 1 or frame["seed"].nunique() < 2:
        return empty
    values = frame[response].to_numpy(float)
    residual = values.copy()
    codes = [pd.factorize(frame[name])[0] for name in ("cell", "seed")]
    for _ in range(SWEEPS):
        for code in codes:
            residual -= (np.bincount(code, residual) / np.bincount(code))[code]
    scale = float(np.sqrt((residual**2).sum() / df))
    if scale < 1e-9:
        return empty
    columns = {"trial": frame["trial"].to_numpy(), "fitted": values - residual, "residual": residual}
    return pd.DataFrame({**columns, "scaled": residual / scale})


@dataclass(frozen=True)
class NormalPlot:
    """A normal quantile plot.

    Attributes:
        quantiles: of the standard normal at Blom's plotting positions, ascending [N].
        values: the sorted values over their standard deviation [N].
        correlation: of the two; near 1 for normal values (Filliben, Technometrics 17, 1975).
    """

    quantiles: Array
    values: Array
    correlation: float


def normal_plot(values: Array) -> NormalPlot:
    """The normal quantile plot of values [N], N >= 3."""
    from scipy.stats import norm

    ordered = np.sort(np.asarray(values, dtype=float))
    count = len(ordered)
    quantiles = norm.ppf((np.arange(1, count + 1) - 0.375) / (count + 0.25))
    return NormalPlot(quantiles, ordered / ordered.std(ddof=1), float(np.corrcoef(quantiles, ordered)[0, 1]))
