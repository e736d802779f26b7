"""Which rows may be averaged side by side: those from settings in which every compared level was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sota_bench.report.text import join, level_text
from sota_bench.report.view import View


@dataclass(frozen=True)
class Alike:
    """Rows whose means differ by the compared levels and not by where those levels happen to exist.

    Attributes:
        rows: the rows that may be averaged.
        words: one sentence for the caption: over what, and what is left out.
        partial: whether whole levels, of the compared factor or of another, were left out.
    """

    rows: pd.DataFrame
    words: str
    partial: bool = False


def alike(view: View, frame: pd.DataFrame, by: Sequence[str], moving: Sequence[str]) -> Alike:
    """The rows from contexts, settings of the other factors x seed, that have all the compared levels.

    In a nested or one-at-a-time grid a plain mean of each level is a mean over other settings than its neighbour's, and
    can contradict the paired contrasts. Where no context has every level, the richest one sets which levels are
    compared (at equal numbers the one nearest to the baseline), so that only like stands beside like.

    Args:
        view: the run.
        frame: one row per observation, with a column per factor that is not ``moving``, and ``seed``.
        by: the columns that are compared.
        moving: the factors that these columns stand for, and those that the rows do not hold fixed.

    Returns:
        The rows in their order, and the words.
    """
    others = [name for name, levels in view.factors.items() if name not in moving and len(levels) > 1]
    if frame.empty:
        return Alike(frame, "")
    context = frame.groupby([*others, "seed"], sort=False).ngroup().rename("context")
    level = frame.groupby(list(by), sort=False).ngroup().rename("level")
    pairs = pd.concat([context, level], axis=1).drop_duplicates()
    away = sum((frame[name] != view.factors[name][0] for name in others), start=context * 0)
    ranks = pd.DataFrame({"size": -pairs.groupby("context")["level"].size(), "away": away.groupby(context).first()})
    richest = ranks.sort_values(["size", "away"], kind="stable").index[0]
    compared = pairs.loc[pairs["context"] == richest, "level"]
    held = pairs[pairs["level"].isin(compared)].groupby("context")["level"].size()
    kept = frame[context.isin(held.index[held == len(compared)]) & level.isin(compared)]
    partial = any(kept[name].nunique() < frame[name].nunique() for name in [*others, *by])
    return Alike(kept, _words(view, frame, kept, by, others), partial)


def _words(view: View, frame: pd.DataFrame, kept: pd.DataFrame, by: Sequence[str], others: list[str]) -> str:
    fewer = {
        name: [level for level in view.factors[name] if (kept[name] == level).any()]
        for name in others
        if kept[name].nunique() < frame[name].nunique()
    }
    if not fewer:
        words = "Mean over the other factors and seeds" if others else "Mean over seeds"
    elif all(levels == view.factors[name][:1] for name, levels in fewer.items()):
        words = f"Mean with {join(list(fewer))} at {'its' if len(fewer) == 1 else 'their'} baseline"
    else:
        where = join([f"{name} {' or '.join(map(level_text, levels))}" for name, levels in fewer.items()])
        words = f"Mean over settings with {where}"
    words += ", where all the levels compared were measured" if fewer or len(kept) < len(frame) else ""
    shown = set(kept[list(by)].itertuples(index=False, name=None))
    gone = [key for key in dict.fromkeys(frame[list(by)].itertuples(index=False, name=None)) if key not in shown]
    if gone:
        names = join([" ".join(level_text(part) for part in key) for key in gone])
        words += f"; not shown, because no setting has them beside the others: {names}"
    return words + "."
