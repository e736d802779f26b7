"""What commands do over all data sets of a grid: the report over them, and which cell is confirmed on each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from sota_bench.commands.options import load_grid, machine_of
from sota_bench.commands.sources import source_chosen
from sota_bench.errors import UserError

if TYPE_CHECKING:
    from sota_bench.grid import Grid
    from sota_bench.report.tables import RunTables

Parameters = Mapping[str, Any]


def report_over_sources(parameters: Parameters, labels: Sequence[str]) -> int:
    """Renders the page over all data sets from what the store holds of each; gives the exit code 0."""
    from sota_bench.report.over_sources import write_over_sources

    if parameters.get("others"):
        raise UserError(str(parameters["grid"]), "data.sources", "side by side, each grid must be on one data set",
                        f"add --source {labels[0]}, or name one grid")  # fmt: skip
    runs: dict[str, RunTables] = {}
    grids: list[Grid] = []
    for label in labels:
        grid, tables = _stored(parameters, label)
        runs[label] = tables
        grids.append(grid)
    out = grids[0].out.parent
    if any(tables.looks for tables in runs.values()):  # each data set has its own seeds, chosen by its own looks
        if not parameters.get("as_json"):
            click.echo(
                "Each data set ran until its own comparisons were decided; there are no verdicts over all data sets."
            )
        return 0
    name = grids[0].name.removesuffix(f"-{labels[0]}")
    lines = write_over_sources(out, name, runs)
    if parameters.get("as_json"):
        click.echo(json.dumps({"out": str(out), "summary": lines}))
    else:
        click.echo("\n".join(["over all data sets:", *lines, f"report: {out / 'report.html'}"]))
    return 0


def winner_over_sources(parameters: Parameters, labels: Sequence[str]) -> Parameters:
    """The cell to confirm on every data set: the best on average, by its differences to the baseline on each."""
    if parameters.get("cell") is not None:
        return {}
    from sota_bench.responses import response_named
    from sota_bench.stats.gains import mean_gains

    gains = []
    for label in labels:
        grid, tables = _stored(parameters, label)
        baseline, response = grid.baseline_cell, response_named(grid.response[0])
        if baseline is None:
            return {}  # the command says what is missing
        gains.append(mean_gains(tables.trials, response.name, baseline.id, response.higher_is_better))
        if gains[-1].empty:
            return {}
    best = sum(gains[1:], start=gains[0]).dropna().idxmax()
    return {"cell": str(best)}


def _stored(parameters: Parameters, label: str) -> tuple[Grid, RunTables]:
    """The grid on one data set, and the tables of its run."""
    from sota_bench.commands.stored import stored_tables

    names = ("grid", "overrides", "seeds", "out")
    with source_chosen(label):
        grid = load_grid(*(parameters[name] for name in names))
    store, device, workers = (parameters[name] for name in ("store", "device", "workers"))
    machine = machine_of(store, device, workers, writes=False, grid=grid)
    return grid, stored_tables(grid, parameters["grid"], machine, parameters.get("only"))
