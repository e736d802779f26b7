"""One row per trial: what became of it, what it measured, what it cost, and what it shares with others."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np

from sota_bench.grid import Cell, Grid
from sota_bench.plan.plan import Plan, TrialPlan, TrialStatus
from sota_bench.report.predictions import Predictions
from sota_bench.report.rows import NAN, SCORES, TrialRow
from sota_bench.responses import RECALL, response_named
from sota_bench.stages.params import EvaluateParams
from sota_bench.stages.results import StageResult, StepTimes, TrainResult
from sota_bench.stats.forgetting import forgetting
from sota_bench.store import Store
from sota_bench.store.ledger import StageRow

Results = Mapping[str, StageResult]
ITERATION_PARTS = ("compile", "train", "evaluate")
"""Parts of a stage's seconds that the minutes of an iteration count."""

RETENTION = ("average_accuracy", "stability", "plasticity", "forgetting", "backward_transfer")


def trial_rows(
    plan: Plan,
    store: Store,
    results: Results,
    predicted: Mapping[str, float],
    alone: Mapping[str, float],
    selected: Collection[str] | None = None,
    predictions: Mapping[str, Predictions] | None = None,
) -> list[TrialRow]:
    """The rows of all trials of a plan, in its order.

    Args:
        plan: what was asked for.
        store: what became of its stages.
        results: stages that are done.
        predicted: minutes by trial, as predicted before the run.
        alone: minutes by trial, as measured with nothing else running.
        selected: trials that the run was asked for; None for all.
        predictions: what trials say of the images that judge them; none by default.
    """
    classes = [name for response in plan.grid.response if (name := response_named(response).class_name)]
    ledger, shared = store.rows(), shared_with(plan.trials)
    rows = []
    for trial in plan.trials:
        name = trial.trial.id
        status, error = _status(plan, trial, results, store, ledger, selected)
        done = status == "done"
        keys = [key for key in _iteration_keys(trial) if key in results] if trial.inapplicable is None else []
        seconds = {part: sum(results[key].seconds.get(part, 0.0) for key in keys) for part in ITERATION_PARTS}
        recalls = predictions[name].recalls if predictions and name in predictions else {}
        balanced = {"balanced_accuracy": statistics.fmean(recalls.values())} if recalls else {}
        trained = [results[key].trained for key in trial.training if key in results]
        measured = {part: spent if keys else NAN for part, spent in seconds.items()}
        rows.append(
            TrialRow(
                trial=name,
                cell=trial.trial.cell.id,
                levels=trial.trial.cell.text,
                seed=trial.trial.seed,
                status=status,
                error=error,
                minutes=sum(seconds.values()) / 60 if done else NAN,
                predicted_minutes=predicted.get(name, NAN),
                minutes_alone=alone.get(name, NAN),
                train_s=measured["train"],
                evaluate_s=measured["evaluate"],
                compile_s=measured["compile"],
                train_loss=trained[-1].curve[-1].loss if trained and trained[-1].curve else NAN,
                images_per_s=_images_per_s(trained),
                peak_memory_mb=max((results[key].peak_memory_mb for key in keys), default=NAN),
                energy_j=_energy_j(trial, results) if done else NAN,
                shared_epochs=sum(
                    plan.stages[key].epochs for key in trial.training if len(plan.stages[key].trials) > 1
                ),
                shared_with=shared.get(name, ""),
                epochs=trial.epochs,
                micro_batch=micro_batch(trained),
                fraction_runs=fraction_runs(plan.grid, trial.trial.cell),
                judged_on=_judged_on(plan, trial),
                recalls={f"{RECALL}{of_class}": recalls.get(of_class, NAN) for of_class in classes},
                **(_final_scores(results[trial.final.key]) | balanced if done else {}),
                **step_times(trained[-1].step_ms if trained else None),
                **retention(trial, results),
            )
        )
    return rows


def fraction_runs(grid: Grid, cell: Cell) -> float:
    """How many runs of a fractional design a cell stands for, NaN in other designs."""
    return float(grid.layout.runs(grid.factors, cell.levels)) if grid.design == "fractional" else NAN


def _final_scores(result: StageResult) -> dict[str, float]:
    """The columns of the evaluation that a trial's accuracy is from."""
    evaluated = result.evaluated
    return {name: float(getattr(evaluated, name)) for name in (*SCORES, "params", "layers", "flops")}


