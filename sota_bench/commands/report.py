"""``report GRID.toml``: render again from the store, no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of


@click.command()
@grid_options
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None,
) -> int:  # fmt: skip
    """Render a grid's report again from the store, without training."""
    from sota_bench.errors import UserError
    from sota_bench.plan.make import make_plan
    from sota_bench.report.collect import Collector
    from sota_bench.report.output import write
    from sota_bench.report.page import summary_lines
    from sota_bench.store import Store

    question = load_grid(grid, overrides, seeds, out)
    plan, _ = make_plan(question, machine_of(store, device, workers))
    shelf = Store(store)
    about = last_run(shelf, question.name)
    collector = Collector(plan, shelf, reused=frozenset(about.get("reused", ())), why=about.get("why", {}))
    if not collector.results:
        raise UserError(str(grid), "", f"{store} holds no result of it", "start with run")
    tables = collector.tables(about)
    analysis = write(question.out, tables)
    for line in summary_lines(tables, analysis):
        click.echo(line)
    click.echo(f"report: {question.out / 'report.html'}")
    return 1 if tables.trials["status"].isin(["failed", "blocked"]).any() else 0


def last_run(shelf: Any, name: str) -> dict[str, Any]:
    """What the last finished run of a grid recorded about itself; empty when there was none."""
    for row in reversed(shelf.runs()):
        summary = json.loads(row["summary"] or "{}")
        if row["grid"] == name and summary:
            return {**summary, "started": row["started"]}
    return {}
