"""The error that a verdict is read from: a contrast's own variance, moderated by as much of the pooled one as fits it.

A contrast's own paired error holds whatever the variances of the cells are, and has few degrees of freedom; the error
pooled over cells has many, and is wrong where cells differ in noise. As in limma, the own variance s^2 with d degrees
of freedom is shrunk towards the variance r^2 of the other comparisons, which counts as d0 degrees of freedom:

    s*^2 = (d s^2 + d0 r^2) / (d + d0),    t = estimate / sqrt(kappa s*^2) with d + d0 degrees of freedom

(Smyth, 2004, Statistical Applications in Genetics and Molecular Biology 3(1), equation for the moderated t). Here d0 is
the number of degrees of freedom that r^2 has, times a weight between 0 and 1 that falls to 0 where r^2 does not fit, as
in robust limma, where hypervariable genes lose their prior degrees of freedom (Phipson, Lee, Majewski, Alexander and
Smyth, 2016, Annals of Applied Statistics 10(2)). The weight is the smallest p-value of these F tests over the level at
which it counts as doubt:

- the contrast varies more, or less, than the rest of the residual;
- the cells with positive weights, or those with negative ones, vary more than all other cells;
- the noisiest of these cells varies more than all others (corrected for their number by Sidak's inequality).

Cells whose noise is far outside are left out of the rest, and so are cells that hardly vary with the seed, as at
chance: they do not share what a seed does to all others, so a contrast that rests on them has its own error alone
(`sota_bench.stats.pools`). The levels were chosen by simulation: ``benchmarks/false_verdicts.py`` measures errors,
coverage and power, and its results file is the evidence.

Shapes as in `sota_bench.stats.kernels`: a response is ``y [..., S, C]``, contrasts are ``weights [K, C]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats.kernels import ROUNDING, Array, Estimate, Weights
from sota_bench.stats.pools import Pool, incomplete_pool, pool_of

DOUBT_LARGER, DOUBT_SMALLER = 0.10, 0.05
"""p-values of the contrast's own variance against the rest below which the rest loses weight."""

DOUBT_CELLS, DOUBT_CELLS_MANY = 0.27, 0.20
"""The same for the variance of a contrast's cells against all others, with 3 seeds and with 5 or more."""

RESTS_ON = 0.2
"""Share of a contrast's absolute weights on cells that hardly vary from which on it rests on them."""


def moderated(y: Array, weights: Weights) -> Estimate:
    """Contrasts of a complete table under the moderated error.

    Args:
        y: complete response [..., S, C], at least 2 seeds.
        weights: contrasts [K, C], rows summing to 0.

    Returns:
        Values, standard errors and degrees of freedom [..., K]; without a rest (two cells) the paired t.
    """
    seeds = y.shape[-2]
    differences = y @ weights.T
    kappa = (weights**2).sum(axis=-1) / seeds
    own = differences.var(axis=-2, ddof=1) / seeds / kappa
    variance, df = moderate(own, np.asarray(seeds - 1.0), pool_of(y), weights)
    se = np.sqrt(variance * kappa)
    size = np.abs(y).max(axis=(-2, -1))[..., None]
    exists = (se > ROUNDING * size) & (own > 0)
    return Estimate(differences.mean(axis=-2), np.where(exists, se, np.nan), df)


def moderated_incomplete(y: Array, weights: Weights, pooled: Estimate, own: Estimate) -> Estimate:
    """Contrasts of a table with missing trials under the moderated error.

    The sums of squares of cells and groups are scaled to their expectation under equal variances, which makes the F
    tests approximate; on a complete table this is `moderated`.

    Args:
        y: response [S, C], NaN where a trial is missing.
        weights: contrasts [K, C].
        pooled: the contrasts with the pooled error of ``y = cell + seed``.
        own: the same with their own paired error.
    """
    pool, square = incomplete_pool(y)
    kappa = pooled.se**2 / square if square > 0 else np.full(len(pooled.value), np.nan)
    usable = np.isfinite(pooled.value) & np.isfinite(own.se) & np.isfinite(kappa) & (own.df >= 1)
    variance, df = moderate(
        np.where(usable, own.se**2 / np.where(usable, kappa, 1.0), 1.0), np.where(usable, own.df, 1.0), pool, weights
    )
    se = np.sqrt(variance * np.where(usable, kappa, np.nan))
    return Estimate(np.where(usable, pooled.value, np.nan), se, np.where(usable, df, 0.0))


