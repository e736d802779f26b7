"""Runs a plan on the engine and enters it in the ledger; what ``run`` and ``confirm`` have in common."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from sota_bench.forecast.predict import Prediction, makespan_s
from sota_bench.plan.plan import Plan
from sota_bench.plan.recorded import plan_record
from sota_bench.processes import output_of
from sota_bench.stages.context import StageContext
from sota_bench.stages.stage import Stage
from sota_bench.store import Store


@dataclass(frozen=True)
class EngineOptions:
    """How a plan is run.

    Attributes:
        workers: worker processes.
        retry: whether failed stages are tried once more.
        fail_fast: stop at the first failure.
        disk_limit: bytes above which checkpoints that nothing needs are removed, or None.
        stall_s: seconds without progress after which a stage is stopped.
        checkpoint_s: seconds between checkpoints inside a phase.
        accumulate: whether steps that do not fit into memory are computed in smaller parts.
        memory_limit: bytes of a worker above which its stage is ended, or None.
    """

    workers: int
    retry: bool = False
    fail_fast: bool = False
    disk_limit: int | None = None
    stall_s: float = 900.0
    checkpoint_s: float = 300.0
    accumulate: bool = True
    memory_limit: int | None = None


@dataclass(frozen=True)
class Execution:
    """What a run left.

    Attributes:
        run: its id in the ledger.
        about: its record in the ledger: minutes, command, commit, workers, start, reused keys, and why each stage ran.
        interrupted: whether a signal ended it.
        failed: stages that failed or were blocked, also those that no trial's own accuracy needs.
    """

    run: int
    about: dict[str, Any]
    interrupted: bool
    failed: int


def command_line() -> str:
    """This command, as it can be given again; what is not UTF-8, and no ledger can hold, is escaped."""
    return shlex.join(["python", "-m", "sota_bench", *sys.argv[1:]]).encode(errors="backslashreplace").decode()


def execute(
    plan: Plan,
    shelf: Store,
    options: EngineOptions,
    selected: set[str] | None = None,
    prediction: Prediction | None = None,
    name: str = "",
    alone: Prediction | None = None,
) -> Execution:
    """Runs what is missing of a plan. The store is held by the caller.

    Args:
        plan: what is asked for.
        shelf: the store.
        options: how.
        selected: ids of the trials to run; all by default.
        prediction: what it will take, for the time left and the record.
        name: under which the ledger remembers the run; the grid's by default.
        alone: what each trial takes as measured with nothing else running, for the record.
    """
    from sota_bench.engine.progress import ProgressView
    from sota_bench.engine.run_stages import run_stages
    from sota_bench.plan.why import Reasons, to_run

    started, grid = time.monotonic(), plan.grid
    stages = [
        _with_options(stage, options)
        for stage in plan.stages.values()
        if selected is None or selected.intersection(stage.trials)
    ]
    plan.images.manifest.save(plan.prepare_context.manifest)
    is_done, has_files = cache(shelf.is_done), cache(shelf.has_files)
    missing = set(to_run(plan.stages, is_done, has_files))
    reasons = Reasons(shelf.rows(), is_done, has_files)
    why = {key: reasons.why(stage, missing) for key, stage in plan.stages.items()}
    run = shelf.begin_run(name or grid.name, str(grid.out), command_line())
    earlier = _earlier_parts(shelf, name or grid.name, set(plan.stages))
    again = [key for key in shelf.failed() if key in plan.stages] if options.retry else []
    predicted = prediction.stage_s if prediction else None
    with ProgressView(stages, grid.out / "run.log", predicted=predicted, workers=options.workers) as view:
        summary = run_stages(
            stages,
            shelf,
            workers=min(options.workers, max(1, len(missing))),
            device=plan.environment.device,
            threads=plan.environment.threads,
            fail_fast=options.fail_fast,
            retry=again,
            stall_s=options.stall_s,
            disk_limit=options.disk_limit,
            memory_limit_mb=None if options.memory_limit is None else options.memory_limit / 2**20,
            on_event=view,
        )
    left = to_run({stage.key: stage for stage in stages}, shelf.is_done, shelf.has_files)
    foretold = _foretold(plan, prediction, options.workers, left)
    spent = {"measured": (time.monotonic() - started) / 60, "predicted": foretold}
    parts = [*earlier, *([spent] if missing else [])]
    about = {
        "parts": parts,
        "run_minutes": _total(parts, "measured"),
        "git_commit": git_commit(),
        "command": command_line(),
        "workers": options.workers,
        "selected": None if selected is None else sorted(selected),
        "started": shelf.runs()[-1]["started"],
        "reused": sorted(set(plan.stages) - missing),
        "why": why,
        **plan_record(plan),
        "predicted_minutes": prediction.trial_minutes if prediction else {},
        "predicted_run_minutes": _total(parts, "predicted"),
        "minutes_alone": alone.trial_minutes if alone else {},
        "cpu_wait_alone": alone.cpu_wait if alone else None,
    }
    shelf.end_run(run, about)
    return Execution(run, about, summary.interrupted, len(summary.failed) + len(summary.blocked))


def _with_options(stage: Stage, options: EngineOptions) -> Stage:
    """The stage with what the command's options say about how it is run."""
    if not isinstance(stage.context, StageContext):
        return stage
    context = replace(stage.context, checkpoint_s=options.checkpoint_s, accumulate=options.accumulate)
    return replace(stage, context=context)


