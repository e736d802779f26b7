"""Rows of what lies below a trial: evaluations, stages, epochs, confidence bins; and which images it had right."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from sota_bench.plan.plan import Plan
from sota_bench.report.rows import NAN, SCORES, ConfidenceBinRow, EpochRow, EvaluationRow, StageReportRow
from sota_bench.report.trial_rows import Results, step_times
from sota_bench.stages.results import StageResult, TrainResult
from sota_bench.store.ledger import StageRow


def evaluation_rows(plan: Plan, results: Results) -> list[EvaluationRow]:
    """One row per trial, phase, evaluation size and test-time augmentation that is done."""
    rows = []
    for trial in plan.trials:
        for evaluation in trial.evaluations:
            if evaluation.key in results:
                scores = results[evaluation.key].scores
                rows.append(
                    EvaluationRow(
                        trial=trial.trial.id,
                        phase=evaluation.phase,
                        train_size=evaluation.train_size,
                        size=evaluation.size,
                        task=evaluation.task,
                        tta=evaluation.views,
                        final=evaluation.final,
                        latency_ms=scores.latency_ms,
                        **{name: float(getattr(scores, name)) for name in SCORES},
                    )
                )
    return rows


def stage_rows(
    plan: Plan, results: Results, ledger: Mapping[str, StageRow], reused: Collection[str], why: Mapping[str, str]
) -> list[StageReportRow]:
    """One row per stage of a plan.

    Args:
        plan: what was asked for.
        results: stages that are done.
        ledger: what the store knows of each stage, by key.
        reused: keys that the last run found done.
        why: key -> why it ran or was reused.
    """
    rows = []
    for stage in plan.stages.values():
        result, row = results.get(stage.key), ledger.get(stage.key)
        failed = row is not None and row.status in ("failed", "blocked")
        rows.append(
            StageReportRow(
                key=stage.key,
                kind=stage.kind,
                title=stage.title,
                status="done" if result else row.status if row else "left",
                trials=len(stage.trials),
                reused=stage.key in reused,
                concurrent=result.concurrent if result else 0,
                why=why.get(stage.key, "done before" if result else "new"),
                started=row.started if row else "",
                error=row.reason if row and failed else "",
                notes=_notes(result.trained) if result and stage.kind == "train" else "",
                **(_measured(stage.kind, result) if result else {}),
            )
        )
    return rows


def _measured(kind: str, result: StageResult) -> dict[str, float]:
    """What a stage took, NaN where it did not measure it."""
    times, use = result.trained.step_ms if kind == "train" else None, result.use
    if kind == "train":
        rate = result.trained.images_per_s
    else:
        rate = result.evaluated.images_per_s if kind == "evaluate" else NAN
    return {
        **{f"{part}_s": result.seconds.get(part, 0.0) for part in ("prepare", "compile", "train", "evaluate")},
        "peak_memory_mb": result.peak_memory_mb,
        "images_per_s": rate,
        "first_step_ms": times.first if times else NAN,
        **step_times(times),
        **{name: _known(getattr(use, name)) for name in ("cpu_wait", "gpu_processes", "energy_j")},
    }


def _known(value: float | None) -> float:
    return NAN if value is None else float(value)


def _notes(trained: TrainResult) -> str:
    """What the techniques of a training did, and what the network saw, as JSON."""
    notes: dict[str, object] = {name: described for name, described in trained.techniques.items() if described}
    if trained.input is not None:
        notes["input"] = trained.input.to_json()
    if trained.steps_at_size:
        notes["steps_at_size"] = trained.steps_at_size
    return json.dumps(notes, sort_keys=True)


def epoch_rows(plan: Plan, results: Results) -> list[EpochRow]:
    """One row per trial and epoch."""
    return [
        EpochRow(trial=trial.trial.id, phase=phase, **record.to_json())
        for trial in plan.trials
        for phase, key in enumerate(trial.training)
        if key in results
        for record in results[key].trained.curve
    ]


def confidence_bin_rows(plan: Plan, results: Results) -> list[ConfidenceBinRow]:
    """One row per trial and confidence bin."""
    rows: list[ConfidenceBinRow] = []
    for trial in plan.trials:
        if trial.inapplicable is None and trial.final.key in results:
            columns = results[trial.final.key].scores.reliability.to_json()
            rows += [
                ConfidenceBinRow(trial=trial.trial.id, **dict(zip(columns, values, strict=True)))
                for values in zip(*columns.values(), strict=True)
            ]
    return rows
