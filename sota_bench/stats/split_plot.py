"""Trainings of one seed that share a stage: plots of cells, and which error a contrast between or inside plots has.

Trainings with a common first stage are not independent: what that stage left to chance is in all of them. As in a
split-plot experiment, the shared stage is the whole plot (Cochran and Cox, Experimental Designs, 1957, chapter 7):
contrasts between plots are judged by the spread of plot means, contrasts inside plots by what is left within them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats import kernels
from sota_bench.stats.kernels import Array, Estimate

Plots = NDArray[np.intp]

BETWEEN, WITHIN, MIXED, UNEQUAL = "between plots", "within plots", "across and within plots", "between unlike plots"


def find_plots(shared: Iterable[tuple[object, int, object]], cells: int) -> Plots | None:
    """The plot of every cell: cells are together where they share a part under any seed, or through other cells.

    Args:
        shared: (seed, cell, name of the shared part) of each trial that shares one.
        cells: number of cells.

    Returns:
        Plot numbers [C]; None where no two cells share anything, or where all do: then the block takes it up.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first: dict[tuple[object, object], int] = {}
    links = [(first.setdefault((seed, name), cell), cell) for seed, cell, name in shared]
    if not links:
        return None
    start, end = np.array(links).T
    graph = coo_array((np.ones(len(links)), (start, end)), shape=(cells, cells))
    count, plots = connected_components(graph, directed=False)
    return None if count in (1, cells) else plots.astype(np.intp)


def placed(weights: Array, plots: Plots) -> str:
    """Where a contrast [C] compares: between plots, within them, or both.

    Plots of different numbers of cells have means of different variance. Their pooled error is then at least as large
    as the contrast's own, in expectation, where larger plots have larger weights (Chebyshev's sum inequality), as
    contrasts have that weight all cells alike. Where they have not, the plots are unlike, and no pooled error is safe.
    """
    sums, sizes = np.bincount(plots, weights), np.bincount(plots, np.abs(weights))
    if np.allclose(sums, 0):
        return WITHIN
    if not np.allclose(np.abs(sums), sizes):
        return MIXED
    shares = _shares(weights, plots)
    used = sizes > 0
    size, spread = sizes[used], (shares**2).sum(axis=0)[used]  # of a mean over k cells the spread is 1 / k
    larger = spread[:, None] < spread - 1e-9
    return UNEQUAL if (larger & (size[:, None] < size - 1e-9)).any() else BETWEEN


def pooled(y: Array, weights: Array, plots: Plots) -> Estimate:
    """One contrast with the pooled error of the stratum in which it compares; without any where it compares in both.

    Between plots: residual of plot means in ``mean = plot + seed``, df = (S - 1)(G - 1), over the plots whose means
    are of as many cells. Within plots: residual of ``y = cell + plot x seed``, df = (S - 1)(C - G).

    Args:
        y: response [S, C], NaN where missing.
        weights: the contrast [C], summing to 0.
        plots: plot of each cell [C].
    """
    where = placed(weights, plots)
    plots = np.unique(plots, return_inverse=True)[1].astype(np.intp)
    present = np.isfinite(y)
    if where == WITHIN:
        if present.all():
            return kernels.pooled_in_plots(y, weights[None], plots)
        seed, cell = present.nonzero()
        blocks = np.unique(seed * (plots.max() + 1) + plots[cell], return_inverse=True)[1]
        return kernels.pooled_least_squares(y[seed, cell], cell, blocks, weights[None])
    if where == MIXED:
        value = np.nanmean(y, axis=0) @ weights if present.any(axis=0).all() else np.nan
        return Estimate(np.array([value]), np.array([np.nan]), np.zeros(1))
    means, sums = plot_means(y, weights, plots)
    complete = np.isfinite(means)
    if complete.all():
        return kernels.pooled_blocks(means, sums[None])
    if not complete.any():
        return Estimate(np.full(1, np.nan), np.full(1, np.nan), np.zeros(1))
    seed, plot = complete.nonzero()
    return kernels.pooled_least_squares(means[seed, plot], plot, np.unique(seed, return_inverse=True)[1], sums[None])


def plot_means(y: Array, weights: Array, plots: Plots) -> tuple[Array, Array]:
    """The plots that inform a contrast between plots: their means [S, G], NaN where incomplete, and its weights [G].

    Plots that the contrast leaves alone are among them where their means are of as many cells.

    Args:
        y: response [S, C], NaN where missing.
        weights: the contrast [C].
        plots: plot of each cell [C].
    """
    plots = np.unique(plots, return_inverse=True)[1].astype(np.intp)
    shares = _shares(weights, plots)
    used = np.bincount(plots, np.abs(weights)) > 0
    spread = (shares**2).sum(axis=0)
    kept = used | np.isclose(spread, spread[used][0]) if np.allclose(spread[used], spread[used][0]) else used
    shares = shares[:, kept]
    means = np.nan_to_num(y) @ shares
    means[(~np.isfinite(y)).astype(float) @ (shares > 0) > 0] = np.nan
    return means, np.asarray(np.bincount(plots, weights)[kept], dtype=float)


def _shares(weights: Array, plots: Plots) -> Array:
    """Each cell's share in its plot's mean [C, G]: as the contrast weights it, or equal in plots it leaves alone."""
    inside = np.eye(int(plots.max()) + 1)[plots]
    size = np.abs(weights)[:, None] * inside
    idle = size.sum(axis=0) == 0
    size[:, idle] = inside[:, idle]
    total = size.sum(axis=0)
    return np.asarray(size / np.where(total > 0, total, 1))