def must_plan_again(plan: Plan, shelf: Store) -> bool:
    """Whether files turned out not to decode: the next plan leaves them out and counts them."""
    prepare = next(key for key, stage in plan.stages.items() if stage.kind == "prepare")
    row = shelf.row(prepare)
    return row is not None and row.status == "failed" and row.failure == "plan again"


def _earlier_parts(shelf: Store, name: str, keys: set[str]) -> list[dict[str, Any]]:
    """Minutes of the earlier commands that trained a part of this plan: a run that was interrupted or extended is their
    sum, and one that is answered from the store took what it took then."""
    for row in reversed(shelf.runs()):
        if row["grid"] == name and keys.intersection(row["summary"].get("keys", {}).values()):
            return list(row["summary"].get("parts", []))
    return []


def _foretold(plan: Plan, prediction: Prediction | None, workers: int, left: Sequence[str]) -> float | None:
    """Minutes that were predicted for what a command did: those of all that it had to do, less what is still left."""
    if prediction is None or prediction.run_minutes is None or not prediction.stage_s.keys() >= set(left):
        return None
    return max(0.0, prediction.run_minutes - makespan_s(plan, prediction.stage_s, workers, left) / 60)


def _total(parts: Sequence[Mapping[str, Any]], what: str) -> float | None:
    """The sum over all parts; None where one of them is unknown."""
    values = [part[what] for part in parts]
    return None if not values or None in values else sum(values)


def confirmed_name(grid: str) -> str:
    """Under which the ledger remembers the confirmation of a grid."""
    return f"{grid}, confirmed"


def recorded_runs(shelf: Store, name: str) -> Iterator[dict[str, Any]]:
    """What the runs of that name recorded about themselves, the last one first."""
    for row in reversed(shelf.runs()):
        if row["grid"] == name and row["summary"]:
            yield {**row["summary"], "started": row["started"]}


def with_confirmation(shelf: Store, name: str, about: dict[str, Any]) -> dict[str, Any]:
    """A run's record with the outcome of the last confirmation of its winner, if there was one."""
    confirmed = next(recorded_runs(shelf, confirmed_name(name)), {})
    return {**about, "confirmation": confirmed.get("confirmation")}


def git_commit() -> str:
    """The commit of the checkout that this code runs from, with ``+`` where it is changed; "" outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    git = ["git", "-C", str(root)]
    commit = output_of([*git, "rev-parse", "HEAD"], timeout_s=10) or ""
    changed = output_of([*git, "status", "--porcelain", "-uno"], timeout_s=10) or ""
    return commit.strip()[:12] + ("+" if commit and changed.strip() else "")
