"""Estimates and standard errors of contrasts, on plain arrays: fast enough to simulate, exact enough to report.

Shapes: a response is ``y [..., S, C]`` (seeds, cells; leading axes are independent repetitions of the experiment), a
set of contrasts is ``weights [K, C]``. Missing trials are NaN; only the functions that say so accept them.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# A standard error below this share of the response's size is rounding, not noise: such a contrast has no interval.
ROUNDING = 1e-10


class Estimate(NamedTuple):
    """Contrasts with their uncertainty: ``value [..., K]``, ``se [..., K]``, ``df [..., K]`` (degrees of freedom)."""

    value: Array
    se: Array
    df: Array


def paired(y: Array, weights: Array) -> Estimate:
    """Each contrast's own paired t: one difference per seed, their mean and its standard error, df = S - 1.

    Args:
        y: complete response [..., S, C].
        weights: contrasts [K, C].
    """
    return from_differences(y @ weights.T, np.abs(y).max(axis=(-2, -1))[..., None])


def from_differences(differences: Array, size: Array | float) -> Estimate:
    """Mean and standard error over seeds of per-seed differences [..., S, K].

    Args:
        differences: complete differences.
        size: magnitude of the response that they come from, which tells noise from rounding.
    """
    seeds = differences.shape[-2]
    value = differences.mean(axis=-2)
    if seeds < 2:
        return Estimate(value, np.full_like(value, np.nan), np.zeros_like(value))
    se = differences.std(axis=-2, ddof=1) / np.sqrt(seeds)
    return Estimate(value, _no_rounding(se, size), np.full_like(value, seeds - 1.0))


def pooled_blocks(y: Array, weights: Array) -> Estimate:
    """Contrasts with the pooled residual of the factorial with seed as block, df = (S - 1)(C - 1).

    The model is ``y = cell + seed + residual``; every weight vector must sum to zero, so that the seed cancels.

    Args:
        y: complete response [..., S, C].
        weights: contrasts [K, C], rows summing to 0.
    """
    seeds, cells = y.shape[-2:]
    residual = y - y.mean(-2, keepdims=True) - y.mean(-1, keepdims=True) + y.mean((-2, -1), keepdims=True)
    return _pooled(y, weights, residual, (seeds - 1) * (cells - 1))


def pooled_cells(y: Array, weights: Array) -> Estimate:
    """Contrasts with the pooled spread of each cell around its own mean, df = C (S - 1).

    For quantities that are already differences within a run (test-time augmentation on against off): their mean is
    the question, so nothing cancels the seed, and runs are the replicates (the sub-plot error of a split-plot design).

    Args:
        y: complete differences within runs [..., S, C].
        weights: averages over cells [K, C].
    """
    seeds, cells = y.shape[-2:]
    return _pooled(y, weights, y - y.mean(-2, keepdims=True), cells * (seeds - 1))


def pooled_in_plots(y: Array, weights: Array, plots: NDArray[np.intp]) -> Estimate:
    """Contrasts inside plots of cells, with the pooled residual of ``y = cell + plot x seed``, df = (S - 1)(C - G).

    Args:
        y: complete response [..., S, C].
        weights: contrasts [K, C], summing to 0 in every plot.
        plots: plot of each cell [C], 0..G-1, every plot occurring.
    """
    seeds, cells = y.shape[-2:]
    member = np.eye(int(plots.max()) + 1)[plots]
    residual = y - y.mean(-2, keepdims=True)
    residual = residual - (residual @ (member / member.sum(axis=0))) @ member.T
    return _pooled(y, weights, residual, (seeds - 1) * (cells - member.shape[1]))


def _pooled(y: Array, weights: Array, residual: Array, df: int) -> Estimate:
    value = y.mean(axis=-2) @ weights.T
    if df < 1:
        return Estimate(value, np.full_like(value, np.nan), np.zeros_like(value))
    variance = (residual**2).sum((-2, -1)) / df
    se = np.sqrt(variance[..., None] * (weights**2).sum(-1) / y.shape[-2])
    return Estimate(value, _no_rounding(se, np.abs(y).max((-2, -1))[..., None]), np.full_like(value, float(df)))


def _no_rounding(se: Array, size: Array | float) -> Array:
    return np.where(se > ROUNDING * size, se, np.nan)


def seed_differences(y: Array, contexts: Array) -> Array:
    """Per-seed differences [S] of one contrast when some trials are missing (NaN in ``y``).

    A contrast averages over contexts (the settings of the other factors). A seed that lost one context would average
    over other contexts than its fellows, so the missing difference is filled in from ``difference = context + seed``
    by least squares (Yates' missing-plot technique). Seeds with fewer than half of their contexts are left out: NaN.

    Args:
        y: response [S, C], NaN where a trial is missing.
        contexts: the contrast in each context [O, C].
    """
    used = np.abs(contexts) > 0
    filled = np.nan_to_num(y) @ contexts.T
    present = (np.isfinite(y).astype(float) @ used.T) >= used.sum(-1)
    keep = present.mean(axis=1) >= 0.5
    result = np.full(len(y), np.nan)
    values, known = filled[keep], present[keep]
    if not keep.any():
        return result
    if not known.all():
        seen = known.any(axis=0)
        values, known = values[:, seen], known[:, seen]
        seeds, columns = known.nonzero()
        design = np.hstack([np.eye(len(values))[seeds], np.eye(values.shape[1])[columns]])
        effects, _, rank, _ = np.linalg.lstsq(design, values[known], rcond=None)
        if rank < sum(values.shape) - 1:  # seeds that share no context cannot be compared: only whole ones count
            keep[keep] = known.all(axis=1)
            values = values[known.all(axis=1)]
        else:
            values = np.where(known, values, effects[: len(values), None] + effects[None, len(values) :])
    if len(values):
        result[keep] = values.mean(axis=1)
    return result


def pooled_least_squares(
    values: Array, cell: NDArray[np.intp], seed: NDArray[np.intp] | None, weights: Array
) -> Estimate:
    """Contrasts of cell means by least squares, for tables with missing trials or without blocks.

    Args:
        values: response of each trial [N].
        cell: index of its cell [N], 0..C-1, every cell occurring.
        seed: index of its block [N], or None for the plain factorial (``y = cell + residual``).
        weights: contrasts [K, C].
    """
    from statsmodels.regression.linear_model import OLS

    cells = weights.shape[1]
    design = np.eye(cells)[cell]
    if seed is not None:
        blocks = np.eye(int(seed.max()) + 1)[seed][:, 1:]
        # Centred, so that a cell's coefficient is its mean over the average seed also where weights do not sum to 0.
        design = np.hstack([design, blocks - blocks.mean(axis=0)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rank-deficient design is told apart below, per contrast
        fit = OLS(values, design).fit()
    wide = np.hstack([weights, np.zeros((len(weights), design.shape[1] - cells))])
    value = wide @ fit.params
    df = np.full(len(weights), float(fit.df_resid))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        se = np.sqrt(((wide @ fit.cov_params()) * wide).sum(axis=1)) if fit.df_resid >= 1 else np.nan * value
    # A contrast outside the row space of the design is not estimable (cells that share no seed).
    row_space = np.linalg.pinv(design) @ design
    outside = np.abs(wide @ row_space - wide).max(axis=1) > 1e-6
    size = np.full(len(weights), np.abs(values).max())
    return Estimate(np.where(outside, np.nan, value), np.where(outside, np.nan, _no_rounding(se, size)), df)