def moderated_unpaired(y: Array, weights: Weights) -> Estimate:
    """Contrasts of a table without blocks: Welch's variance, moderated by the cells outside of the contrast.

    Welch's own variance is the sum of ``weight^2 s^2 / n`` over cells, with Satterthwaite's degrees of freedom (1946,
    Biometrics Bulletin 2(6)). It is that of Bell and McCaffrey (2002) for a one-way layout.

    Args:
        y: response [S, C]: the runs of each cell in any order, NaN where there are fewer.
        weights: contrasts [K, C].

    Returns:
        NaN where a cell of the contrast has a single run.
    """

    count, mean, squares = _cells(y)
    free = np.maximum(count - 1, 0)
    share = squares / np.maximum(free * count, 1)
    own_square = weights**2 @ share
    own_df = own_square**2 / np.maximum(weights**4 @ (share**2 / np.maximum(free, 1)), 1e-300)
    usable = (abs(weights) @ (free == 0).astype(float) == 0) & (own_square > 0)
    kappa = weights**2 @ (1 / np.maximum(count, 1))
    own = np.where(usable, own_square / np.where(kappa > 0, kappa, 1.0), 1.0)
    groups = [_side(weights, sign) for sign in (1, -1)]
    rest_df, rest_squares = (part.sum() - sum(group @ part for group in groups) for part in (free, squares))
    rest_variance = np.maximum(rest_squares, 0.0) / np.maximum(rest_df, 1)
    p_cells = [_p_noisier(group @ squares, group @ free, rest_variance * rest_df, rest_df) for group in groups]
    variance, df = _borrow(own, np.where(usable, np.maximum(own_df, 1.0), 1.0), rest_variance, rest_df, p_cells)
    se = np.where(usable, np.sqrt(variance * kappa), np.nan)
    se = np.where(se > ROUNDING * np.nanmax(np.abs(y)), se, np.nan)
    value = np.where(abs(weights) @ (count == 0).astype(float) > 0, np.nan, weights @ mean)
    return Estimate(value, se, np.where(usable, df, 0.0))


def moderated_pairs(y: Array) -> Estimate:
    """The difference of every two cells of a complete table under the moderated error, cell i minus cell j [..., C, C].

    The same as `moderated` for the contrast of each pair, without weights for each.

    Args:
        y: complete response [..., S, C], at least 2 seeds.
    """
    seeds = y.shape[-2]
    centred, mean = y - y.mean(axis=-2, keepdims=True), y.mean(axis=-2)
    shared = np.swapaxes(centred, -1, -2) @ centred / (seeds - 1)
    spread = np.diagonal(shared, axis1=-2, axis2=-1)
    own = (spread[..., :, None] + spread[..., None, :] - 2 * shared) / 2
    variance, df = moderate_pairs(own, np.asarray(seeds - 1.0), pool_of(y))
    se = np.sqrt(variance * 2 / seeds)
    exists = (own > 0) & (se > ROUNDING * np.abs(y).max(axis=(-2, -1))[..., None, None])
    return Estimate(mean[..., :, None] - mean[..., None, :], np.where(exists, se, np.nan), df)


