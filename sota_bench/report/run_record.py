"""The content of ``run.json``: what was asked, what made it, what it took, and what must be known to read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sota_bench.grid.pretrained import sentences
from sota_bench.plan.plan import Plan
from sota_bench.report import accumulated
from sota_bench.report.trial_rows import Results
from sota_bench.stages.results import StageResult

CONTENDED = 0.1
"""Share of the time waiting for a processor above which a run's minutes are marked."""


def run_record(plan: Plan, results: Results, trials: pd.DataFrame, about: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance and totals of a run.

    Args:
        plan: what was asked for.
        results: stages that are done.
        trials: the table of trials.
        about: what the ledger has of the run: ``started``, ``command``, ``workers``, minutes.
    """
    from sota_bench.grid.recipe import scope_of

    grid = plan.grid
    counts = trials["status"].value_counts()
    within = [name for name in grid.factors if scope_of(type(grid.recipe), name) == "evaluate"]
    alone = about.get("minutes_alone") or {}
    return {
        "name": grid.name,
        "question": grid.question,
        "source": plan.images.source.name,
        "control": plan.images.source.control,
        "grid": {
            **grid.resolved(),
            "recipe": grid.recipe.model_dump(mode="json"),
            "data": {**grid.data.model_dump(mode="json"), "stored_size": plan.images.size},
        },
        "within": within,
        "versions": dict(plan.environment.versions),
        "device": dict(plan.environment.identity),
        "precision": plan.environment.precision,
        "data_digest": plan.images.manifest.digest,
        "counts": {
            "cells": len(grid.cells()),
            "trials": len(trials),
            **{name: int(counts.get(name, 0)) for name in ("done", "failed", "blocked", "not_applicable")},
        },
        "goal_minutes": grid.minutes_per_iteration,
        **_minutes(plan, results, trials, about),
        "images": {**_split_sizes(plan), "left_out": len(plan.images.manifest.left_out)},
        "started": about.get("started", ""),
        "git_commit": about.get("git_commit", ""),
        "command": about.get("command", ""),
        "workers": about.get("workers", 1),
        "concurrent": any(result.concurrent > 1 for result in results.values()),
        "cpu_wait": _waited(results.values()),
        "minutes_alone": float(np.median(list(alone.values()))) if alone else None,
        "cpu_wait_alone": about.get("cpu_wait_alone"),
        "notes": [*accumulated.notes(trials), *_notes(plan, results)],
        "accumulated": trials.set_index("trial")["micro_batch"].dropna().astype(int).to_dict(),
        "added_seeds": list(grid.added_seeds),
        "confirmation": about.get("confirmation"),
    }


def _minutes(plan: Plan, results: Results, trials: pd.DataFrame, about: Mapping[str, Any]) -> dict[str, Any]:
    """What was predicted, what was measured, and what sharing saved."""
    minutes = trials.loc[trials["status"] == "done", "minutes"]
    predicted = trials["predicted_minutes"].dropna()
    parts = ("compile", "train", "evaluate")
    stage_s = sum(result.seconds.get(part, 0.0) for result in results.values() for part in parts)
    return {
        "predicted": {
            "iteration_minutes": float(np.median(predicted)) if len(predicted) else None,
            "run_minutes": about.get("predicted_run_minutes"),
            "median_error": _prediction_error(trials),
        },
        "measured": {
            "iteration_minutes_median": float(minutes.median()) if len(minutes) else None,
            "iteration_minutes_max": float(minutes.max()) if len(minutes) else None,
            "run_minutes": about.get("run_minutes"),
        },
        "sharing": {
            "epochs_asked": plan.epochs_asked,
            "epochs_run": plan.epochs_planned,
            "factor": plan.epochs_asked / max(1, plan.epochs_planned),
            "minutes_alone": float(minutes.sum()),
            "minutes_shared": stage_s / 60,
        },
    }


def _split_sizes(plan: Plan) -> dict[str, int]:
    recipe = plan.grid.cells()[0].recipe
    return plan.images.subset(plan.images.choice(recipe, "main")).sizes()


def _notes(plan: Plan, results: Results) -> list[str]:
    """What must be read before the numbers."""
    notes = []
    recipe = plan.grid.recipe
    waited = _waited(results.values())
    if waited is not None and waited > CONTENDED:
        notes.append(
            f"Other work kept the trainings waiting for a processor {100 * waited:.0f}% of the time: their "
            "minutes are longer than on an idle machine."
        )
    if any((result.values.get("gpu_processes") or 1) > 1 for result in results.values()):
        notes.append("Another process computed on the same GPU: minutes are longer than with the GPU alone.")
    if plan.grid.matched:
        from sota_bench.forecast.matched import sentence

        notes.append(sentence(plan.grid.match, plan.grid.matched))
    if plan.images.upsampled:
        sizes = ", ".join(f"{size} px" for size in plan.images.upsampled)
        notes.append(f"Trained or evaluated above the stored resolution: {sizes}. This adds pixels and no detail.")
    notes += sentences((cell.recipe for cell in plan.grid.cells()), plan.grid.file)
    if any(cell.recipe.weights for cell in plan.grid.cells()):
        notes.append(
            "Pretrained weights: images that the weights were trained on are no test of them. Most photographs of "
            "Imagenette's and Imagewoof's validation splits are ImageNet training photographs."
        )
    if not recipe.eval_size and "eval_size" not in plan.grid.factors:
        judged = sorted({trial.final.size for trial in plan.trials if trial.inapplicable is None})
        shown = " or ".join(f"{size} px" for size in judged)
        notes.append(f"Evaluated at {shown}: the last phase's size, since the grid does not set eval_size.")
    return notes


def _waited(results: Iterable[StageResult]) -> float | None:
    """Share of the training time in which no processor was free, None where the system does not say."""
    shares = [
        (result.values["cpu_wait"], result.seconds.get("train", 0.0))
        for result in results
        if result.values.get("cpu_wait") is not None
    ]
    seconds = sum(spent for _, spent in shares)
    return sum(share * spent for share, spent in shares) / seconds if seconds else None


def _prediction_error(trials: pd.DataFrame) -> float | None:
    """Median over the trials of |predicted - measured| / measured minutes."""
    both = trials[(trials["status"] == "done") & trials["predicted_minutes"].notna()]
    return (
        float(((both["predicted_minutes"] - both["minutes"]).abs() / both["minutes"]).median()) if len(both) else None
    )
