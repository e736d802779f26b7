"""Means of groups with 95% t intervals: the standard deviation pooled over groups, or taken over blocks (seeds).

With one degree of freedom the t quantile is 12.7, so an interval from two seeds is as wide as the scale itself and says
nothing: intervals start at ``MIN_DF``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05
MIN_DF = 2
"""Fewest degrees of freedom that give an interval."""

PERCENT = (0.0, 100.0)
"""The limits of an accuracy."""


class Mean(NamedTuple):
    """One row of a table of means; without an interval ``low`` and ``high`` are NaN."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Of the interval, to its wider side."""
        return max(self.high - self.mean, self.mean - self.low)


def means_by_group(table: pd.DataFrame) -> dict[str, Mean]:
    """The rows of a table of means with one grouping column, by group."""
    columns = (table[name] for name in ("mean", "low", "high", "n"))
    return {
        str(group): Mean(float(mean), float(low), float(high), int(n))
        for group, mean, low, high, n in zip(table.index.get_level_values(0), *columns, strict=True)
    }


def pooled_means(
    frame: pd.DataFrame,
    by: str,
    value: str,
    between: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Group means with 95% t intervals from the standard deviation pooled over the groups.

    Args:
        frame: one row per observation.
        by: the column that makes a group.
        value: the column that is averaged.
        between: columns whose levels make a training; groups that share them add degrees of freedom once.
        limits: the smallest and largest possible value; intervals end there.

    Returns:
        Columns ``mean``, ``low``, ``high`` and ``n``, one row per group in order of appearance; ``low`` and ``high``
        are NaN where fewer than ``MIN_DF`` degrees of freedom are left.
    """
    import pandas as pd

    groups = frame.groupby(by, sort=False)[value]
    table = pd.DataFrame({"mean": groups.mean(), "n": groups.count()})
    free = (table["n"] - 1).clip(lower=0)
    total = int(free.sum())
    df = total
    if between:
        training = frame.groupby(by, sort=False)[list(between)].first()
        df = int(free.groupby([training[name] for name in between]).max().sum())
    squares = float((groups.var(ddof=1) * (table["n"] - 1)).fillna(0).sum())
    error = np.sqrt(squares / max(total, 1) / table["n"].clip(lower=1))
    return _with_interval(table, error, df, limits)


def block_means(
    frame: pd.DataFrame,
    by: Sequence[str],
    value: str,
    block: str = "seed",
    limits: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Mean of each group with a 95% t interval over blocks: first averaged within a block, then over blocks.

    Args:
        frame: one row per observation.
        by: the columns that make a group.
        value: the column that is averaged.
        block: the column of independent repetitions, the seed.
        limits: the smallest and largest possible value; intervals end there.

    Returns:
        Columns ``mean``, ``low``, ``high`` and ``n`` (blocks), one row per group in order of appearance; ``low`` and
        ``high`` are NaN for groups with fewer than ``MIN_DF`` + 1 blocks.
    """
    import pandas as pd

    within = frame.groupby([*by, block], sort=False)[value].mean()
    groups = within.groupby(level=list(range(len(by))), sort=False)
    table = pd.DataFrame({"mean": groups.mean(), "n": groups.count()})
    return _with_interval(table, groups.std(ddof=1) / np.sqrt(table["n"]), table["n"] - 1, limits)


def block_differences(frame: pd.DataFrame, by: str, value: str, baseline: str, block: str = "seed") -> pd.DataFrame:
    """Mean difference of each group to ``baseline``, paired by block, with a 95% t interval over blocks.

    Args:
        frame: one row per observation.
        by: the column that makes a group.
        value: the column that is averaged within each block first.
        baseline: the group that is subtracted; it has no row in the result.
        block: the column of independent repetitions, the seed.

    Returns:
        As :func:`block_means`.
    """
    import pandas as pd

    means = frame.groupby([by, block], sort=False)[value].mean().unstack(block)
    differences = means.drop(index=baseline) - means.loc[baseline]
    # stack keeps NaN in some versions of pandas and drops it in others
    long = pd.DataFrame({"difference": differences.stack().dropna()}).reset_index()
    return block_means(long, [by], "difference", block)


def _with_interval(
    table: pd.DataFrame, error: pd.Series, df: int | pd.Series, limits: tuple[float, float] | None
) -> pd.DataFrame:
    from scipy.stats import t

    usable = np.broadcast_to(np.asarray(df) >= MIN_DF, len(table))
    margin = np.where(usable, t.isf(ALPHA / 2, np.maximum(df, 1)) * error, np.nan)
    low, high = table["mean"] - margin, table["mean"] + margin
    if limits is not None:
        low, high = low.clip(*limits), high.clip(*limits)
    return table.assign(low=low, high=high)
