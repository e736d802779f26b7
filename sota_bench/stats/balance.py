"""Which rows may be averaged side by side: those from settings in which every compared level was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class BalancedRows:
    """Rows whose means differ by the compared levels and not by where those levels happen to exist.

    Attributes:
        rows: the rows that may be averaged, in their order.
        averaged: the factors that the means average over.
        restricted: factor -> its levels that are left, for those of ``averaged`` that lost some.
        left_out: compared levels, as tuples in the order of the compared columns, that no kept setting has.
        complete: whether no row was left out.
    """

    rows: pd.DataFrame
    averaged: tuple[str, ...] = ()
    restricted: Mapping[str, tuple[str, ...]] | None = None
    left_out: tuple[tuple[str, ...], ...] = ()
    complete: bool = True

    @property
    def lost_levels(self) -> bool:
        """Whether whole levels were left out, of a compared factor or of one that is averaged over."""
        return bool(self.restricted or self.left_out)


def balanced_rows(
    frame: pd.DataFrame, by: Sequence[str], factors: Mapping[str, Sequence[str]], moving: Sequence[str]
) -> BalancedRows:
    """The rows from contexts, settings of the other factors x seed, that have all the compared levels.

    In a nested or one-at-a-time grid a plain mean of each level is a mean over other settings than its neighbour's, and
    can contradict the paired contrasts. Where no context has every level, the richest one sets which levels are
    compared (at equal numbers the one nearest to the baseline), so that only like stands beside like.

    Args:
        frame: one row per observation, with a column per factor that is not ``moving``, and ``seed``.
        by: the columns that are compared.
        factors: levels by factor, the baseline first.
        moving: the factors that the compared columns stand for, and those that the rows do not hold fixed.
    """
    import pandas as pd

    others = [name for name, levels in factors.items() if name not in moving and len(levels) > 1]
    if frame.empty:
        return BalancedRows(frame, tuple(others), {})
    context = frame.groupby([*others, "seed"], sort=False).ngroup().rename("context")
    level = frame.groupby(list(by), sort=False).ngroup().rename("level")
    pairs = pd.concat([context, level], axis=1).drop_duplicates()
    away = sum((frame[name] != factors[name][0] for name in others), start=context * 0)
    ranks = pd.DataFrame({"size": -pairs.groupby("context")["level"].size(), "away": away.groupby(context).first()})
    richest = ranks.sort_values(["size", "away"], kind="stable").index[0]
    compared = pairs.loc[pairs["context"] == richest, "level"]
    held = pairs[pairs["level"].isin(compared)].groupby("context")["level"].size()
    rows = frame[context.isin(held.index[held == len(compared)]) & level.isin(compared)]
    restricted = {
        name: tuple(level for level in factors[name] if (rows[name] == level).any())
        for name in others
        if rows[name].nunique() < frame[name].nunique()
    }
    keys = dict.fromkeys(frame[list(by)].itertuples(index=False, name=None))
    shown = set(rows[list(by)].itertuples(index=False, name=None))
    left_out = tuple(tuple(str(part) for part in key) for key in keys if key not in shown)
    return BalancedRows(rows, tuple(others), restricted, left_out, len(rows) == len(frame))
