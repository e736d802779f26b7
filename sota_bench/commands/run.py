"""``run GRID.toml``: plan, run what is missing, render the report."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sota_bench.commands.options import (
    engine_options,
    grid_options,
    kept_options,
    load_grid,
    machine_of,
    stopping_options,
)
from sota_bench.commands.over_sources import report_over_sources
from sota_bench.commands.sources import chosen_option, each_source
from sota_bench.engine.messages import WorkerSettings
from sota_bench.engine.worker_pool import shared_worker_pool
from sota_bench.errors import UserError
from sota_bench.interrupts import INTERRUPTED
from sota_bench.preload import preload
from sota_bench.units import duration_text

if TYPE_CHECKING:
    from sota_bench.forecast.predict import Prediction
    from sota_bench.forecast.predictor import Predictor
    from sota_bench.grid import Grid
    from sota_bench.plan.machine import Machine
    from sota_bench.runs.execute import RunOptions

REPORT_LIBRARIES = ("scipy.stats", "matplotlib.figure")
"""What the report takes longest to import: imported while images are decoded, when it disturbs no training."""


@click.command()
@grid_options
@engine_options
@stopping_options
@click.option("--no-calibrate", is_flag=True, help="Skip the short measurement that predicts the run time.")
@click.option("--exclusive-timing", is_flag=True, help="Also time each combination again with nothing else running.")
@click.option("--enforce-goal", is_flag=True, help="Exit with code 3 if the slowest cell misses the goal.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, a line for each grid.")
@each_source(after=report_over_sources)
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, options: RunOptions, stopping: dict[str, str | int], no_calibrate: bool, exclusive_timing: bool,
    enforce_goal: bool, as_json: bool,
) -> int:  # fmt: skip
    """Plan a grid, run what is missing, and render its report."""
    started = time.monotonic()
    machine = machine_of(store, device, workers)
    pool = click.get_current_context().with_resource(shared_worker_pool())
    if not store.exists():  # then something has to be trained: a worker imports while this process plans
        environment, _ = machine.resolve()
        pool.prestart(WorkerSettings(environment.device, environment.threads))
    from sota_bench.commands.refine import second_step
    from sota_bench.commands.until_decided import Setting, run_until_decided
    from sota_bench.forecast.describe import exclusive_timing_lines, slowest_measured_minutes
    from sota_bench.forecast.match import settle_schedules
    from sota_bench.forecast.predictor import Predictor
    from sota_bench.plan.make import make_plan
    from sota_bench.report.collect import Collector
    from sota_bench.report.figure_cache import figures_file
    from sota_bench.report.output import write
    from sota_bench.report.summary import next_steps, summary_lines
    from sota_bench.runs.execute import execute, must_plan_again
    from sota_bench.runs.history import confirmation_of
    from sota_bench.runs.looks import declared_plan, new_history
    from sota_bench.runs.provenance import command_line
    from sota_bench.store import Store

    loaded = load_grid(grid, overrides, seeds, out, stopping=stopping)
    until_decided = loaded.stop == "decided"
    if until_decided and only:
        raise UserError("--only", "", "a run until decided chooses its trials itself", "leave one of them out")
    machine = machine_of(store, device, workers, grid=loaded)
    selected = {trial.id for trial in loaded.only(only)} if only else None
    goal = loaded.minutes_per_iteration
    if enforce_goal and goal is None:
        raise UserError("--enforce-goal", "", "the grid has no goal", "write grid.minutes_per_iteration")
    log = partial(click.echo, err=True)
    resolved = settle_schedules(loaded, machine, measure=True, log=log)
    asked = resolved.with_seeds(new_history(resolved).seeds) if until_decided else resolved
    plan, n_workers = make_plan(asked, machine)
    first = declared_plan(plan, resolved) if until_decided else plan
    options = replace(options, workers=n_workers)
    planned = time.monotonic()
    results = Store(store)
    with results.hold(command_line()):
        predictor = Predictor(results, log)
        if not no_calibrate and (loaded.budget or predictor.is_cheap_to_calibrate(first, n_workers)):
            predictor.calibrate(first, n_workers)
        alone = _measured_alone(resolved, machine, predictor, only) if exclusive_timing else None
        calibrated = time.monotonic()
        preload(REPORT_LIBRARIES)
        if until_decided:
            setting = Setting(
                resolved.seeds, resolved.budget, results, options, predictor, lambda: make_plan(asked, machine)[0],
                started, log, alone,
            )  # fmt: skip
            looped = run_until_decided(plan, setting)
            plan, run, failures = looped.plan, looped.run, looped.failed
        else:
            prediction = predictor.predict(plan, n_workers, selected)
            run = execute(plan, results, options, selected, prediction, alone=alone)
            if must_plan_again(plan, results) and not run.interrupted:
                plan, _ = make_plan(resolved, machine)
                run = execute(plan, results, options, selected, prediction, alone=alone)
            failures = run.failed
        if run.interrupted:
            click.echo(f"interrupted; to resume: {command_line()}", err=True)
            return INTERRUPTED
        ran = time.monotonic()
        entry = replace(run.entry, confirmation=confirmation_of(results, plan))
        tables = Collector(plan, results, entry).tables()
        answers = write(resolved.out, tables, figures_file(store, resolved.name))
    trials = tables.trials if selected is None else tables.trials[tables.trials["trial"].isin(selected)]
    lines = summary_lines(tables, answers)
    if exclusive_timing:
        lines += exclusive_timing_lines(trials, alone)
    slowest = slowest_measured_minutes(trials, alone=exclusive_timing)
    missed = enforce_goal and goal is not None and slowest is not None and slowest > goal
    if missed:
        lines.append(_missed_line(goal or 0.0, slowest or 0.0))
    refined = None
    if loaded.refine:
        refined, sentence = second_step(loaded, plan.images.size, tables, answers)
        lines.append(sentence)
    rendered = time.monotonic()
    spans = {"calibrating": calibrated - planned, "running stages": ran - calibrated, "the report": rendered - ran}
    lines.append(_time_line(rendered - started, spans))
    if as_json:
        outcome = {"out": str(resolved.out), "summary": lines, "run": tables.run.to_json()}
        click.echo(json.dumps(outcome, allow_nan=False))
    else:
        kept = [*kept_options(store, overrides, seeds), *chosen_option()]
        steps = next_steps(tables.run, answers, str(grid), kept, [] if out is None else ["--out", str(out)])
        click.echo("\n".join([*lines, f"report: {resolved.out / 'report.html'}", *steps]))
    failed = trials["status"].isin(["failed", "blocked"]).any() or failures > 0
    code = 1 if failed else 3 if missed else 0
    if refined is None:
        return code
    context = click.get_current_context()
    as_before = {"device": plan.environment.device, "workers": n_workers, "source": None}
    followed = context.forward(command, grid=refined, out=refined.parent, overrides=(), seeds=None, **as_before)
    return int(followed) or code


def _measured_alone(grid: Grid, machine: Machine, predictor: Predictor, only: str | None) -> Prediction | None:
    """The prediction of each trial from new calibrations, with nothing else running: one worker on all cores."""
    from sota_bench.plan.make import make_plan

    plan, _ = make_plan(grid, replace(machine, workers=1), trials=grid.only(only) if only else None)
    return predictor.predict_anew(plan, 1)


def _time_line(seconds: float, parts: dict[str, float]) -> str:
    """How long the command took by the clock on the wall, and for what, where it took a second or more."""
    spent = ", ".join(f"{duration_text(span)} for {what}" for what, span in parts.items() if round(span))
    return f"This command took {duration_text(seconds)}" + (f": {spent}." if spent else ".")


def _missed_line(goal: float, slowest: float) -> str:
    return f"The goal of {duration_text(60 * goal)} is missed: the slowest cell takes {duration_text(60 * slowest)}."
