"""From the store to tables: one row per trial, evaluation, stage and epoch, in the order of the plan."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd

from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.plan.stage import Stage, StageResult
from sota_bench.registry import techniques
from sota_bench.report.samples import samples_of
from sota_bench.report.tables import RunTables
from sota_bench.stats.forgetting import forgetting
from sota_bench.store import Store

METRICS = ("accuracy", "nll", "ece", "brier", "confidence")
PARTS = ("prepare", "compile", "train", "evaluate")
CONTENDED = 0.1
"""Share of the time waiting for a processor above which a run's minutes are marked."""


class Collector:
    """Reads the results of one plan.

    Args:
        plan: what was asked for.
        store: what there is.
        predicted: predicted minutes by trial, where there is a prediction.
        reused: keys that the last run found done.
        why: key -> why it ran or was reused.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        predicted: Mapping[str, float] | None = None,
        reused: frozenset[str] = frozenset(),
        why: Mapping[str, str] | None = None,
    ) -> None:
        self.plan, self.store = plan, store
        self.predicted, self.reused, self.why = predicted or {}, reused, why or {}
        self.alone: Mapping[str, float] = {}
        self.rows = store.rows()

    @cached_property
    def results(self) -> dict[str, StageResult]:
        """Results of the stages that are done, damaged ones left out."""
        found = {}
        for key in self.plan.stages:
            if self.store.is_done(key):
                found[key] = self.store.result(key)
        return found

    @cached_property
    def _shared_with(self) -> dict[str, str]:
        """Trial -> the first cell, in order, whose trial of the same seed has the same first training stage.

        Stages that all trials of a seed have in common, such as a base model, are passed over: the seed stands for
        them, and the next stage is where trainings part.
        """
        by_seed: dict[int, list[TrialPlan]] = {}
        for trial in self.plan.trials:
            if trial.inapplicable is None:
                by_seed.setdefault(trial.trial.seed, []).append(trial)
        found = {}
        for trials in by_seed.values():
            side_by_side = zip(*(trial.training for trial in trials), strict=False)
            common = sum(1 for _ in takewhile(lambda stages: len(set(stages)) == 1, side_by_side))
            first: dict[tuple[str, ...], str] = {}
            for trial in trials:
                stage = trial.training[common : common + 1]
                found[trial.trial.id] = first.setdefault(stage, trial.trial.cell.id)
        return found

    def trial_table(self) -> pd.DataFrame:
        """One row per trial; see ``RunTables.trials``."""
        return pd.DataFrame([self._trial(trial) for trial in self.plan.trials])

    def tables(self, run: dict[str, Any]) -> RunTables:
        """Everything that the report shows.

        Args:
            run: what is known of the run itself (started, command, workers ...), completed here.
        """
        self.predicted = self.predicted or run.get("predicted_minutes", {})
        self.alone = run.get("minutes_alone", {})
        trials = self.trial_table()
        grid = self.plan.grid
        fields = {
            technique.field: technique.card.model_dump() for technique in self._techniques if self._used(technique)
        }
        return RunTables(
            run=self._run(run, trials),
            trials=trials,
            evaluations=self._evaluations(),
            stages=self._stages(),
            curves=self._curves(),
            reliability=self._reliability(),
            predictions=self.predictions(),
            samples=samples_of(self.plan, self.store, self.results),
            cards=fields,
            grid_text=grid.text,
        )

    @cached_property
    def _techniques(self) -> list[Any]:
        return list(techniques(self.plan.grid.techniques).values())

    def _used(self, technique: Any) -> bool:
        return any(technique.active(cell.recipe) for cell in self.plan.grid.cells())

    def _keys(self, trial: TrialPlan) -> tuple[str, ...]:
        """The stages that the iteration consists of: its training and its own evaluation."""
        return (*trial.computed, *trial.training, trial.final.key)

    def _status(self, trial: TrialPlan) -> tuple[str, str]:
        if trial.inapplicable is not None:
            return "not_applicable", trial.inapplicable
        if trial.final.key in self.results:
            return "done", ""
        prepare = self.plan.stages[trial.final.key].parents["data"]
        for key in (prepare, *self._keys(trial)):
            row = self.rows.get(key)
            if key not in self.results and row is not None and row.status == "failed":
                own = self.plan.stages[key].kind in ("train", "evaluate")
                return ("failed" if own else "blocked"), f"{row.failure}: {row.reason}" + (
                    f" (log: {row.log})" if row.log else ""
                )
        return "blocked", "not run yet"

    def _trial(self, trial: TrialPlan) -> dict[str, Any]:
        status, error = self._status(trial)
        row: dict[str, Any] = {"trial": trial.trial.id, "cell": trial.trial.cell.id}
        row |= trial.trial.cell.text | {"seed": trial.trial.seed, "status": status}
        done = status == "done"
        keys = [key for key in self._keys(trial) if key in self.results] if trial.inapplicable is None else []
        final = self.results[trial.final.key].values if done else {}
        seconds = {part: sum(self.results[key].seconds.get(part, 0.0) for key in keys) for part in PARTS}
        trained = [self.results[key] for key in trial.training if key in self.results]
        iteration_s = seconds["train"] + seconds["compile"] + seconds["evaluate"]
        row |= {name: final.get(name, math.nan) for name in METRICS}
        row |= {
            "train_loss": trained[-1].values["curve"][-1]["loss"]
            if trained and trained[-1].values["curve"]
            else math.nan,
            "minutes": iteration_s / 60 if done else math.nan,
            "predicted_minutes": self.predicted.get(trial.trial.id, math.nan),
            "minutes_alone": self.alone.get(trial.trial.id, math.nan),
            "train_s": seconds["train"] if keys else math.nan,
            "evaluate_s": seconds["evaluate"] if keys else math.nan,
            "compile_s": seconds["compile"] if keys else math.nan,
            "images_per_s": _rate(trained),
            "params": final.get("params", math.nan),
            "layers": final.get("layers", math.nan),
            "flops": final.get("flops", math.nan),
            "peak_memory_mb": max((self.results[key].peak_memory_mb for key in keys), default=math.nan),
            **_step_times(trained),
            "energy_j": _total([self.results[key].values.get("energy_j") for key in (*trial.training, trial.final.key)])
            if done
            else math.nan,
        }
        row |= self._retention(trial)
        row |= {
            "shared_epochs": sum(
                self.plan.stages[key].epochs for key in trial.training if len(self.plan.stages[key].trials) > 1
            ),
            "shared_with": self._shared_with.get(trial.trial.id, ""),
            "epochs": trial.epochs,
            "error": error,
        }
        return row

    def _retention(self, trial: TrialPlan) -> dict[str, float]:
        """Stability, plasticity and forgetting from R[phase, what was learned], NaN without a rise."""
        nothing = {"stability": math.nan, "plasticity": math.nan, "forgetting": math.nan, "backward_transfer": math.nan}
        if not any(phase.rise for phase in trial.phases):
            return nothing
        learned = dict[tuple[str, int], int]()
        for phase in trial.phases:
            learned.setdefault((phase.task, phase.size), phase.index)
        matrix = np.full((len(trial.phases), len(learned)), np.nan)
        places = list(learned)
        for evaluation in trial.evaluations:
            place = (evaluation.task, evaluation.size)
            if evaluation.views == "off" and place in learned and evaluation.key in self.results:
                value = self.results[evaluation.key].values["accuracy"]
                matrix[evaluation.phase, places.index(place)] = value
        try:
            found = forgetting(matrix, list(learned.values()))
        except ValueError:  # an evaluation is missing
            return nothing
        return {
            "stability": _number(found.stability),
            "plasticity": _number(found.plasticity),
            "forgetting": _number(found.forgetting),
            "backward_transfer": _number(found.backward_transfer),
        }

    def _evaluations(self) -> pd.DataFrame:
        columns = ("trial", "phase", "train_size", "size", "task", "tta", "final", *METRICS, "latency_ms")
        rows = []
        for trial in self.plan.trials:
            for evaluation in trial.evaluations:
                if evaluation.key in self.results:
                    values = self.results[evaluation.key].values
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

    def _stages(self) -> pd.DataFrame:
        rows = [self._stage(stage) for stage in self.plan.stages.values()]
        return pd.DataFrame(rows)

    def _stage(self, stage: Stage) -> dict[str, Any]:
        result, row = self.results.get(stage.key), self.rows.get(stage.key)
        failed = row is not None and row.status in ("failed", "blocked")
        status = "done" if result else row.status if row else "left"
        return {
            "key": stage.key,
            "kind": stage.kind,
            "title": stage.title,
            "status": status,
            "trials": len(stage.trials),
            "reused": stage.key in self.reused,
            "why": self.why.get(stage.key, "done before" if result else "new"),
            **{f"{part}_s": result.seconds.get(part, 0.0) if result else math.nan for part in PARTS},
            "peak_memory_mb": result.peak_memory_mb if result else math.nan,
            "concurrent": result.concurrent if result else 0,
            **_use(result),
            "started": row.started if row else "",
            "error": row.reason if row is not None and failed else "",
        }

    def _curves(self) -> pd.DataFrame:
        columns = ["trial", "phase", "epoch", "size", "loss", "lr", "images_per_s", "seconds"]
        rows = [
            {"trial": trial.trial.id, "phase": phase, **record}
            for trial in self.plan.trials
            for phase, key in enumerate(trial.training)
            if key in self.results
            for record in self.results[key].values["curve"]
        ]
        return pd.DataFrame(rows, columns=columns)

    def _reliability(self) -> pd.DataFrame:
        columns = ["low", "high", "count", "confidence", "accuracy"]
        frames = [
            pd.DataFrame(self.results[trial.final.key].values["reliability"]).assign(trial=trial.trial.id)
            for trial in self.plan.trials
            if trial.inapplicable is None and trial.final.key in self.results
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*columns, "trial"])

    def predictions(self) -> dict[str, np.ndarray]:
        """Which images each trial classified correctly, in one order for all trials with the same images."""
        from safetensors.numpy import load_file

        found: dict[str, np.ndarray] = {}
        by_key: dict[str, np.ndarray] = {}
        for trial in self.plan.trials:
            if trial.inapplicable is not None or trial.final.key not in self.results:
                continue
            key = trial.final.key
            file = self.store.folder(key) / "predictions.safetensors"
            if key not in by_key and file.exists():
                stored = load_file(file)
                by_key[key] = stored["log_probabilities"].argmax(axis=1) == stored["labels"]
            if key in by_key:
                found[trial.trial.id] = by_key[key]
        return found

    def _run(self, run: dict[str, Any], trials: pd.DataFrame) -> dict[str, Any]:
        plan, grid = self.plan, self.plan.grid
        counts = trials["status"].value_counts()
        minutes = trials.loc[trials["status"] == "done", "minutes"]
        predicted = [self.predicted[trial] for trial in trials["trial"] if trial in self.predicted]
        stage_s = sum(
            result.seconds.get(part, 0.0)
            for result in self.results.values()
            for part in ("compile", "train", "evaluate")
        )
        alone = float(minutes.sum())
        sizes = self._split_sizes()
        model = type(grid.recipe)
        within = [name for name in grid.factors if _scope(model, name) == "evaluate"]
        return {
            "name": grid.name,
            "question": grid.question,
            "source": plan.images.source.name,
            "control": plan.images.source.control,
            "grid": {
                **grid.resolved(),
                "recipe": self._baseline(),
                "data": {**grid.data.model_dump(mode="json"), "stored_size": plan.images.size},
            },
            "within": within,
            "versions": dict(plan.environment.versions),
            "device": dict(plan.environment.about),
            "precision": plan.environment.precision,
            "data_digest": plan.images.manifest.digest,
            "counts": {
                "cells": len(grid.cells()),
                "trials": len(trials),
                **{name: int(counts.get(name, 0)) for name in ("done", "failed", "blocked", "not_applicable")},
            },
            "goal_minutes": grid.minutes_per_iteration,
            "predicted": {
                "iteration_minutes": float(np.median(predicted)) if predicted else None,
                "run_minutes": run.get("predicted_run_minutes"),
                "median_error": _prediction_error(trials),
            },
            "measured": {
                "iteration_minutes_median": float(minutes.median()) if len(minutes) else None,
                "iteration_minutes_max": float(minutes.max()) if len(minutes) else None,
                "run_minutes": run.get("run_minutes"),
            },
            "sharing": {
                "epochs_asked": plan.epochs_asked,
                "epochs_run": plan.epochs_planned,
                "factor": plan.epochs_asked / max(1, plan.epochs_planned),
                "minutes_alone": alone,
                "minutes_shared": stage_s / 60,
            },
            "images": {**sizes, "left_out": len(plan.images.manifest.left_out)},
            "started": run.get("started", ""),
            "git_commit": run.get("git_commit", ""),
            "command": run.get("command", ""),
            "workers": run.get("workers", 1),
            "concurrent": any(result.concurrent > 1 for result in self.results.values()),
            "cpu_wait": _waited(self.results.values()),
            "minutes_alone": float(np.median(list(self.alone.values()))) if self.alone else None,
            "notes": self._notes(),
            "added_seeds": list(grid.added_seeds),
            "confirmation": run.get("confirmation"),
        }

    def _baseline(self) -> dict[str, Any]:
        return dict(self.plan.grid.recipe.model_dump(mode="json"))

    def _split_sizes(self) -> dict[str, int]:
        recipe = self.plan.grid.cells()[0].recipe
        return self.plan.images.subset(self.plan.images.choice(recipe, "main")).sizes()

    def _notes(self) -> list[str]:
        plan, notes = self.plan, []
        recipe = plan.grid.recipe
        waited = _waited(self.results.values())
        if waited is not None and waited > CONTENDED:
            notes.append(
                f"Other work kept the trainings waiting for a processor {100 * waited:.0f}% of the time: their "
                "minutes are longer than on an idle machine."
            )
        if any((result.values.get("gpu_processes") or 1) > 1 for result in self.results.values()):
            notes.append("Another process computed on the same GPU: minutes are longer than with the GPU alone.")
        if plan.grid.matched:
            from sota_bench.timing.matched import sentence

            notes.append(sentence(plan.grid.match, plan.grid.matched))
        if plan.images.upsampled:
            sizes = ", ".join(f"{size} px" for size in plan.images.upsampled)
            notes.append(f"Trained or evaluated above the stored resolution: {sizes}. This adds pixels and no detail.")
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


def _scope(model: Any, field: str) -> str:
    from sota_bench.grid.recipe import scope_of

    return scope_of(model, field)


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


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _step_times(trained: list[StageResult]) -> dict[str, float]:
    """Milliseconds of a step in the last phase, the dearest one as a rule: median and tails."""
    tail = trained[-1].values["step_ms"] if trained else {}
    return {f"step_ms_{name}": tail.get(name, math.nan) for name in ("median", "p90", "p99")}


def _use(result: StageResult | None) -> dict[str, float]:
    """What a stage measured about its own time, NaN where it did not."""
    values = result.values if result else {}
    found = {"images_per_s": values.get("images_per_s"), "first_step_ms": values.get("step_ms", {}).get("first")}
    found |= {f"step_ms_{name}": values.get("step_ms", {}).get(name) for name in ("median", "p90", "p99")}
    found |= {name: values.get(name) for name in ("cpu_wait", "gpu_processes", "energy_j")}
    return {name: math.nan if value is None else value for name, value in found.items()}


def _total(parts: list[float | None]) -> float:
    return math.nan if any(part is None for part in parts) else float(sum(part or 0.0 for part in parts))


def _rate(trained: list[StageResult]) -> float:
    rates = [result.values["images_per_s"] for result in trained]
    return float(statistics.harmonic_mean(rates)) if rates and min(rates) > 0 else math.nan
