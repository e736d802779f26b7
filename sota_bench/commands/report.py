"""``report GRID.toml``: render again from the store, no training; several grids are put side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of
from sota_bench.commands.over_sources import report_over_sources
from sota_bench.commands.sources import each_source

if TYPE_CHECKING:
    from sota_bench.grid.grid import Grid
    from sota_bench.plan.machine import Machine
    from sota_bench.report.collect import Collector
    from sota_bench.report.tables import RunTables


@click.command()
@grid_options
@click.argument("others", nargs=-1, type=click.Path(path_type=Path))
@each_source(after=report_over_sources)
def command(
    grid: Path, others: tuple[Path, ...], out: Path | None, store: Path, overrides: tuple[str, ...], device: str,
    workers: int, seeds: str | None, only: str | None,
) -> int:  # fmt: skip
    """Render a grid's report again from the store; with OTHERS, put several runs side by side."""
    from sota_bench.report.answers import answers_of
    from sota_bench.report.files import write_files
    from sota_bench.report.output import write
    from sota_bench.report.side_by_side import render_side_by_side
    from sota_bench.report.summary import summary_lines

    if not others:
        resolved = load_grid(grid, overrides, seeds, out)
        machine = machine_of(store, device, workers, writes=False, grid=resolved)
        tables = stored_tables(resolved, grid, machine, only)
        answers = write(resolved.out, tables)
        for line in summary_lines(tables, answers):
            click.echo(line)
        click.echo(f"report: {resolved.out / 'report.html'}")
        return 1 if tables.trials["status"].isin(["failed", "blocked"]).any() else 0
    runs = []
    for file in (grid, *others):
        resolved = load_grid(file, overrides, seeds, None, writes=False)
        machine = machine_of(store, device, workers, writes=False, grid=resolved)
        tables = stored_tables(resolved, file, machine, only)
        runs.append((resolved.name, tables, answers_of(tables)))
    folder = out or Path("reports") / "-vs-".join(name for name, _, _ in runs)
    write_files(folder, {"report.html": render_side_by_side(runs)})
    click.echo(f"report: {folder / 'report.html'}")
    return 0


def stored_run(grid: Grid, file: Path, machine: Machine) -> Collector:
    """A collector of what the store holds of a grid, as its last run made it (else as this machine would).

    Raises:
        UserError: the store holds nothing of it.
    """
    from dataclasses import replace

    from sota_bench.errors import UserError
    from sota_bench.forecast.match import settle_schedules
    from sota_bench.plan.make import make_plan
    from sota_bench.report.collect import Collector
    from sota_bench.runs.entry import RunEntry
    from sota_bench.runs.history import confirmation_of, recorded_plan
    from sota_bench.store import Store

    store = Store(machine.store)
    recorded = recorded_plan(grid, store)
    if recorded is None:
        recorded = make_plan(settle_schedules(grid, machine, measure=False), machine)[0], RunEntry()
    plan, entry = recorded
    for line in store.take_notes():
        click.echo(line, err=True)
    collector = Collector(plan, store, replace(entry, confirmation=confirmation_of(store, plan)))
    if not collector.results:
        raise UserError(str(file), "", f"{machine.store} has no results of this grid", "start with `run`")
    return collector


def stored_tables(grid: Grid, file: Path, machine: Machine, only: str | None = None) -> RunTables:
    """The tables of a stored run, of the trials that ``only`` selects; raises like :func:`stored_run`."""
    from dataclasses import replace

    collector = stored_run(grid, file, machine)
    if only:
        chosen = {trial.id for trial in grid.only(only)}
        trials = tuple(trial for trial in collector.plan.trials if trial.trial.id in chosen)
        collector.plan = replace(collector.plan, trials=trials)
    return collector.tables()
