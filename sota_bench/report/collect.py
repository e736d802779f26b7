"""From the store to tables: one row per trial, evaluation, stage and epoch, in the order of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sota_bench.plan.plan import Plan
from sota_bench.registry import techniques
from sota_bench.report import stage_rows
from sota_bench.report.run_record import run_record
from sota_bench.report.samples import samples_of
from sota_bench.report.tables import RunTables
from sota_bench.report.trial_rows import shared_with, trial_row
from sota_bench.stages.results import StageResult
from sota_bench.store import Store


class Collector:
    """Reads the results of one plan.

    Args:
        plan: what was asked for.
        store: what there is.
        reused: keys that the last run found done.
        why: key -> why it ran or was reused.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        reused: frozenset[str] = frozenset(),
        why: Mapping[str, str] | None = None,
    ) -> None:
        self.plan, self.store = plan, store
        self.reused, self.why = reused, why or {}
        self.rows = store.rows()

    @cached_property
    def results(self) -> dict[str, StageResult]:
        """Results of the stages that are done, damaged ones left out."""
        return {key: self.store.result(key) for key in self.plan.stages if self.store.is_done(key)}

    def trial_table(self, about: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """One row per trial; see ``RunTables.trials``.

        Args:
            about: what the ledger has of the run, with the minutes that were predicted.
        """
        about = about or {}
        minutes = {name: about.get(name) or {} for name in ("predicted_minutes", "minutes_alone")}
        selected = about.get("selected")  # by --only; None for all
        frame = pd.DataFrame(
            [
                trial_row(
                    self.plan, trial, self.results, self.rows, minutes,
                    asked=selected is None or trial.trial.id in selected,
                )
                for trial in self.plan.trials
            ]
        )  # fmt: skip
        shared = shared_with(self.plan.trials)
        after = list(frame.columns).index("shared_epochs") + 1
        frame.insert(after, "shared_with", [shared.get(trial, "") for trial in frame["trial"]])
        return frame

    def predictions(self) -> dict[str, np.ndarray]:
        """Which images each trial has right, in one order for all trials with the same images."""
        return stage_rows.predictions(self.plan, self.results, self.store)

    def tables(self, about: Mapping[str, Any]) -> RunTables:
        """Everything that the report shows.

        Args:
            about: what the ledger has of the run itself (started, command, workers ...).
        """
        plan, results = self.plan, self.results
        trials = self.trial_table(about)
        known = techniques(plan.grid.techniques).values()
        used = [one for one in known if any(one.active(cell.recipe) for cell in plan.grid.cells())]
        return RunTables(
            run=run_record(plan, results, trials, about),
            trials=trials,
            evaluations=stage_rows.evaluations(plan, results),
            stages=stage_rows.stages(plan, results, self.rows, self.reused, self.why),
            curves=stage_rows.curves(plan, results),
            reliability=stage_rows.reliability(plan, results),
            predictions=self.predictions(),
            samples=samples_of(plan, self.store, results),
            cards={technique.field: technique.card.model_dump() for technique in used},
            grid_text=plan.grid.text,
        )
