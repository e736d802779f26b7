"""What every section asks of the tables: factors, finished trials, and one row per cell with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from sota_bench.report.answers import Answers
from sota_bench.report.run_record import RunRecord
from sota_bench.report.tables import RunTables
from sota_bench.responses import RESPONSES, Response, response_named
from sota_bench.stats import Analysis, best_set, pareto
from sota_bench.stats.balance import BalancedRows, balanced_rows
from sota_bench.stats.means import pooled_means
from sota_bench.stats.wording import join, level_name

MEANS = (
    "accuracy",
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
        answers: the analyses of its trials.
    """

    tables: RunTables
    answers: Answers

    @property
    def analysis(self) -> Analysis:
        """Of the response that ranks the cells."""
        return self.answers.first

    @cached_property
    def response(self) -> Response:
        """The response that ranks the cells: the first one that the grid asks about."""
        return response_named(self.analysis.overview.response)

    @property
    def run(self) -> RunRecord:
        """What is known of the run as a whole."""
        return self.tables.run

    @cached_property
    def factors(self) -> dict[str, list[str]]:
        """Levels by factor; the first level of each is the baseline."""
        return {name: [str(level) for level in levels] for name, levels in self.run.grid.factors.items()}

    @property
    def varied(self) -> list[str]:
        """Factors with more than one level."""
        return [name for name, levels in self.factors.items() if len(levels) > 1]

    @property
    def within(self) -> list[str]:
        """Factors that vary inside one training: test-time augmentation, evaluation size."""
        return [name for name in self.run.within if name in self.factors]

    @property
    def between(self) -> list[str]:
        """Factors that change the training itself."""
        return [name for name in self.factors if name not in self.within]

    @property
    def delta(self) -> float | None:
        """Smallest effect of interest on the response that ranks the cells, in its unit."""
        return self.analysis.overview.delta

    @cached_property
    def done(self) -> pd.DataFrame:
        """The trials that finished, with levels as text."""
        trials = self.tables.trials
        done = trials[trials["status"] == "done"].copy()
        for factor in self.factors:
            done[factor] = done[factor].astype(str)
        return done

    @cached_property
    def comparable(self) -> pd.DataFrame:
        """The finished trials that are judged on the same images as the baseline, or as the first one without it."""
        if self.done.empty:
            return self.done
        cell = self.done["cell"].iloc[0] if self.baseline is None else self.baseline
        own = self.done[self.done["cell"] == cell]  # on other images for each seed, where the grid varies the split
        return pd.DataFrame(self.done[self.done["judged_on"].isin(own["judged_on"])])

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
        """One row per cell with finished trials, indexed by cell, the best first.

        ``value`` is the mean of ``response`` over seeds, with ``value_low`` and ``value_high``: a 95% t interval whose
        standard deviation is pooled over all cells, because three seeds say little about a spread. Cells that are
        evaluations of the same trainings share their noise, so they count once in its degrees of freedom. ``minutes``
        is the mean, with the quickest and the slowest seed.
        """
        groups = self.done.groupby("cell", sort=False)
        frame = groups[list(self.factors)].first()
        frame["n"] = groups.size()
        for column, response in (("value", self.response), ("quality", self.quality)):
            means = pooled_means(self.done, "cell", response.name, self.between, response.bounded)
            for suffix, name in (("", "mean"), ("_low", "low"), ("_high", "high")):
                frame[column + suffix] = means[name]
        for name, statistic in (("minutes", "mean"), ("minutes_low", "min"), ("minutes_high", "max")):
            frame[name] = groups["minutes"].agg(statistic)
        for name in MEANS:
            frame[name] = groups[name].mean()
        frame["label"] = [self.label(dict(row)) for _, row in frame[list(self.factors)].iterrows()]
        return frame.sort_values("value", ascending=not self.response.higher_is_better, kind="stable")

    @property
    def comparable_cells(self) -> pd.DataFrame:
        """Those of ``cells`` that are judged as the baseline is."""
        return self.cells[self.cells.index.isin(self.comparable["cell"])]

    @cached_property
    def best(self) -> list[str]:
        """Cells that cannot be told apart from the best one, the best first; empty with one seed."""
        if self.seeds < 2:
            return []
        response = self.response
        table = best_set(
            self.comparable,
            response=response.name,
            cell="cell",
            within=self.within,
            predictions=self.tables.per_image(response.name),
            scope=self.run.grid.scope,
            higher_is_better=response.higher_is_better,
        )
        return [str(cell) for cell in table.loc[table["in_best_set"], "cell"]]

    @cached_property
    def constant_guess(self) -> tuple[float, str] | None:
        """The value of the response that the best answer without looking at an image has, and what that answer is; None
        where there is no such answer, or nothing was predicted."""
        stored = (self.tables.predictions.get(str(trial)) for trial in self.comparable["trial"])
        predictions = next((each for each in stored if each is not None), None)
        return None if predictions is None else predictions.constant_guess(self.response.name)

    @property
    def quality(self) -> Response:
        """What is weighed against time: the response that ranks the cells, or accuracy where that is time itself."""
        return RESPONSES["accuracy"] if self.response.name == "minutes" else self.response

    @cached_property
    def front(self) -> list[str]:
        """Cells that no other cell beats in both mean minutes and ``quality``, from the quickest to the slowest."""
        cells = self.comparable_cells
        front = cells[pareto(cells["minutes"], cells["quality"] * (1 if self.quality.higher_is_better else -1))]
        return [str(cell) for cell in front.sort_values("minutes", kind="stable").index]

    def balanced(self, frame: pd.DataFrame, by: Sequence[str], moving: Sequence[str]) -> BalancedRows:
        """The rows of ``frame`` that may be averaged by ``by``; see ``stats.balance``. A fractional design is balanced
        as a whole."""
        if self.analysis.overview.fractional:
            return BalancedRows(frame, tuple(name for name in self.varied if name not in moving), {})
        return balanced_rows(frame, by, self.factors, moving)

    def averaged_over(self, balanced: BalancedRows) -> str:
        """One sentence for a caption: over what a mean is taken, and what is left out."""
        restricted: Mapping[str, Sequence[str]] = balanced.restricted or {}
        if not restricted:
            text = "Mean over the other factors and seeds" if balanced.averaged else "Mean over seeds"
        elif all(list(levels) == self.factors[name][:1] for name, levels in restricted.items()):
            text = f"Mean with {join(list(restricted))} at {'its' if len(restricted) == 1 else 'their'} baseline"
        else:
            where = [f"{name} {' or '.join(map(level_name, levels))}" for name, levels in restricted.items()]
            text = f"Mean over settings with {join(where)}"
        if restricted or not balanced.complete:
            text += ", where all compared levels were measured"
        if balanced.left_out:
            names = [" ".join(level_name(part) for part in key) for key in balanced.left_out]
            text += f". Not shown, because no setting has it beside the others: {join(names)}"
        return text + "."

    def label(self, levels: Mapping[str, str]) -> str:
        """A cell in words: the factors that leave their baseline; ``baseline`` where none does."""
        parts = [f"{name} {level_name(levels[name])}" for name in self.varied if levels[name] != self.factors[name][0]]
        return ", ".join(parts) or "baseline"
