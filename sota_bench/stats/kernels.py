"""Estimates and standard errors of contrasts, on plain arrays: fast enough to simulate, exact enough to report.

Shapes: a response is ``y [..., S, C]`` (seeds, cells; leading axes are independent repetitions of the experiment), a
set of contrasts is ``weights [K, C]``. Missing trials are NaN; only the functions that say so accept them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = NDArray[np.float64]
Weights: TypeAlias = "Array | csr_array"  # sparse where there may be thousands of contrasts of thousands of cells

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


def pooled_blocks(y: Array, weights: Weights) -> Estimate:
    """Contrasts with the pooled residual of the factorial with seed as block, df = (S - 1)(C - 1).

    The model is ``y = cell + seed + residual``; every weight vector must sum to zero, so that the seed cancels.

    Args:
        y: complete response [..., S, C].
        weights: contrasts [K, C], rows summing to 0.
    """
    seeds, cells = y.shape[-2:]
    residual = y - y.mean(-2, keepdims=True) - y.mean(-1, keepdims=True) + y.mean((-2, -1), keepdims=True)
    return _pooled(y, weights, residual, (seeds - 1) * (cells - 1))


def pooled_cells(y: Array, weights: Weights) -> Estimate:
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


def _pooled(y: Array, weights: Weights, residual: Array, df: int) -> Estimate:
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
    values, measured = filled[keep], present[keep]
    if not keep.any():
        return result
    if not measured.all():
        seen = measured.any(axis=0)
        values, measured = values[:, seen], measured[:, seen]
        seeds, columns = measured.nonzero()
        design = np.hstack([np.eye(len(values))[seeds], np.eye(values.shape[1])[columns]])
        effects, _, rank, _ = np.linalg.lstsq(design, values[measured], rcond=None)
        if rank < sum(values.shape) - 1:  # seeds that share no context cannot be compared: only whole ones count
            keep[keep] = measured.all(axis=1)
            values = values[measured.all(axis=1)]
        else:
            values = np.where(measured, values, effects[: len(values), None] + effects[None, len(values) :])
    if len(values):
        result[keep] = values.mean(axis=1)
    return result


class Fit(NamedTuple):
    """``y = cell + block + residual`` by least squares, with the cells eliminated: a table of thousands of cells leaves
    a system as small as its blocks.

    Attributes:
        means: of each cell, adjusted for the blocks it lacks [C].
        counts: rows of each cell [C].
        moved: how far each cell's blocks are from an even mixture [C, B].
        inverse: pseudo-inverse of the blocks' information once cells are known [B, B].
        square: mean square of the residual, 0 without degrees of freedom.
        df: of the residual.
        residual: of each row [N].
    """

    means: Array
    counts: Array
    moved: Array
    inverse: Array
    square: float
    df: int
    residual: Array


def fit_cells(values: Array, cell: NDArray[np.intp], block: NDArray[np.intp] | None) -> Fit:
    """Ordinary least squares of cells and blocks (Searle 1987, Linear Models for Unbalanced Data, chapter 4).

    Args:
        values: response of each trial [N].
        cell: index of its cell [N], 0..C-1, every cell occurring.
        block: index of its block [N], or None for ``y = cell + residual``.
    """
    count = np.bincount(cell).astype(float)
    columns = np.zeros((len(values), 0))
    if block is not None:
        columns = np.eye(int(block.max()) + 1)[block][:, 1:]
        # Centred, so that a cell's coefficient is its mean over the average block also where weights do not sum to 0.
        columns = columns - columns.mean(axis=0)
    raw = np.bincount(cell, values) / count
    moved = (
        np.stack([np.bincount(cell, column) / count for column in columns.T], axis=1)
        if columns.size
        else (np.zeros((len(count), columns.shape[1])))
    )
    inside = columns - moved[cell]
    information = inside.T @ inside
    inverse = np.linalg.pinv(information, rcond=1e-10, hermitian=True)
    effects = inverse @ (inside.T @ (values - raw[cell]))
    residual = values - raw[cell] - inside @ effects
    rank = int(np.linalg.matrix_rank(inverse, hermitian=True)) if inverse.size else 0
    df = len(values) - len(count) - rank
    square = float(residual @ residual) / df if df > 0 else 0.0
    return Fit(raw - moved @ effects, count, moved, np.asarray(inverse, dtype=np.float64), square, df, residual)


def pooled_least_squares(
    values: Array, cell: NDArray[np.intp], seed: NDArray[np.intp] | None, weights: Weights
) -> Estimate:
    """Contrasts of cell means by least squares, for tables with missing trials or without blocks.

    Args:
        values: response of each trial [N].
        cell: index of its cell [N], 0..C-1, every cell occurring.
        seed: index of its block [N], or None for the plain factorial (``y = cell + residual``).
        weights: contrasts [K, C].
    """
    fit = fit_cells(values, cell, seed)
    value, moved = weights @ fit.means, weights @ fit.moved
    variance = fit.square * ((weights**2) @ (1 / fit.counts) + ((moved @ fit.inverse) * moved).sum(axis=1))
    df = np.full(weights.shape[0], float(fit.df))
    se = np.sqrt(variance) if fit.df >= 1 else np.nan * value
    # A contrast whose blocks are not told apart by any cell is not estimable (cells that share no seed).
    outside = _outside(moved, fit.inverse)
    size = np.full(weights.shape[0], np.abs(values).max())
    return Estimate(np.where(outside, np.nan, value), np.where(outside, np.nan, _no_rounding(se, size)), df)


def _outside(moved: Array, inverse: Array) -> NDArray[np.bool_]:
    """Which rows leave the space that the blocks' information spans."""
    if not moved.size:
        return np.zeros(len(moved), dtype=bool)
    space = np.linalg.pinv(inverse, rcond=1e-10, hermitian=True) @ inverse
    return np.asarray(np.abs(moved @ space - moved).max(axis=1) > 1e-6)


def pairwise_least_squares(
    values: Array, cell: NDArray[np.intp], seed: NDArray[np.intp] | None
) -> tuple[Array, Array, float]:
    """:func:`pooled_least_squares` for the difference of every two cells, without a contrast for each.

    Returns:
        Cell i minus cell j [C, C] and its standard error [C, C], NaN where it is not estimable; degrees of freedom.
    """
    fit = fit_cells(values, cell, seed)
    value = fit.means[:, None] - fit.means
    variance = 1 / fit.counts[:, None] + 1 / fit.counts
    outside = np.zeros(value.shape, dtype=bool)
    if fit.moved.size:
        shared = fit.moved @ fit.inverse @ fit.moved.T
        own = np.diag(shared)
        variance = variance + own[:, None] + own - 2 * shared
        space = np.linalg.pinv(fit.inverse, rcond=1e-10, hermitian=True) @ fit.inverse
        for column in (fit.moved @ space - fit.moved).T:
            outside |= np.abs(column[:, None] - column) > 1e-6
    se = np.sqrt(np.maximum(fit.square * variance, 0)) if fit.df >= 1 else np.full_like(value, np.nan)
    se = _no_rounding(se, float(np.abs(values).max()))
    return np.where(outside, np.nan, value), np.where(outside, np.nan, se), float(fit.df)
