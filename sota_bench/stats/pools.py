"""Cells whose noise is alike: what contrasts may borrow degrees of freedom from; see `sota_bench.stats.moderation`.

Shapes as in `sota_bench.stats.kernels`: a response is ``y [..., S, C]``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats.kernels import Array, Fit, fit_cells

OUTLYING = 0.002
"""Level, over all cells of a table, at which a cell's noise is far outside, or a cell hardly varies at all."""


class Pool(NamedTuple):
    """Residuals of ``y = cell + seed`` over the cells whose noise is alike.

    Attributes:
        kept: which cells are in the pool [..., C].
        constant: which of the others hardly vary over the seeds [..., C].
        residual: [..., S, C], 0 outside the pool and where a trial is missing.
        total: sum of squares [...].
        df: its degrees of freedom [...].
    """

    kept: NDArray[np.bool_]
    constant: NDArray[np.bool_]
    residual: Array
    total: Array
    df: Array


def pool_of(y: Array) -> Pool:
    """The cells of a complete table whose noise is alike.

    Cells that hardly vary with the seed are left out first, two others being kept. Then one cell after the other, the
    noisiest first, while its F test against the remaining cells is significant at `OUTLYING` over the number of cells,
    and while three cells are left (two of three cells).

    Args:
        y: complete response [..., S, C], at least 2 seeds.
    """
    from scipy.special import fdtrc

    seeds, cells = y.shape[-2:]
    each = seeds - 1
    centred = y - y.mean(axis=-2, keepdims=True)
    constant = _constant(y)
    kept = ~constant
    fewest = np.clip(kept.sum(axis=-1)[..., None] - 1, 2, 3)
    while True:
        count = kept.sum(axis=-1)
        mask = kept[..., None, :]
        residual = (centred - (centred * mask).sum(axis=-1, keepdims=True) / count[..., None, None]) * mask
        squares = (residual**2).sum(axis=-2)
        total = squares.sum(axis=-1)
        if cells < 3:
            break
        # What is left of the residual without one cell, and what that cell adds: independent under equal variances.
        many = count[..., None]
        added = squares * many / (many - 1)
        others = np.maximum(total[..., None] - added, 1e-300)
        ratio = (added / each) / (others / (each * np.maximum(many - 2, 1)))
        p = np.where(kept & (many > fewest), fdtrc(each, each * np.maximum(many - 2, 1), ratio), 1.0)
        outlying = p.min(axis=-1) < OUTLYING / cells
        if not outlying.any():
            break
        worst = np.expand_dims(p.argmin(axis=-1), -1)
        np.put_along_axis(kept, worst, ~outlying[..., None] & np.take_along_axis(kept, worst, -1), axis=-1)
    return Pool(kept, constant, residual, total, each * (count - 1.0))


def _constant(y: Array) -> NDArray[np.bool_]:
    """Which cells [..., C] hardly vary over the seeds beside all others, as at chance; none where fewer than two
    others would be left.

    Args:
        y: response [..., S, C], NaN where a trial is missing.
    """
    from scipy.special import fdtr

    present = np.isfinite(y)
    free = np.maximum(present.sum(axis=-2) - 1.0, 0.0)
    mean = np.where(present, y, 0.0).sum(axis=-2) / np.maximum(free + 1, 1)
    squares = np.where(present, y - mean[..., None, :], 0.0)
    squares = (squares**2).sum(axis=-2)
    others, others_df = squares.sum(axis=-1, keepdims=True) - squares, free.sum(axis=-1, keepdims=True) - free
    testable = (free > 0) & (others_df > 0) & (others > 0)
    ratio = squares / np.maximum(free, 1) / np.where(testable, others / np.maximum(others_df, 1), 1.0)
    p = np.where(testable, fdtr(np.maximum(free, 1), np.maximum(others_df, 1), ratio), 1.0)
    constant = p < OUTLYING / y.shape[-1]
    return np.asarray(constant & ((~constant & (free > 0)).sum(axis=-1, keepdims=True) >= 2))


def incomplete_pool(y: Array) -> tuple[Pool, float]:
    """`pool_of` for a table with missing trials, and the mean square of the residual of all cells.

    Args:
        y: response [S, C], NaN where a trial is missing.
    """
    from scipy.special import fdtrc

    present = np.isfinite(y)
    square = _fit(y, present).fit.square
    constant = _constant(y)
    kept = np.asarray(present.any(axis=0) & ~constant)
    fewest = min(3, int(kept.sum()) - 1)
    while True:
        fit, seed, cell, numbers, codes = _fit(y, present & kept)
        residual = np.zeros(y.shape)
        residual[seed, cell] = fit.residual
        total, each = float((fit.residual**2).sum()), fit.counts - 1
        pool = Pool(kept, constant, residual, np.asarray(total), np.asarray(float(fit.df)))
        if len(numbers) <= max(fewest, 2) or fit.df < 1:
            return pool, square
        added = np.bincount(codes, fit.residual**2) * each.sum() / fit.df
        others_df = np.maximum(fit.df - each, 1)
        ratio = (added / np.maximum(each, 1)) / (np.maximum(total - added, 1e-300) / others_df)
        p = np.where(each > 0, fdtrc(np.maximum(each, 1), others_df, ratio), 1.0)
        if p.min() >= OUTLYING / y.shape[1]:
            return pool, square
        kept = kept.copy()
        kept[numbers[p.argmin()]] = False


class _CellFit(NamedTuple):
    """`fit_cells` of the runs that are present: the fit, seed and cell of each run, and cells by the fit's codes."""

    fit: Fit
    seed: NDArray[np.intp]
    cell: NDArray[np.intp]
    numbers: NDArray[np.intp]
    codes: NDArray[np.intp]


def _fit(y: Array, present: NDArray[np.bool_]) -> _CellFit:
    seed, cell = present.nonzero()
    numbers, codes = np.unique(cell, return_inverse=True)
    block = np.unique(seed, return_inverse=True)[1]
    return _CellFit(fit_cells(y[seed, cell], codes, block), seed, cell, numbers, codes)