def _judged_on(plan: Plan, trial: TrialPlan) -> str:
    """The first digits of the digest of the images that judge a trial, and of their labels."""
    if trial.inapplicable is not None:
        return ""
    params = plan.stages[trial.final.key].params
    return params.data.digest[:12] if isinstance(params, EvaluateParams) else ""


def shared_with(trials: Sequence[TrialPlan]) -> dict[str, str]:
    """Trial -> the first cell, in order, whose trial of the same seed has the same first training stage.

    Stages that all trials of a seed have in common, such as a base model, are passed over: the seed stands for them,
    and the next stage is where trainings part.
    """
    by_seed: dict[int, list[TrialPlan]] = {}
    for trial in trials:
        if trial.inapplicable is None:
            by_seed.setdefault(trial.trial.seed, []).append(trial)
    first_cells = {}
    for members in by_seed.values():
        side_by_side = zip(*(trial.training for trial in members), strict=False)
        common = sum(1 for _ in takewhile(lambda stages: len(set(stages)) == 1, side_by_side))
        first: dict[tuple[str, ...], str] = {}
        for trial in members:
            stage = trial.training[common : common + 1]
            first_cells[trial.trial.id] = first.setdefault(stage, trial.trial.cell.id)
    return first_cells


def retention(trial: TrialPlan, results: Results) -> dict[str, float]:
    """Stability, plasticity and forgetting from R[phase, what was learned], NaN without a rise."""
    missing = dict.fromkeys(RETENTION, math.nan)
    if not any(phase.rise for phase in trial.phases):
        return missing
    learned = dict[tuple[str, int], int]()
    for phase in trial.phases:
        learned.setdefault((phase.task, phase.size), phase.index)
    matrix = np.full((len(trial.phases), len(learned)), np.nan)
    columns = {tested: column for column, tested in enumerate(learned)}
    for evaluation in trial.evaluations:
        column = columns.get((evaluation.task, evaluation.size))
        if evaluation.views == "off" and column is not None and evaluation.key in results:
            matrix[evaluation.phase, column] = results[evaluation.key].scores.accuracy
    try:
        measures = forgetting(matrix, list(learned.values()))
    except ValueError:  # an evaluation is missing
        return missing
    values = {name: getattr(measures, name.removesuffix("_accuracy")) for name in RETENTION}
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def step_times(times: StepTimes | None) -> dict[str, float]:
    """Milliseconds of a training step: median and tails, NaN where a stage has none."""
    names = ("median", "p90", "p99")
    return {f"step_ms_{name}": NAN if times is None else float(getattr(times, name)) for name in names}


def micro_batch(trained: Iterable[TrainResult]) -> float:
    """Images of the smallest part that the phases of a trial were computed in; NaN where each batch was one."""
    return min((float(phase.accumulated.micro_batch) for phase in trained if phase.accumulated), default=math.nan)


def _iteration_keys(trial: TrialPlan) -> tuple[str, ...]:
    """The stages that the iteration consists of: its training and its own evaluation."""
    return (*trial.computed, *trial.training, trial.final.key)


def _status(
    plan: Plan,
    trial: TrialPlan,
    results: Results,
    store: Store,
    ledger: Mapping[str, StageRow],
    selected: Collection[str] | None,
) -> tuple[TrialStatus, str]:
    """What became of a trial, and why there is no result."""
    if trial.inapplicable is not None:
        return "not_applicable", trial.inapplicable
    if trial.final.key in results:
        return "done", ""
    prepare = plan.stages[trial.final.key].parents["data"]
    for key in (prepare, *_iteration_keys(trial)):
        row = ledger.get(key)
        if key not in results and row is not None and row.status == "failed":
            own = plan.stages[key].kind in ("train", "evaluate")
            log = f" (log: {store.shown_log(Path(row.log).stem)})" if row.log else ""
            return ("failed" if own else "blocked"), f"{row.failure}: {row.reason}{log}"
    if selected is not None and trial.trial.id not in selected:
        return "not_asked", "left out by --only"
    return "blocked", "not run yet"


def _energy_j(trial: TrialPlan, results: Results) -> float:
    """Joules of the training and its evaluation, NaN where a part of them is not known."""
    keys = (*trial.training, trial.final.key)
    joules = [results[key].use.energy_j if key in results else None for key in keys]
    return math.nan if None in joules else float(sum(value or 0.0 for value in joules))


def _images_per_s(trained: Sequence[TrainResult]) -> float:
    rates = [phase.images_per_s for phase in trained]
    return float(statistics.harmonic_mean(rates)) if rates and min(rates) > 0 else math.nan
