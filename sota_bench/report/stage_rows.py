"""Tables of what lies below a trial: evaluations, stages, epochs, confidence bins; and which images it had right."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sota_bench.plan.plan import Plan
from sota_bench.report.trial_rows import METRICS, PARTS, Results, step_times
from sota_bench.stages.results import StageResult
from sota_bench.stages.stage import Stage
from sota_bench.store import DamagedArtifact, MissingArtifact, Store


def evaluations(plan: Plan, results: Results) -> pd.DataFrame:
    """One row per trial, phase, evaluation size and test-time augmentation; see ``RunTables.evaluations``."""
    columns = ("trial", "phase", "train_size", "size", "task", "tta", "final", *METRICS, "latency_ms")
    rows = []
    for trial in plan.trials:
        for evaluation in trial.evaluations:
            if evaluation.key in results:
                values = results[evaluation.key].values
                row = {
                    "trial": trial.trial.id,
                    "phase": evaluation.phase,
                    "train_size": evaluation.train_size,
                    "size": evaluation.size,
                    "task": evaluation.task,
                    "tta": evaluation.views,
                    "final": evaluation.final,
                }
                rows.append(row | {name: values[name] for name in (*METRICS, "latency_ms")})
    return pd.DataFrame(rows, columns=list(columns))


def stages(
    plan: Plan, results: Results, ledger: Mapping[str, Any], reused: Collection[str], why: Mapping[str, str]
) -> pd.DataFrame:
    """One row per stage; see ``RunTables.stages``.

    Args:
        plan: what was asked for.
        results: stages that are done.
        ledger: what the store knows of each stage, by key.
        reused: keys that the last run found done.
        why: key -> why it ran or was reused.
    """
    rows = []
    for stage in plan.stages.values():
        result = results.get(stage.key)
        said = why.get(stage.key, "done before" if result else "new")
        rows.append(_stage(stage, result, ledger.get(stage.key), stage.key in reused, said))
    return pd.DataFrame(rows)


def _stage(stage: Stage, result: StageResult | None, row: Any, reused: bool, why: str) -> dict[str, Any]:
    failed = row is not None and row.status in ("failed", "blocked")
    return {
        "key": stage.key,
        "kind": stage.kind,
        "title": stage.title,
        "status": "done" if result else row.status if row else "left",
        "trials": len(stage.trials),
        "reused": reused,
        "why": why,
        **{f"{part}_s": result.seconds.get(part, 0.0) if result else math.nan for part in PARTS},
        "peak_memory_mb": result.peak_memory_mb if result else math.nan,
        "concurrent": result.concurrent if result else 0,
        **_use(result.values if result else {}),
        "started": row.started if row else "",
        "notes": _notes(result.values) if result and stage.kind == "train" else "",
        "error": row.reason if failed else "",
    }


def _notes(values: Mapping[str, Any]) -> str:
    """What the techniques of a training did, and what the network saw, as JSON."""
    found = {name: said for name, said in values.get("techniques", {}).items() if said}
    found |= {name: values[name] for name in ("input", "steps_at_size") if values.get(name)}
    return json.dumps(found, sort_keys=True)


def _use(values: Mapping[str, Any]) -> dict[str, float]:
    """What a stage measured about its own time, NaN where it did not."""
    found = {"images_per_s": values.get("images_per_s"), "first_step_ms": values.get("step_ms", {}).get("first")}
    found |= step_times(values) | {name: values.get(name) for name in ("cpu_wait", "gpu_processes", "energy_j")}
    return {name: math.nan if value is None else value for name, value in found.items()}


def curves(plan: Plan, results: Results) -> pd.DataFrame:
    """One row per trial and epoch; see ``RunTables.curves``."""
    columns = ["trial", "phase", "epoch", "size", "loss", "lr", "images_per_s", "seconds"]
    rows = [
        {"trial": trial.trial.id, "phase": phase, **record}
        for trial in plan.trials
        for phase, key in enumerate(trial.training)
        if key in results
        for record in results[key].values["curve"]
    ]
    return pd.DataFrame(rows, columns=columns)


def reliability(plan: Plan, results: Results) -> pd.DataFrame:
    """One row per trial and confidence bin; see ``RunTables.reliability``."""
    rows = [
        {**record, "trial": trial.trial.id}
        for trial in plan.trials
        if trial.inapplicable is None and trial.final.key in results
        for record in _records(results[trial.final.key].values["reliability"])
    ]
    return pd.DataFrame(rows, columns=["low", "high", "count", "confidence", "accuracy", "trial"])


def _records(columns: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def predictions(plan: Plan, results: Results, store: Store) -> dict[str, np.ndarray]:
    """Which images each trial has right, in one order for all trials with the same images.

    Trials whose predictions are gone or damaged are left out.
    """
    from safetensors.numpy import load_file

    found: dict[str, np.ndarray] = {}
    by_key: dict[str, np.ndarray | None] = {}
    for trial in plan.trials:
        if trial.inapplicable is not None or trial.final.key not in results:
            continue
        key = trial.final.key
        if key not in by_key:
            try:
                stored = load_file(store.checked_file(key, "predictions.safetensors"))
                by_key[key] = stored["log_probabilities"].argmax(axis=1) == stored["labels"]
            except (MissingArtifact, DamagedArtifact, KeyError):
                by_key[key] = None
        correct = by_key[key]
        if correct is not None:
            found[trial.trial.id] = correct
    return found
