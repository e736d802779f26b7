"""``run GRID.toml``: plan, run what is missing, render the report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of
from sota_bench.engine.messages import WorkerSettings
from sota_bench.engine.worker_pool import shared_worker_pool

if TYPE_CHECKING:
    from sota_bench.forecast.predict import Prediction

REPORT_LIBRARIES = ("scipy.stats", "matplotlib.figure")
"""What the report takes longest to import; it is imported while images are decoded: no training is disturbed by it."""


@click.command()
@grid_options
@click.option("--engine", type=click.Choice(["local"]), default="local", show_default=True, help="Where workers run.")
@click.option("--retry", type=click.Choice(["failed"]), help="Try failed stages once more.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option("--disk-limit", help="Remove checkpoints that nothing needs above this size, such as 2GB.")
@click.option(
    "--stall-minutes",
    type=click.FloatRange(0.05),
    default=15.0,
    show_default=True,
    help="Stop a stage that makes no progress for this long.",
)
@click.option(
    "--checkpoint-minutes",
    type=click.FloatRange(0.01),
    default=5.0,
    show_default=True,
    help="Minutes between checkpoints inside a phase.",
)
@click.option(
    "--no-accumulate",
    is_flag=True,
    help="Let a training that does not fit into memory fail, instead of computing its batches in smaller parts.",
)
@click.option("--memory-limit", help="End a stage whose process takes more memory than this, such as 8GB.")
@click.option("--no-calibrate", is_flag=True, help="Do not measure a few steps first to predict the minutes.")
@click.option("--exclusive-timing", is_flag=True, help="Also measure each combination anew, with nothing else running.")
@click.option("--enforce-goal", is_flag=True, help="End with exit code 3 when the slowest cell misses the goal.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, engine: str, retry: str | None, fail_fast: bool, disk_limit: str | None, stall_minutes: float,
    checkpoint_minutes: float, no_accumulate: bool, memory_limit: str | None, no_calibrate: bool,
    exclusive_timing: bool, enforce_goal: bool, as_json: bool,
) -> int:  # fmt: skip
    """Plan a grid, run what is missing, and render its report."""
    started = time.monotonic()
    machine = machine_of(store, device, workers)
    pool = click.get_current_context().with_resource(shared_worker_pool())
    if not store.exists():  # then something has to be trained: a worker imports while this process plans
        environment, _ = machine.resolve()
        pool.prestart(WorkerSettings(environment.device, environment.threads))
    from sota_bench.commands import forecasting
    from sota_bench.commands.execution import EngineOptions, command_line, execute, must_plan_again, with_confirmation
    from sota_bench.commands.matching import matched
    from sota_bench.errors import UserError
    from sota_bench.plan.make import make_plan
    from sota_bench.preload import preload
    from sota_bench.report.collect import Collector
    from sota_bench.report.figure_cache import figures_file
    from sota_bench.report.output import write
    from sota_bench.report.summary import summary_lines
    from sota_bench.store import Store
    from sota_bench.units import parse_bytes

    question = load_grid(grid, overrides, seeds, out)
    machine = machine_of(store, device, workers, grid=question)
    selected = {trial.id for trial in question.only(only)} if only else None
    limit = parse_bytes("--disk-limit", disk_limit) if disk_limit else None
    most = parse_bytes("--memory-limit", memory_limit) if memory_limit else None
    goal = question.minutes_per_iteration
    if enforce_goal and goal is None:
        raise UserError("--enforce-goal", "", "the grid has no goal", "write grid.minutes_per_iteration")
    question = matched(question, machine, may_measure=True)
    plan, count = make_plan(question, machine)
    options = EngineOptions(
        count, bool(retry), fail_fast, limit, 60 * stall_minutes, 60 * checkpoint_minutes, not no_accumulate, most
    )
    shelf = Store(store)
    with shelf.hold(command_line()):
        planned = time.monotonic()
        prediction = forecasting.forecast(
            plan, count, shelf, lambda found: not no_calibrate and found.is_cheap(plan, count), selected
        )
        alone = _alone(question, machine, shelf, only) if exclusive_timing else None
        calibrated = time.monotonic()
        preload(REPORT_LIBRARIES)
        done = execute(plan, shelf, options, selected, prediction, alone=alone)
        if must_plan_again(plan, shelf) and not done.interrupted:
            plan, _ = make_plan(question, machine)
            done = execute(plan, shelf, options, selected, prediction, alone=alone)
        if done.interrupted:
            click.echo(f"interrupted; go on with: {command_line()}", err=True)
            return 130
        ran = time.monotonic()
        entry = with_confirmation(shelf, question.name, done.about)
        tables = Collector(plan, shelf, entry).tables()
        analysis = write(question.out, tables, figures_file(store, question.name))
    lines = summary_lines(tables, analysis)
    asked = tables.trials if selected is None else tables.trials[tables.trials["trial"].isin(selected)]
    if exclusive_timing:
        lines += forecasting.alone_lines(asked, alone)
    spent = forecasting.iteration_minutes(asked, alone=exclusive_timing)
    missed = enforce_goal and goal is not None and spent is not None and spent > goal
    if missed:
        lines.append(f"the goal of {goal:g} minutes is missed: the slowest cell takes {spent:.2f}")
    spans = {"calibrate": calibrated - planned, "run the stages": ran - calibrated}
    lines.append(_took(time.monotonic() - started, {**spans, "render the report": time.monotonic() - ran}))
    _tell(question.out, lines, tables.run.to_json(), as_json)
    wrong = asked["status"].isin(["failed", "blocked"]).any() or done.failed > 0
    return 1 if wrong else 3 if missed else 0


def _alone(question: Any, machine: Any, shelf: Any, only: str | None) -> Prediction | None:
    """What each trial takes, from each combination measured anew with nothing else running: one worker, all cores."""
    from dataclasses import replace

    from sota_bench.commands import forecasting
    from sota_bench.forecast.forecast import Forecast
    from sota_bench.plan.make import make_plan

    trials = question.only(only) if only else None
    plan, _ = make_plan(question, replace(machine, workers=1), trials=trials)
    return Forecast(shelf, forecasting.say).anew(plan, 1)


def _took(seconds: float, parts: dict[str, float]) -> str:
    """How long the command took by the clock on the wall, and for what, where it took a second or more."""

    def text(span: float) -> str:
        whole = round(span)
        return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"

    said = ", ".join(f"{text(span)} to {what}" for what, span in parts.items() if round(span))
    return f"this command took {text(seconds)}" + (f": {said}" if said else "")


def _tell(out: Path, lines: list[str], run: dict[str, Any], as_json: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps({"out": str(out), "summary": lines, "run": run}, allow_nan=False))
        return
    for line in lines:
        click.echo(line)
    click.echo(f"report: {out / 'report.html'}")
