"""From the store to tables: one row per trial, evaluation, stage and epoch, in the order of the plan."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sota_bench.grid.recipe import scope_of
from sota_bench.plan.plan import Plan
from sota_bench.registry import techniques
from sota_bench.report import stage_rows
from sota_bench.report.predictions import Predictions, per_image, predictions_of
from sota_bench.report.rows import ConfidenceBinRow, EpochRow, EvaluationRow, StageReportRow, TrialRow, to_frame
from sota_bench.report.run_notes import cpu_wait, run_notes
from sota_bench.report.run_record import (
    GridRecord,
    ImageCounts,
    MeasuredMinutes,
    PredictedMinutes,
    RunRecord,
    Sharing,
    Stopping,
    TrialCounts,
)
from sota_bench.report.samples import samples_of
from sota_bench.report.tables import RunTables, UsedTechnique
from sota_bench.report.trial_rows import ITERATION_PARTS, Results, trial_rows
from sota_bench.runs.entry import RunEntry
from sota_bench.runs.looks import LookHistory
from sota_bench.store import Store


class Collector:
    """Reads the results of one plan.

    Args:
        plan: what was asked for.
        store: what there is.
        entry: what the ledger keeps of the run; nothing by default.
    """

    def __init__(self, plan: Plan, store: Store, entry: RunEntry | None = None) -> None:
        self.plan, self.store, self.entry = plan, store, entry or RunEntry()

    @cached_property
    def results(self) -> Results:
        """Results of the stages that are done, damaged ones left out."""
        return {key: self.store.result(key) for key in self.plan.stages if self.store.is_done(key)}

    def trial_table(self) -> pd.DataFrame:
        """One row per trial; see ``rows.TrialRow``."""
        entry = self.entry
        predicted, alone = entry.predicted_minutes, entry.minutes_alone
        rows = trial_rows(self.plan, self.store, self.results, predicted, alone, entry.selected, self.predictions)
        return to_frame(rows, TrialRow)

    def per_image(self, response: str) -> dict[str, NDArray[Any]]:
        """Trial -> the numbers of single images whose mean is a response; empty where it is no such mean."""
        return per_image(self.predictions, response)

    @cached_property
    def predictions(self) -> dict[str, Predictions]:
        """What each trial says of the images that judge it; those whose predictions are gone are left out."""
        return predictions_of(self.plan, self.results, self.store)

    def tables(self) -> RunTables:
        """Everything that the report shows."""
        plan, results, entry = self.plan, self.results, self.entry
        trials = self.trial_table()
        stages = stage_rows.stage_rows(plan, results, self.store.rows(), frozenset(entry.reused), entry.why)
        return RunTables(
            run=self._run_record(trials),
            trials=trials,
            evaluations=to_frame(stage_rows.evaluation_rows(plan, results), EvaluationRow),
            stages=to_frame(stages, StageReportRow),
            curves=to_frame(stage_rows.epoch_rows(plan, results), EpochRow),
            reliability=to_frame(stage_rows.confidence_bin_rows(plan, results), ConfidenceBinRow),
            predictions=self.predictions,
            samples=samples_of(plan, self.store, results),
            techniques=self._used_techniques(),
            grid_text=plan.grid.text,
            looks=entry.looks if entry.looks and entry.looks.looks else None,
        )

    def _used_techniques(self) -> list[UsedTechnique]:
        grid = self.plan.grid
        return [
            UsedTechnique(technique.field, technique.card, technique.is_mitigation)
            for technique in techniques(grid.techniques).values()
            if any(technique.active(cell.recipe) for cell in grid.cells())
        ]

    def _run_record(self, trials: pd.DataFrame) -> RunRecord:
        plan, entry, grid = self.plan, self.entry, self.plan.grid
        alone, total = list(entry.minutes_alone.values()), entry.total_minutes
        results = list(self.results.values())
        data = {**grid.data.model_dump(mode="json"), "stored_size": plan.images.size}
        return RunRecord(
            name=grid.name,
            question=grid.question,
            source=plan.images.source.name,
            control=plan.images.source.control,
            grid=GridRecord(**{**grid.resolved(), "data": data}),
            within=[name for name in grid.factors if scope_of(type(grid.recipe), name) == "evaluate"],
            versions=dict(plan.environment.versions),
            device=dict(plan.environment.identity),
            precision=plan.environment.precision,
            data_digest=plan.images.manifest.digest,
            counts=TrialCounts(len(grid.cells()), len(trials), **Counter(map(str, trials["status"]))),
            goal_minutes=grid.minutes_per_iteration,
            predicted=_predicted_minutes(trials, total.predicted if total else None),
            measured=_measured_minutes(trials, total.measured if total else None),
            sharing=_sharing(plan, self.results, trials),
            images=_image_counts(plan),
            started=entry.started,
            git_commit=entry.git_commit,
            command=entry.command,
            workers=entry.workers,
            concurrent=any(result.concurrent > 1 for result in results),
            cpu_wait=cpu_wait(results),
            minutes_alone=float(np.median(alone)) if alone else None,
            cpu_wait_alone=entry.cpu_wait_alone,
            notes=run_notes(plan, results, trials),
            accumulated={
                str(trial): int(images)
                for trial, images in zip(trials["trial"], trials["micro_batch"], strict=True)
                if np.isfinite(images)
            },
            added_seeds=list(grid.added_seeds),
            confirmation=entry.confirmation,
            looks=entry.looks.looks if entry.looks else (),
            until_decided=_stopping(entry.looks),
        )


def _stopping(looks: LookHistory | None) -> Stopping | None:
    if looks is None or not looks.looks:
        return None
    return Stopping(looks.planned, looks.ended, looks.trainings, looks.fixed_trainings, looks.costs)


def _image_counts(plan: Plan) -> ImageCounts:
    account = plan.images.account
    return ImageCounts(
        **_split_sizes(plan),
        left_out=len(account.left_out_files),
        files=account.files,
        reasons=account.left_out,
        classes=account.classes,
        reading=account.notes,
        alarms=account.alarms,
    )


def _predicted_minutes(trials: pd.DataFrame, run_minutes: float | None) -> PredictedMinutes:
    predicted = trials["predicted_minutes"].dropna()
    both = trials[(trials["status"] == "done") & trials["predicted_minutes"].notna()]
    errors = (both["predicted_minutes"] - both["minutes"]).abs() / both["minutes"]
    return PredictedMinutes(_median(predicted), run_minutes, _median(errors))


def _measured_minutes(trials: pd.DataFrame, run_minutes: float | None) -> MeasuredMinutes:
    minutes = trials.loc[trials["status"] == "done", "minutes"]
    return MeasuredMinutes(_median(minutes), float(minutes.max()) if len(minutes) else None, run_minutes)


def _median(values: pd.Series) -> float | None:
    return float(values.median()) if len(values) else None


def _sharing(plan: Plan, results: Results, trials: pd.DataFrame) -> Sharing:
    """What sharing saved among the trials that the run was asked for."""
    asked = {str(trial) for trial in trials.loc[trials["status"] != "not_asked", "trial"]}
    epochs_asked = sum(trial.epochs for trial in plan.trials if trial.trial.id in asked)
    epochs_run = sum(stage.epochs for stage in plan.stages.values() if asked.intersection(stage.trials))
    stage_s = sum(result.seconds.get(part, 0.0) for result in results.values() for part in ITERATION_PARTS)
    return Sharing(
        epochs_asked=epochs_asked,
        epochs_run=epochs_run,
        factor=epochs_asked / max(1, epochs_run),
        minutes_alone=float(trials.loc[trials["status"] == "done", "minutes"].sum()),
        minutes_shared=stage_s / 60,
    )


def _split_sizes(plan: Plan) -> dict[str, int]:
    recipe = plan.grid.cells()[0].recipe
    return plan.images.subset(plan.images.choice(recipe, "main")).sizes()
