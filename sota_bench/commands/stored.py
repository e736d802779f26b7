"""What the store holds of a grid, as its last run made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sota_bench.grid.grid import Grid
    from sota_bench.plan.machine import Machine
    from sota_bench.report.collect import Collector
    from sota_bench.report.tables import RunTables


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