def moderated_pairs_incomplete(y: Array, value: Array, se: Array, setting: NDArray[np.intp]) -> Estimate:
    """`moderated_pairs` for a table with missing trials, or with several evaluations of each run.

    Evaluations of one run are no independent cells: the rest of the residual is that of runs, from the cells of each
    evaluation setting among themselves, and counts the degrees of freedom of one setting.

    Args:
        y: response [S, C], NaN where a trial is missing.
        value: differences by least squares [C, C].
        se: their pooled standard errors over all cells [C, C].
        setting: the evaluation setting of each cell [C].
    """
    present = np.isfinite(y).astype(float)
    filled = np.nan_to_num(y - np.nanmean(y, axis=0))
    n = present.T @ present
    total = filled.T @ present - present.T @ filled
    squares = (filled**2).T @ present + present.T @ filled**2 - 2 * filled.T @ filled
    kept, p_each = np.zeros(y.shape[1], dtype=bool), np.ones(y.shape[1])
    rest_total, all_df, most_df = 0.0, 0.0, 0.0
    for number in np.unique(setting):
        at = setting == number
        pool, _ = incomplete_pool(y[:, at])
        kept[at], p_each[at] = pool.kept, _p_each_noisier(pool)
        rest_total, all_df = rest_total + float(pool.total), all_df + float(pool.df)
        most_df = max(most_df, float(pool.df))
    _, square = incomplete_pool(y)
    usable = (n >= 2) & np.isfinite(se) & (square > 0)
    kappa = np.where(usable, se**2 / (square if square > 0 else 1.0), np.nan)
    own_df = np.where(usable, n - 1, 1.0)
    own = np.maximum(squares - total**2 / np.maximum(n, 1), 0.0) / own_df / np.where(usable, n * kappa, 1.0)
    rest_df = np.where(kept[:, None] & kept, most_df - own_df, 0.0)
    rest_variance = (rest_total / max(all_df, 1.0) * most_df - own_df * own) / np.maximum(rest_df, 1)
    variance, df = _borrow(own, own_df, rest_variance, rest_df, [p_each[:, None], p_each[None]])
    error = np.sqrt(variance * kappa)
    exists = usable & (own > 0) & (error > ROUNDING * np.nanmax(np.abs(y)))
    return Estimate(np.where(usable, value, np.nan), np.where(exists, error, np.nan), np.where(usable, df, 0.0))


def moderated_pairs_unpaired(y: Array) -> Estimate:
    """`moderated_unpaired` for the difference of every two cells [C, C].

    Args:
        y: response [S, C]: the runs of each cell in any order, NaN where there are fewer.
    """
    count, mean, squares = _cells(y)
    free = np.maximum(count - 1, 0)
    share = squares / np.maximum(free * count, 1)
    own_square = share[:, None] + share
    usable = (free[:, None] > 0) & (free > 0) & (own_square > 0)
    each = share**2 / np.maximum(free, 1)
    own_df = np.where(usable, own_square**2 / np.maximum(each[:, None] + each, 1e-300), 1.0)
    kappa = 1 / np.maximum(count, 1)[:, None] + 1 / np.maximum(count, 1)
    rest_df = free.sum() - free[:, None] - free
    total = np.maximum(squares.sum() - squares[:, None] - squares, 0.0)
    p_cells = [_p_noisier(cell, cell_df, total, rest_df) for cell, cell_df in (
        (squares[:, None], free[:, None]), (squares[None], free[None]))]  # fmt: skip
    own = np.where(usable, own_square / kappa, 1.0)
    variance, df = _borrow(own, np.maximum(own_df, 1.0), total / np.maximum(rest_df, 1), rest_df, p_cells)
    se = np.where(usable, np.sqrt(variance * kappa), np.nan)
    return Estimate(mean[:, None] - mean, se, np.where(usable, df, 0.0))


def _cells(y: Array) -> tuple[Array, Array, Array]:
    """Runs, mean and sum of squares around it of each cell [C]."""
    count = np.isfinite(y).sum(axis=0).astype(float)
    mean = np.where(count > 0, np.nansum(y, axis=0) / np.maximum(count, 1), 0.0)
    return count, mean, np.nansum((y - mean) ** 2, axis=0)


def moderate(own: Array, own_df: Array, pool: Pool, weights: Weights) -> tuple[Array, Array]:
    """The moderated variances of contrasts, as that of one observation, and their degrees of freedom.

    Args:
        own: each contrast's own variance over its sum of squared weights [..., K].
        own_df: its degrees of freedom, [...] or [..., K].
        pool: the cells whose noise is alike.
        weights: contrasts [K, C].

    Returns:
        Variances and degrees of freedom [..., K].
    """
    own_df = np.broadcast_to(own_df, own.shape)
    count = pool.kept.sum(axis=-1)[..., None].astype(float)
    each, total = pool.df[..., None] / np.maximum(count - 1, 1), pool.total[..., None]
    squares = (pool.residual**2).sum(axis=-2)
    size = abs(weights)
    dropped = (~pool.kept & ~pool.constant).astype(float) @ size.T > 0
    dropped |= pool.constant.astype(float) @ size.T > RESTS_ON * np.asarray(size.sum(axis=-1))
    rest_df = np.where(dropped, 0.0, pool.df[..., None] - own_df)
    rest_variance = (total - own_df * own) / np.maximum(rest_df, 1)
    p_each, p_cells = _p_each_noisier(pool), []
    for sign in (1, -1):
        group = _side(weights, sign)
        members = group.sum(axis=-1)
        # What is left without the group: its cells' squares go, and what their sum contributes to the others' mean.
        shared = ((pool.residual @ group.T) ** 2).sum(axis=-2)
        others = total - squares @ group.T - shared / np.maximum(count - members, 1)
        p_cells.append(_p_noisier(total - others, each * members, others, each * (count - members - 1)))
        if members.max() > 1:
            noisiest = _smallest(group, p_each)
            p_cells.append(-np.expm1(members * np.log1p(-np.minimum(noisiest, 1 - 1e-12))))
    return _borrow(own, own_df, rest_variance, rest_df, p_cells)


