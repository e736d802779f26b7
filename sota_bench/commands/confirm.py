"""``confirm GRID.toml``: the winner and the baseline again, with fresh seeds, on images that chose nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of, parse_seeds
from sota_bench.commands.over_sources import winner_over_sources
from sota_bench.commands.sources import each_source
from sota_bench.engine.worker_pool import shared_worker_pool
from sota_bench.errors import UserError
from sota_bench.interrupts import INTERRUPTED
from sota_bench.responses import response_named

if TYPE_CHECKING:
    import pandas as pd

    from sota_bench.grid import Grid
    from sota_bench.runs.confirmation import Confirmation


@click.command()
@grid_options
@click.option("--cell", help="The cell to confirm (default: the best on the select split).")
@click.option("--fresh-seeds", help="Seeds to train with, none of them the grid's (default: as many as the grid has).")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@each_source(before=winner_over_sources)
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, cell: str | None, fresh_seeds: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Train the winner and the baseline with fresh seeds and judge them on the test split."""
    click.get_current_context().with_resource(shared_worker_pool())
    from sota_bench.commands.stored import stored_run
    from sota_bench.grid.expand import Trial
    from sota_bench.plan.make import make_plan
    from sota_bench.report.collect import Collector
    from sota_bench.report.effects import typeset
    from sota_bench.report.output import write
    from sota_bench.runs.confirmation import compare
    from sota_bench.runs.execute import RunOptions, execute
    from sota_bench.runs.history import confirmed_name, earlier_looks
    from sota_bench.runs.provenance import command_line
    from sota_bench.store import Store

    loaded = load_grid(grid, overrides, seeds, out)
    _fresh_seeds(loaded, fresh_seeds)  # a mistake is told before anything is read
    machine = machine_of(store, device, workers, grid=loaded)
    stored = stored_run(loaded, grid, machine)
    resolved = stored.plan.grid  # with schedules matched at equal cost, and with all seeds that took part in choosing
    fresh = _fresh_seeds(resolved, fresh_seeds)
    selected = stored.trial_table()
    if only:
        selected = selected[selected["trial"].isin([trial.id for trial in resolved.only(only)])]
    baseline, winner = _pair(resolved, selected, cell, grid)
    if winner == baseline:
        words = [f"{baseline}, the baseline, is the best cell{_by(resolved)}: there is no gain to confirm."]
        click.echo(json.dumps({"baseline": baseline, "winner": winner, "words": words}) if as_json else words[0])
        return 0
    pair = [candidate for candidate in resolved.cells() if candidate.id in (baseline, winner)]
    trials = [Trial(f"{member.id}-s{seed}", member, seed) for member in pair for seed in fresh]
    plan, n_workers = make_plan(resolved, machine, trials=trials, split="test")
    results = Store(store)
    with results.hold(command_line()):
        looks = earlier_looks(results, plan)
        run = execute(plan, results, RunOptions(n_workers), name=confirmed_name(resolved.name))
        if run.interrupted:
            click.echo(f"interrupted; to resume: {command_line()}", err=True)
            return INTERRUPTED
        collector = Collector(plan, results)
        tested = collector.trial_table()
        images = stored.per_image, collector.per_image
        confirmation = compare(stored.plan, selected, tested, baseline, winner, *images, looks)
        results.end_run(run.id, replace(run.entry, confirmation=confirmation).to_json())
        _write_files(resolved.out, tested, confirmation)
        stored.entry = replace(stored.entry, confirmation=confirmation)
        write(resolved.out, stored.tables())
    if as_json:
        click.echo(json.dumps(confirmation.to_json()))
    else:
        click.echo("\n".join([*map(typeset, confirmation.words), f"report: {resolved.out / 'report.html'}"]))
    return 1 if (tested["status"] != "done").any() else 0


def _by(grid: Grid) -> str:
    """By which response cells are ranked, where it is not accuracy."""
    noun = response_named(grid.response[0]).noun
    return "" if noun == "accuracy" else f" by {noun}"


def _fresh_seeds(grid: Grid, text: str | None) -> list[int]:
    """The seeds to confirm with: by default as many as the grid has, three at least, all above its own.

    Raises:
        UserError: one of them took part in choosing, or there are too few.
    """
    first = max(grid.seeds) + 1
    default = list(range(first, first + max(3, len(grid.seeds))))
    fresh = parse_seeds(text) if text else default
    used = sorted(set(fresh) & set(grid.seeds))
    if used or len(set(fresh)) < 2:
        problem = f"{used[0]} took part in choosing" if used else "fewer than two seeds give no interval"
        raise UserError("--fresh-seeds", "", problem, f"write for example {','.join(map(str, default))}")
    return fresh


def _pair(grid: Grid, trials: pd.DataFrame, cell: str | None, file: Path) -> tuple[str, str]:
    """The ids of the baseline's and the winner's cell.

    Raises:
        UserError: the baseline or the cell that was asked for is not finished.
    """
    from sota_bench.stats.gains import mean_gains

    if grid.baseline_cell is None:
        problem = f"{grid.design} with several factors has no baseline cell to confirm against"
        raise UserError(str(file), "grid.design", problem, "use full or one-at-a-time")
    baseline = grid.baseline_cell.id
    response = response_named(grid.response[0])
    gains = mean_gains(trials, response.name, baseline, response.higher_is_better)
    if baseline not in gains.index:
        raise UserError(str(file), "", "its baseline cell is not finished for all seeds", "start with run")
    if cell is not None and cell not in gains.index:
        remedy = f"choose among {', '.join(gains.index[:12])}"
        raise UserError("--cell", "", f"there is no finished cell {cell!r}", remedy)
    return baseline, cell or str(gains.idxmax())


def _write_files(out: Path, tested: pd.DataFrame, confirmation: Confirmation) -> None:
    from sota_bench.report.files import write_files

    table = tested.to_csv(index=False, lineterminator="\n")
    outcome = json.dumps(confirmation.to_json(), indent=1) + "\n"
    write_files(out, {"confirmation.csv": table, "confirmation.json": outcome})
