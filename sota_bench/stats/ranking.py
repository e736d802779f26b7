"""Which cells may be the best one, and which are not beaten in both time and accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sota_bench.errors import UserError
from sota_bench.stats.crossed import with_images
from sota_bench.stats.image_sets import image_component_of_pairs, lay_out
from sota_bench.stats.kernels import Array, Estimate, pairwise_least_squares, pooled_least_squares
from sota_bench.stats.moderation import moderated_pairs, moderated_pairs_incomplete, moderated_pairs_unpaired
from sota_bench.stats.result import SEEDS_AND_IMAGES, Scope

if TYPE_CHECKING:
    import pandas as pd


def best_set(
    table: pd.DataFrame,
    *,
    response: str,
    cell: str | Sequence[str],
    block: str | None = "seed",
    within: Sequence[str] = (),
    predictions: Mapping[str, ArrayLike] | None = None,
    trial: str = "trial",
    scope: Scope = SEEDS_AND_IMAGES,
    alpha: float = 0.05,
    higher_is_better: bool = True,
) -> pd.DataFrame:
    """Cells that cannot be told from the best: a set that holds the truly best cell with probability 1 - alpha.

    Hsu's multiple comparisons with the best (Journal of the American Statistical Association 79, 1984): a cell leaves
    the set when some other cell beats it by more than the one-sided critical value, with the moderated error of their
    difference (see `sota_bench.stats.moderation`) and Bonferroni's bound for Dunnett's quantile over the C - 1
    comparisons.

    Args:
        table: one row per trial; rows whose ``status`` is not "done" or whose response is empty are left out.
        response: numeric column.
        cell: the column, or columns, that name a cell.
        block: column of the blocks, or None.
        within: columns of the factors whose levels are evaluations of one run (test-time augmentation). Cells that
            differ in these alone are one training: the pooled error and its degrees of freedom are those of trainings.
        predictions: trial -> per image whether it is right (bool), or a number whose mean is the response; the images
            are the same for all rows.
        trial: column that names the trials of ``predictions``.
        scope: whether the set is to hold for other images like these, where predictions are given.
        alpha: 1 - confidence.
        higher_is_better: direction of the response.

    Returns:
        One row per cell, best first: the cell columns, ``mean`` (adjusted for missing blocks), ``n``,
        ``behind`` (difference to the best, in the response's direction, >= 0), ``p`` (one-sided, Bonferroni, against
        the cell that beats it most clearly; 1 for the best) and ``in_best_set``. Where nothing is left for an error
        (one block), every cell is in the set.
    """
    import pandas as pd

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
    run = pd.factorize(rows[block])[0] if block else grouped.cumcount().to_numpy()
    y = np.full((int(run.max()) + 1, cells), np.nan)
    cell_means = pd.Series(values).groupby([run, codes]).mean()
    y[cell_means.index.get_level_values(0), cell_means.index.get_level_values(1)] = cell_means
    blocks = run if block else None
    means = pooled_least_squares(values, codes, blocks, np.eye(cells)).value
    setting = np.zeros(cells, dtype=np.intp)
    if within:
        setting[codes] = rows.groupby(list(within), sort=False, dropna=False).ngroup().to_numpy()
    pairs = _pairs(y, values, codes, blocks, setting)
    if predictions and scope == SEEDS_AND_IMAGES:
        positions = [(int(seed), int(code), 0) for seed, code in zip(run, codes, strict=True)]
        laid_out = lay_out(rows, predictions, response=response, trial=trial, judged=None, positions=positions,
                           shape=(*y.shape, 1), place="table")  # fmt: skip
        pairs = with_images(pairs, image_component_of_pairs(laid_out.sets, cells))
    worst = p_beaten(pairs)
    result = rows[columns].drop_duplicates().reset_index(drop=True)
    result["mean"], result["n"] = direction * means, np.bincount(codes)
    result["behind"] = np.nanmax(means) - means
    result["p"], result["in_best_set"] = worst, worst >= alpha
    return pd.DataFrame(result.sort_values("behind", kind="stable", ignore_index=True))


def best_cells(y: Array, alpha: float = 0.05) -> NDArray[np.bool_]:
    """Which cells of complete tables are in the set of the best, [..., C]: `best_set` on arrays, higher is better.

    Args:
        y: complete response [..., S, C], seeds paired over cells.
        alpha: 1 - confidence.
    """
    return np.asarray(p_beaten(moderated_pairs(y)) >= alpha)


def _pairs(
    y: Array, values: Array, codes: NDArray[np.intp], blocks: NDArray[np.intp] | None, setting: NDArray[np.intp]
) -> Estimate:
    """Differences of every two cells with the error that fits the table."""
    if len(y) < 2:
        nothing = np.full((y.shape[1], y.shape[1]), np.nan)
        return Estimate(nothing, nothing, np.zeros(nothing.shape))
    if blocks is None:
        return moderated_pairs_unpaired(y)
    if np.isfinite(y).all() and not setting.any():
        return moderated_pairs(y)
    ahead, se, _ = pairwise_least_squares(values, codes, blocks)
    return moderated_pairs_incomplete(y, ahead, se, setting)


def p_beaten(pairs: Estimate) -> Array:
    """For each cell, the p-value that no other beats it: one-sided, times the number of other cells."""
    from scipy.special import stdtr

    usable = np.isfinite(pairs.value) & np.isfinite(pairs.se) & (pairs.df >= 1)
    t = np.where(usable, pairs.value / np.where(usable, pairs.se, 1.0), 0.0)
    p = np.where(usable, stdtr(np.where(usable, pairs.df, 1.0), t), 1.0)
    cells = p.shape[-1]
    p[..., np.arange(cells), np.arange(cells)] = 1.0  # p[i, j]: cell j beats cell i
    return np.asarray(np.minimum(p.min(axis=-1) * max(cells - 1, 1), 1.0))


def pareto(minutes: ArrayLike, accuracy: ArrayLike) -> NDArray[np.bool_]:
    """Which points are on the Pareto front: no other one is at least as fast and as accurate, and better in one.

    Args:
        minutes: cost [N], less is better.
        accuracy: [N], more is better. A point with a NaN in either is not on the front.
    """
    cost, gain = np.asarray(minutes, dtype=float), np.asarray(accuracy, dtype=float)
    finite = np.isfinite(cost) & np.isfinite(gain)
    no_worse = (cost[None] <= cost[:, None]) & (gain[None] >= gain[:, None])
    better = (cost[None] < cost[:, None]) | (gain[None] > gain[:, None])
    return np.asarray(finite & ~(no_worse & better & finite[None]).any(axis=1))