def moderate_pairs(own: Array, own_df: Array, pool: Pool) -> tuple[Array, Array]:
    """`moderate` for the difference of every two cells: variances and degrees of freedom [..., C, C]."""
    own_df = np.broadcast_to(own_df, own.shape)
    total = pool.total[..., None]
    dropped = ~(pool.kept[..., :, None] & pool.kept[..., None, :])
    rest_df = np.where(dropped, 0.0, pool.df[..., None, None] - own_df)
    rest_variance = (total[..., None] - own_df * own) / np.maximum(rest_df, 1)
    p = _p_each_noisier(pool)
    return _borrow(own, own_df, rest_variance, rest_df, [p[..., :, None], p[..., None, :]])


def _side(weights: Weights, sign: int) -> Weights:
    """1 for the cells with weights of one sign, 0 elsewhere [K, C]."""
    return (sign * weights > 1e-12).astype(float)


def _smallest(group: Weights, values: Array) -> Array:
    """The smallest value [..., C] among each contrast's cells [..., K]."""
    if isinstance(group, np.ndarray):
        return np.asarray(np.where(group > 0, values[..., None, :], 1.0).min(axis=-1))
    smallest, filled = np.ones(group.shape[0]), np.diff(group.indptr) > 0
    smallest[filled] = np.minimum.reduceat(values[group.indices], group.indptr[:-1][filled])
    return smallest


def _p_each_noisier(pool: Pool) -> Array:
    """For each cell, the p-value that it varies more than all others [..., C]."""
    count = pool.kept.sum(axis=-1)[..., None].astype(float)
    each, total = pool.df[..., None] / np.maximum(count - 1, 1), pool.total[..., None]
    others = total - (pool.residual**2).sum(axis=-2) * count / np.maximum(count - 1, 1)
    return _p_noisier(total - others, each, others, each * (count - 2))


def _p_noisier(squares: Array, df: Array, others: Array, others_df: Array) -> Array:
    """p-value that cells with these sums of squares vary more than the others; 1 where it cannot be tested."""
    from scipy.special import fdtrc

    testable = (others_df > 0.5) & (df > 0.5)
    df, others_df = np.where(testable, df, 1.0), np.where(testable, others_df, 1.0)
    ratio = np.maximum(squares, 0.0) / df / (np.maximum(others, 1e-300) / others_df)
    return np.asarray(np.where(testable, fdtrc(df, others_df, ratio), 1.0))


def _borrow(
    own: Array, own_df: Array, rest_variance: Array, rest_df: Array, p_cells: Sequence[Array]
) -> tuple[Array, Array]:
    """Own variances with as many degrees of freedom of the rest as fit: variances and degrees of freedom."""
    from scipy.special import fdtr, fdtrc

    has_rest = rest_df > 0.5
    usable_df, rest_variance = np.where(has_rest, rest_df, 1.0), np.maximum(rest_variance, 1e-300)
    ratio = own / rest_variance
    weight = np.minimum(fdtrc(own_df, usable_df, ratio) / DOUBT_LARGER, fdtr(own_df, usable_df, ratio) / DOUBT_SMALLER)
    for p in p_cells:
        weight = np.minimum(weight, p / np.clip(1 / (own_df + 1), DOUBT_CELLS_MANY, DOUBT_CELLS))
    borrowed = np.where(has_rest, usable_df * np.clip(weight, 0.0, 1.0), 0.0)
    return (own_df * own + borrowed * rest_variance) / (own_df + borrowed), own_df + borrowed
