"""Which cells may be the best one, and which are not beaten in both time and accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sota_bench.errors import UserError
from sota_bench.stats.kernels import Array, fit_cells, pairwise_least_squares, pooled_least_squares

if TYPE_CHECKING:
    import pandas as pd


def best_set(
    table: pd.DataFrame,
    *,
    response: str,
    cell: str | Sequence[str],
    block: str | None = "seed",
    within: Sequence[str] = (),
    alpha: float = 0.05,
    higher_is_better: bool = True,
) -> pd.DataFrame:
    """Cells that cannot be told from the best: a set that holds the truly best cell with probability 1 - alpha.

    Hsu's multiple comparisons with the best (Journal of the American Statistical Association 79, 1984): a cell leaves
    the set when some other cell beats it by more than the one-sided critical value, with the pooled error of
    ``y = cell + block`` and Bonferroni's bound for Dunnett's quantile over the C - 1 comparisons.

    Args:
        table: one row per trial; rows whose ``status`` is not "done" or whose response is empty are left out.
        response: numeric column.
        cell: the column, or columns, that name a cell.
        block: column of the blocks, or None.
        within: columns of the factors whose levels are evaluations of one run (test-time augmentation). Cells that
            differ in these alone are one training: the error and its degrees of freedom are those of trainings, from
            one evaluation of each.
        alpha: 1 - confidence.
        higher_is_better: direction of the response.

    Returns:
        One row per cell, best first: the cell columns, ``mean`` (adjusted for missing blocks), ``n``,
        ``behind`` (difference to the best, in the response's direction, >= 0), ``p`` (one-sided, Bonferroni, against
        the cell that beats it most clearly; None for the best) and ``in_best_set``. Where nothing is left for an error
        (one block), every cell is in the set.
    """
    import pandas as pd
    from scipy.stats import t

    columns = [cell] if isinstance(cell, str) else list(cell)
    for name in [response, *columns, *within, *([block] if block else [])]:
        if name not in table.columns:
            raise UserError("table", name, "no such column", f"there are {', '.join(map(str, table.columns))}")
    rows = table[table["status"].astype(str) == "done"] if "status" in table.columns else table
    rows = rows[np.isfinite(pd.to_numeric(rows[response], errors="coerce"))]
    if rows.empty:
        return pd.DataFrame(columns=[*columns, "mean", "n", "behind", "p", "in_best_set"])
    grouped = rows.groupby(columns, sort=False, dropna=False)
    codes = grouped.ngroup().to_numpy()
    cells, direction = int(codes.max()) + 1, 1.0 if higher_is_better else -1.0
    values = direction * rows[response].to_numpy(dtype=float)
    blocks = pd.factorize(rows[block])[0] if block else None
    found = pooled_least_squares(values, codes, blocks, np.eye(cells))
    scale, most = 1.0, math.inf
    if within:
        setting = rows.groupby(list(within), sort=False, dropna=False).ngroup().to_numpy()
        scale, most = _of_trainings(values, codes, blocks, setting)
    result = rows[columns].drop_duplicates().reset_index(drop=True)
    ahead, se, df = pairwise_least_squares(values, codes, blocks)
    se, df = se * scale, min(df, most)
    usable = np.isfinite(ahead) & np.isfinite(se) & (df >= 1)
    p = np.where(usable, t.cdf(np.where(usable, ahead / np.where(usable, se, 1), 0), max(df, 1)), 1.0)
    np.fill_diagonal(p, 1.0)  # p[i, j]: cell j beats cell i
    worst = np.minimum(p.min(axis=1) * max(cells - 1, 1), 1.0)
    result["mean"], result["n"] = direction * found.value, np.bincount(codes)
    result["behind"] = np.nanmax(found.value) - found.value
    result["p"], result["in_best_set"] = worst, worst >= alpha
    return pd.DataFrame(result.sort_values("behind", kind="stable", ignore_index=True))


def _of_trainings(
    values: Array, cell: NDArray[np.intp], block: NDArray[np.intp] | None, setting: NDArray[np.intp]
) -> tuple[float, float]:
    """By how much evaluations of one run understate the standard error, at least 1, and the df of trainings alone.

    Over all rows, those of one run count as repetitions, which they are not. Within each evaluation setting every
    run occurs once: the mean square over settings is that of trainings, and so are the degrees of freedom of one.
    """
    naive, _ = _residual(values, cell, block)
    parts = [
        _residual(values[at], cell[at], None if block is None else block[at])
        for at in (setting == number for number in range(int(setting.max()) + 1))
    ]
    total = sum(df for _, df in parts)
    if not total or not naive:
        return 1.0, float(max(df for _, df in parts))
    square = sum(square * df for square, df in parts) / total
    return max(1.0, math.sqrt(square / naive)), float(max(df for _, df in parts))


def _residual(values: Array, cell: NDArray[np.intp], block: NDArray[np.intp] | None) -> tuple[float, int]:
    """Mean square of the residual of ``y = cell + block`` (0 without degrees of freedom), and its df."""
    fit = fit_cells(values, np.unique(cell, return_inverse=True)[1], block)
    return fit.square, fit.df


def pareto(minutes: ArrayLike, accuracy: ArrayLike) -> NDArray[np.bool_]:
    """Which points are on the Pareto front: no other one is at least as fast and as accurate, and better in one.

    Args:
        minutes: cost [N], less is better.
        accuracy: [N], more is better. A point with a NaN in either is not on the front.
    """
    cost, gain = np.asarray(minutes, dtype=float), np.asarray(accuracy, dtype=float)
    known = np.isfinite(cost) & np.isfinite(gain)
    no_worse = (cost[None] <= cost[:, None]) & (gain[None] >= gain[:, None])
    better = (cost[None] < cost[:, None]) | (gain[None] > gain[:, None])
    return np.asarray(known & ~(no_worse & better & known[None]).any(axis=1))
