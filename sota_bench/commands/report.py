"""``report GRID.toml``: render again from the store, no training; several grids are put side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of


@click.command()
@grid_options
@click.argument("others", nargs=-1, type=click.Path(path_type=Path))
def command(
    grid: Path, others: tuple[Path, ...], out: Path | None, store: Path, overrides: tuple[str, ...], device: str,
    workers: int, seeds: str | None, only: str | None,
) -> int:  # fmt: skip
    """Render a grid's report again from the store; with OTHERS, put several runs side by side."""
    from sota_bench.report.output import analysis_of, write, write_files
    from sota_bench.report.page import render_side_by_side, summary_lines

    if not others:
        question = load_grid(grid, overrides, seeds, out)
        tables = stored_tables(question, grid, machine_of(store, device, workers, writes=False, grid=question), only)
        analysis = write(question.out, tables)
        for line in summary_lines(tables, analysis):
            click.echo(line)
        click.echo(f"report: {question.out / 'report.html'}")
        return 1 if tables.trials["status"].isin(["failed", "blocked"]).any() else 0
    runs = []
    for file in (grid, *others):
        question = load_grid(file, overrides, seeds, None, writes=False)
        tables = stored_tables(question, file, machine_of(store, device, workers, writes=False, grid=question), only)
        runs.append((question.name, tables, analysis_of(tables)))
    folder = out or Path("reports") / "-vs-".join(name for name, _, _ in runs)
    write_files(folder, {"report.html": render_side_by_side(runs)})
    click.echo(f"report: {folder / 'report.html'}")
    return 0


def stored_run(question: Any, file: Path, machine: Any) -> tuple[Any, dict[str, Any]]:
    """A collector of what the store holds of a grid, as its last run made it (else as this machine would), and what
    that run recorded about itself.

    Raises:
        UserError: the store holds nothing of it.
    """
    from sota_bench.commands.execution import recorded_runs, with_confirmation
    from sota_bench.commands.matching import matched
    from sota_bench.errors import UserError
    from sota_bench.plan.make import make_plan, remake_plan
    from sota_bench.report.collect import Collector
    from sota_bench.store import Store

    shelf = Store(machine.store)
    for about in recorded_runs(shelf, question.name):
        if "keys" in about:
            plan = remake_plan(question, machine.store, about)
            if set(plan.stages).intersection(about["keys"].values()):  # not another grid of the same name
                break
    else:
        plan, about = make_plan(matched(question, machine, may_measure=False), machine)[0], {}
    for line in shelf.take_notes():
        click.echo(line, err=True)
    collector = Collector(plan, shelf, reused=frozenset(about.get("reused", ())), why=about.get("why", {}))
    if not collector.results:
        raise UserError(str(file), "", f"{machine.store} holds no result of it", "start with run")
    return collector, with_confirmation(shelf, question.name, about)


def stored_tables(question: Any, file: Path, machine: Any, only: str | None = None) -> Any:
    """The tables of a stored run, of the trials that ``only`` selects; raises like :func:`stored_run`."""
    from dataclasses import replace

    collector, about = stored_run(question, file, machine)
    if only:
        wanted = {trial.id for trial in question.only(only)}
        kept = tuple(trial for trial in collector.plan.trials if trial.trial.id in wanted)
        collector.plan = replace(collector.plan, trials=kept)
    return collector.tables(about)
