"""The probability of superiority: that a level beats its baseline in one more run, with its interval.

One more run is one more training with each, with the same new seed and otherwise equal settings. Its difference is
taken as normal, with the mean of the contrast and the standard deviation of single differences, so the probability is

    P = Phi(mean / spread) = Phi(delta / sqrt(m)),   delta = mean / standard error,   sqrt(m) = spread / standard error.

The t value of a contrast is noncentral t with noncentrality delta, which gives exact limits for delta, and with them
for P where m is known: for one pair of cells it is the number of seeds (Reiser and Guttman, Technometrics 28, 1986;
Owen, Craswell and Hanson, Journal of the American Statistical Association 59, 1964). They hold 0.5 exactly where the
interval of the contrast holds 0. Bouthillier et al. (MLSys 2021) recommend this probability for comparisons of learning
algorithms. benchmarks/superiority.py measures the coverage.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sota_bench.stats.contrasts import Contrast
from sota_bench.stats.design import Design
from sota_bench.stats.kernels import Array

LARGEST_T = 36.0
"""Beyond it the inversion of the noncentral t distribution does not end; limits grow in proportion to t there, as they
do in the limit of a large t."""


class Superiority(NamedTuple):
    """That the level does better in one more run: median-unbiased estimate and limits, 0 to 1."""

    probability: float
    low: float
    high: float


def superiority(
    value: float, se: float, df: float, spread: float, *, alpha: float = 0.05, higher_is_better: bool = True
) -> Superiority | None:
    """The probability with its ``1 - alpha`` interval; None where there is no error to compare with.

    Args:
        value, se, df: of the contrast: mean difference, its standard error and degrees of freedom.
        spread: standard deviation of the difference of one more run.
        alpha: 1 - confidence.
        higher_is_better: whether a positive difference is better.
    """
    from scipy.special import nctdtrinc, ndtr

    if not (math.isfinite(value) and math.isfinite(spread) and se > 0 and df > 0 and spread > 0):
        return None
    t = value / se if higher_is_better else -value / se
    levels = np.array([0.5, 1 - alpha / 2, alpha / 2])
    reach = min(abs(t), LARGEST_T)
    noncentrality = np.sign(t) * nctdtrinc(df, levels if t > 0 else 1 - levels, reach) * (abs(t) / max(reach, 1e-300))
    if t == 0:
        noncentrality = np.array([0.0, 1.0, -1.0]) * nctdtrinc(df, 1 - alpha / 2, 0.0)
    return Superiority(*(float(limit) for limit in ndtr(noncentrality * se / spread)))


def spread_of_one_run(design: Design, contrast: Contrast, se: float) -> float:
    """Standard deviation of the difference between a level and its baseline in one more run; NaN where unknown.

    Where the contrast averages over several settings of other factors, it is pooled over the differences at each of
    them; else the contrast's own standard error over seeds says the same, with what the other cells show of the noise.

    Args:
        design: the table.
        contrast: a main or a simple effect.
        se: its standard error over seeds, with the error that its verdict is read from.
    """
    cells = contrast.cells
    if not len(cells) or len(design.y) < 2:
        return math.nan
    inner = contrast.inner[cells]
    used, y = inner != 0, design.y[:, cells]
    values = np.where(used, np.nan_to_num(y) * inner, 0.0).sum(axis=2)
    values[~((np.isfinite(y) | ~used).all(axis=2) & used.any(axis=1))] = np.nan
    contexts = contrast.contexts[:, cells]
    if not design.block:
        return math.sqrt(float((contexts.power(2) @ _variances(values)[0]).mean()))
    variances, df = _variances((contexts @ values.T).T)
    if len(df) == 1:  # one pair of cells; or the cells of a fractional design, which one regression weighs
        one_run = (1.0 if contrast.within else 2.0) / float((contexts.data**2).sum())
        return se * math.sqrt((df[0] + 1) * one_run)
    return math.sqrt(float((variances * df).sum() / df.sum())) if df.sum() else math.nan


def _variances(values: Array) -> tuple[Array, Array]:
    """Variance of each column over its rows, NaN left out, and its degrees of freedom; 0 where there are none."""
    present = np.isfinite(values)
    df = np.maximum(present.sum(axis=0) - 1, 0)
    filled = np.where(present, values, 0.0)
    away = np.where(present, values - filled.sum(axis=0) / np.maximum(present.sum(axis=0), 1), 0.0)
    return (away**2).sum(axis=0) / np.maximum(df, 1), df.astype(float)
