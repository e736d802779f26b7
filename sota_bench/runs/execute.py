"""Runs a plan on an engine and enters the run in the ledger; what ``run``, ``confirm``, ``fidelity`` and ``verify``
have in common."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache

from sota_bench.engine.engines import engine_named
from sota_bench.engine.progress import ProgressView
from sota_bench.forecast.predict import Prediction, makespan_s
from sota_bench.plan.plan import Plan
from sota_bench.plan.recorded import plan_record
from sota_bench.plan.why import Reasons, to_run
from sota_bench.runs.entry import Minutes, RunEntry, total_minutes
from sota_bench.runs.history import earlier_minutes
from sota_bench.runs.provenance import command_line, git_commit
from sota_bench.stages.context import StageContext
from sota_bench.stages.stage import Stage
from sota_bench.store import Store


@dataclass(frozen=True)
class RunOptions:
    """How a plan is run.

    Attributes:
        workers: worker processes.
        engine: a key of ``engine.engines.ENGINES``.
        retry: whether failed stages are tried once more.
        fail_fast: stop at the first failure.
        disk_limit: bytes above which checkpoints that nothing needs are removed, or None.
        stall_s: seconds without progress after which a stage is stopped.
        checkpoint_s: seconds between checkpoints inside a phase.
        accumulate: whether steps that do not fit into memory are computed in smaller parts.
        memory_limit: bytes of a worker above which its stage is ended, or None.
    """

    workers: int = 1
    engine: str = "local"
    retry: bool = False
    fail_fast: bool = False
    disk_limit: int | None = None
    stall_s: float = 900.0
    checkpoint_s: float = 300.0
    accumulate: bool = True
    memory_limit: int | None = None


@dataclass(frozen=True)
class Execution:
    """How a run ended.

    Attributes:
        id: of the run in the ledger.
        entry: what the ledger keeps of it.
        interrupted: whether a signal ended it.
        failed: stages that failed or were blocked, also those that no trial's own accuracy needs.
    """

    id: int
    entry: RunEntry
    interrupted: bool
    failed: int


def execute(
    plan: Plan,
    store: Store,
    options: RunOptions,
    selected: Collection[str] | None = None,
    prediction: Prediction | None = None,
    name: str = "",
    alone: Prediction | None = None,
) -> Execution:
    """Run what is missing of a plan.

    Args:
        plan: what is asked for.
        store: held by the caller.
        options: how it is run.
        selected: ids of the trials to run; all by default.
        prediction: what it will take, for the time left and the ledger.
        name: under which the ledger remembers the run; the grid's by default.
        alone: what each trial takes as measured with nothing else running, for the ledger.
    """
    started, name = time.monotonic(), name or plan.grid.name
    stages = [
        _with_options(stage, options)
        for stage in plan.stages.values()
        if selected is None or not set(selected).isdisjoint(stage.trials)
    ]
    plan.images.manifest.save(plan.prepare_context.manifest)
    is_done, has_files = cache(store.is_done), cache(store.has_files)
    missing = set(to_run(plan.stages, is_done, has_files))
    reasons = Reasons(store.rows(), is_done, has_files)
    why = {key: reasons.why(stage, missing) for key, stage in plan.stages.items()}
    run_id = store.begin_run(name, str(plan.grid.out), command_line())
    earlier = earlier_minutes(store, name, plan)
    with ProgressView(
        stages,
        plan.grid.out / "run.log",
        predicted=prediction.stage_s if prediction else None,
        workers=options.workers,
        trials=selected,
    ) as view:
        summary = engine_named(options.engine)(
            stages,
            store,
            workers=min(options.workers, max(1, len(missing))),
            device=plan.environment.device,
            threads=plan.environment.threads,
            fail_fast=options.fail_fast,
            retry=[key for key in store.failed() if key in plan.stages] if options.retry else [],
            stall_s=options.stall_s,
            disk_limit=options.disk_limit,
            memory_limit_mb=None if options.memory_limit is None else options.memory_limit / 2**20,
            on_event=view,
        )
    left = to_run({stage.key: stage for stage in stages}, store.is_done, store.has_files)
    minutes = Minutes((time.monotonic() - started) / 60, _predicted_minutes(plan, prediction, options.workers, left))
    entry = RunEntry(
        started=store.runs()[-1].started,
        command=command_line(),
        git_commit=git_commit(),
        workers=options.workers,
        plan=plan_record(plan),
        selected=None if selected is None else tuple(sorted(selected)),
        ran=tuple(summary.ran),
        reused=tuple(sorted(set(plan.stages) - missing)),
        why=why,
        minutes=minutes,
        total_minutes=total_minutes([*earlier, *([minutes] if missing else [])]),
        predicted_minutes=prediction.trial_minutes if prediction else {},
        minutes_alone=alone.trial_minutes if alone else {},
        cpu_wait_alone=alone.cpu_wait if alone else None,
    )
    store.end_run(run_id, entry.to_json())
    return Execution(run_id, entry, summary.interrupted, len(summary.failed) + len(summary.blocked))


def must_plan_again(plan: Plan, store: Store) -> bool:
    """Whether files turned out not to decode: the next plan leaves them out and counts them."""
    row = store.row(plan.prepare.key)
    return row is not None and row.status == "failed" and row.failure == "plan again"


def _with_options(stage: Stage, options: RunOptions) -> Stage:
    """The stage with what the command's options say about how it is run."""
    if not isinstance(stage.context, StageContext):
        return stage
    context = replace(stage.context, checkpoint_s=options.checkpoint_s, accumulate=options.accumulate)
    return replace(stage, context=context)


def _predicted_minutes(plan: Plan, prediction: Prediction | None, workers: int, left: Sequence[str]) -> float | None:
    """Minutes that were predicted for what a command did: those of all that it had to do, less what is still left."""
    if prediction is None or prediction.run_minutes is None or not prediction.stage_s.keys() >= set(left):
        return None
    return max(0.0, prediction.run_minutes - makespan_s(plan, prediction.stage_s, workers, left) / 60)
