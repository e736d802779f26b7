"""What every section asks of the tables: factors, finished trials, and one row per cell with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sota_bench.report.tables import RunTables
from sota_bench.report.text import level_text

MEANS = (
    "nll",
    "ece",
    "brier",
    "confidence",
    "params",
    "flops",
    "images_per_s",
    "peak_memory_mb",
    "stability",
    "plasticity",
    "forgetting",
    "predicted_minutes",
)


@dataclass(frozen=True)
class View:
    """One run, ready to be shown.

    Attributes:
        tables: what the ledger holds.
        analysis: the ``Analysis`` of accuracy from ``sota_bench.stats``.
    """

    tables: RunTables
    analysis: Any

    @cached_property
    def run(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        return self.tables.run

    @cached_property
    def factors(self) -> dict[str, list[str]]:
        """Levels by factor; the first level of each is the baseline."""
        return {name: [str(level) for level in levels] for name, levels in self.run["grid"]["factors"].items()}

    @property
    def within(self) -> list[str]:
        """Factors that vary inside one training: test-time augmentation, evaluation size."""
        return [name for name in self.run.get("within", []) if name in self.factors]

    @property
    def delta(self) -> float | None:
        """Smallest effect of interest, in percentage points."""
        value = self.run["grid"].get("smallest_effect")
        return None if value is None else float(value)

    @cached_property
    def done(self) -> pd.DataFrame:
        """The trials that finished, with levels as text."""
        trials = self.tables.trials
        done = trials[trials["status"] == "done"].copy()
        for factor in self.factors:
            done[factor] = done[factor].astype(str)
        return done

    @cached_property
    def alike(self) -> pd.DataFrame:
        """The finished trials that are judged on the same images as the baseline, or as the first one without it."""
        if self.done.empty:
            return self.done
        first = self.done if self.baseline is None else self.done[self.done["cell"] == self.baseline]
        found: pd.DataFrame = self.done[self.done["judged_on"] == first["judged_on"].iloc[0]]
        return found

    @cached_property
    def seeds(self) -> int:
        """How many different seeds finished at least one trial."""
        return int(self.done["seed"].nunique())

    @cached_property
    def baseline(self) -> str | None:
        """The cell whose factors all have their first level, where it was trained."""
        at = np.logical_and.reduce([self.done[name] == levels[0] for name, levels in self.factors.items()])
        cells = self.done.loc[at, "cell"]
        return None if cells.empty else str(cells.iloc[0])

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per cell with finished trials, indexed by cell.

        ``accuracy`` and ``minutes`` are means over seeds with ``_low`` and ``_high``: 95% t intervals whose standard
        deviation is pooled over all cells, because three seeds say little about a spread. Cells that are evaluations of
        the same trainings share their noise, so they count once in its degrees of freedom.
        """
        groups = self.done.groupby("cell", sort=False)
        between = [name for name in self.factors if name not in self.within]
        frame = groups[list(self.factors)].first()
        frame["n"] = groups.size()
        for name in ("accuracy", "minutes"):
            frame[name], frame[f"{name}_low"], frame[f"{name}_high"] = pooled_means(self.done, "cell", name, between)
        for name in MEANS:
            frame[name] = groups[name].mean()
        frame["label"] = [self.label(dict(row)) for _, row in frame[list(self.factors)].iterrows()]
        return frame.sort_values("accuracy", ascending=False, kind="stable")

    @cached_property
    def best(self) -> list[str]:
        """Cells that cannot be told apart from the most accurate one, the best first; empty with one seed."""
        from sota_bench.report.verdicts import best_cells

        return best_cells(self) if self.seeds > 1 else []

    def label(self, levels: dict[str, str], skip: tuple[str, ...] = ()) -> str:
        """A cell in words: the factors that leave their baseline; ``baseline`` where none does."""
        parts = [
            f"{name} {level_text(levels[name])}"
            for name, all_levels in self.factors.items()
            if name not in skip and len(all_levels) > 1 and levels[name] != all_levels[0]
        ]
        return ", ".join(parts) or "baseline"

    def asks(self, *names: str) -> list[str]:
        """Those of ``names`` that are factors with more than one level."""
        return [name for name in names if len(self.factors.get(name, [])) > 1]


def records(frame: pd.DataFrame) -> list[Any]:
    """The rows as named tuples, without the index."""
    return list(frame.itertuples(index=False))


def labelled(frame: pd.DataFrame) -> list[tuple[Any, Any]]:
    """The rows as (index, row) pairs; the index is a tuple where it has several levels."""
    return list(frame.iterrows())


def pooled_means(
    frame: pd.DataFrame, by: str, value: str, between: Sequence[str] = ()
) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Group means with 95% t intervals from the standard deviation pooled over the groups.

    Args:
        frame: one row per observation.
        by: the column that makes a group.
        value: the column that is averaged.
        between: columns whose levels make a training; groups that share them add degrees of freedom once.

    Returns:
        Mean, low and high by group; low and high are NaN where no group has two observations.
    """
    from scipy.stats import t

    groups = frame.groupby(by, sort=False)[value]
    mean, count = groups.mean(), groups.count()
    free = (count - 1).clip(lower=0)
    total = int(free.sum())
    shared = frame.groupby(by, sort=False)[list(between)].first() if between else None
    df = total if shared is None else int(free.groupby([shared[name] for name in between]).max().sum())
    if df < 1:
        missing = mean * np.nan
        return mean, missing, missing
    squares = (groups.var(ddof=1) * (count - 1)).fillna(0).sum()
    margin = float(t.isf(0.025, df)) * np.sqrt(squares / total) / np.sqrt(count.clip(lower=1))
    return mean, mean - margin, mean + margin


def block_means(frame: pd.DataFrame, by: list[str], value: str, block: str = "seed") -> pd.DataFrame:
    """Mean of each group with a 95% t interval over blocks: first averaged within a block, then over blocks.

    Args:
        frame: one row per observation.
        by: the columns that make a group.
        value: the column that is averaged.
        block: the column of independent repetitions, the seed.

    Returns:
        Columns ``mean``, ``low``, ``high`` (NaN with one block) and ``n``, one row per group in order of appearance.
    """
    from scipy.stats import t

    means = frame.groupby([*by, block], sort=False)[value].mean().groupby(level=list(range(len(by))), sort=False)
    out = pd.DataFrame({"mean": means.mean(), "n": means.count()})
    margin = t.isf(0.025, (out["n"] - 1).clip(lower=1)) * means.std(ddof=1) / np.sqrt(out["n"])
    return out.assign(low=out["mean"] - margin, high=out["mean"] + margin)
