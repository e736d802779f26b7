"""One row per trial: what became of it, what it measured, what it cost, and what it shares with others."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from sota_bench.plan.plan import Plan, TrialPlan, TrialStatus
from sota_bench.report.accumulated import micro_batch
from sota_bench.stages.params import EvaluateParams
from sota_bench.stages.results import StageResult
from sota_bench.stages.stage import Stage
from sota_bench.stats.forgetting import forgetting

METRICS = ("accuracy", "nll", "ece", "brier", "confidence")
PARTS = ("prepare", "compile", "train", "evaluate")

Results = Mapping[str, StageResult]


def trial_row(
    plan: Plan,
    trial: TrialPlan,
    results: Results,
    ledger: Mapping[str, Any],
    minutes: Mapping[str, Mapping[str, float]],
    asked: bool = True,
) -> dict[str, Any]:
    """The row of one trial, but for what it shares; see ``RunTables.trials`` for the columns.

    Args:
        plan: that it belongs to.
        trial: the trial.
        results: stages that are done.
        ledger: what the store knows of each stage, by key.
        minutes: by column (``predicted_minutes``, ``minutes_alone``), known minutes by trial.
        asked: whether the run was to train it (``--only`` may leave it out).
    """
    status, error = _status(plan, trial, results, ledger, asked)
    row: dict[str, Any] = {"trial": trial.trial.id, "cell": trial.trial.cell.id}
    row |= trial.trial.cell.text | {"seed": trial.trial.seed, "status": status}
    done = status == "done"
    keys = [key for key in _keys(trial) if key in results] if trial.inapplicable is None else []
    final = results[trial.final.key].values if done else {}
    seconds = {part: sum(results[key].seconds.get(part, 0.0) for key in keys) for part in PARTS}
    trained = [results[key] for key in trial.training if key in results]
    iteration_s = seconds["train"] + seconds["compile"] + seconds["evaluate"]
    curve = trained[-1].values["curve"] if trained else []
    return row | {
        **{name: final.get(name, math.nan) for name in METRICS},
        "train_loss": curve[-1]["loss"] if curve else math.nan,
        "minutes": iteration_s / 60 if done else math.nan,
        **{name: known.get(trial.trial.id, math.nan) for name, known in minutes.items()},
        "train_s": seconds["train"] if keys else math.nan,
        "evaluate_s": seconds["evaluate"] if keys else math.nan,
        "compile_s": seconds["compile"] if keys else math.nan,
        "images_per_s": _rate(trained),
        "params": final.get("params", math.nan),
        "layers": final.get("layers", math.nan),
        "flops": final.get("flops", math.nan),
        "peak_memory_mb": max((results[key].peak_memory_mb for key in keys), default=math.nan),
        **step_times(trained[-1].values if trained else {}),
        "energy_j": _energy_j(trial, results) if done else math.nan,
        **retention(trial, results),
        "shared_epochs": sum(plan.stages[key].epochs for key in trial.training if len(plan.stages[key].trials) > 1),
        "epochs": trial.epochs,
        "micro_batch": micro_batch(trained),
        "judged_on": _judged_on(plan, trial),
        "error": error,
    }


def _judged_on(plan: Plan, trial: TrialPlan) -> str:
    """The first digits of the digest of the images that judge a trial, and of their labels."""
    return "" if trial.inapplicable is not None else _digest(plan.stages[trial.final.key])[:12]


def _digest(stage: Stage) -> str:
    return stage.params.data.digest if isinstance(stage.params, EvaluateParams) else ""


def shared_with(trials: Sequence[TrialPlan]) -> dict[str, str]:
    """Trial -> the first cell, in order, whose trial of the same seed has the same first training stage.

    Stages that all trials of a seed have in common, such as a base model, are passed over: the seed stands for them,
    and the next stage is where trainings part.
    """
    by_seed: dict[int, list[TrialPlan]] = {}
    for trial in trials:
        if trial.inapplicable is None:
            by_seed.setdefault(trial.trial.seed, []).append(trial)
    found = {}
    for members in by_seed.values():
        side_by_side = zip(*(trial.training for trial in members), strict=False)
        common = sum(1 for _ in takewhile(lambda stages: len(set(stages)) == 1, side_by_side))
        first: dict[tuple[str, ...], str] = {}
        for trial in members:
            stage = trial.training[common : common + 1]
            found[trial.trial.id] = first.setdefault(stage, trial.trial.cell.id)
    return found


def retention(trial: TrialPlan, results: Results) -> dict[str, float]:
    """Stability, plasticity and forgetting from R[phase, what was learned], NaN without a rise."""
    names = ("average_accuracy", "stability", "plasticity", "forgetting", "backward_transfer")
    nothing = dict.fromkeys(names, math.nan)
    if not any(phase.rise for phase in trial.phases):
        return nothing
    learned = dict[tuple[str, int], int]()
    for phase in trial.phases:
        learned.setdefault((phase.task, phase.size), phase.index)
    matrix = np.full((len(trial.phases), len(learned)), np.nan)
    places = list(learned)
    for evaluation in trial.evaluations:
        place = (evaluation.task, evaluation.size)
        if evaluation.views == "off" and place in learned and evaluation.key in results:
            matrix[evaluation.phase, places.index(place)] = results[evaluation.key].values["accuracy"]
    try:
        found = forgetting(matrix, list(learned.values()))
    except ValueError:  # an evaluation is missing
        return nothing
    values = {name: getattr(found, name.removesuffix("_accuracy")) for name in names}
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def step_times(values: Mapping[str, Any]) -> dict[str, float]:
    """Milliseconds of a training step: median and tails, NaN where a stage has none."""
    tail = values.get("step_ms", {})
    return {f"step_ms_{name}": tail.get(name, math.nan) for name in ("median", "p90", "p99")}


def _keys(trial: TrialPlan) -> tuple[str, ...]:
    """The stages that the iteration consists of: its training and its own evaluation."""
    return (*trial.computed, *trial.training, trial.final.key)


def _status(
    plan: Plan, trial: TrialPlan, results: Results, ledger: Mapping[str, Any], asked: bool
) -> tuple[TrialStatus, str]:
    if trial.inapplicable is not None:
        return "not_applicable", trial.inapplicable
    if trial.final.key in results:
        return "done", ""
    prepare = plan.stages[trial.final.key].parents["data"]
    for key in (prepare, *_keys(trial)):
        row = ledger.get(key)
        if key not in results and row is not None and row.status == "failed":
            own = plan.stages[key].kind in ("train", "evaluate")
            log = f" (log: {row.log})" if row.log else ""
            return ("failed" if own else "blocked"), f"{row.failure}: {row.reason}{log}"
    return ("blocked", "not run yet") if asked else ("not_asked", "")


def _energy_j(trial: TrialPlan, results: Results) -> float:
    """Joules of the training and its evaluation, NaN where a part of them is not known."""
    keys = (*trial.training, trial.final.key)
    known = [results[key].values.get("energy_j") if key in results else None for key in keys]
    return math.nan if None in known else float(sum(value or 0.0 for value in known))


def _rate(trained: Sequence[StageResult]) -> float:
    rates = [result.values["images_per_s"] for result in trained]
    return float(statistics.harmonic_mean(rates)) if rates and min(rates) > 0 else math.nan
