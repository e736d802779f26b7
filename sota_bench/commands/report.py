"""``report GRID.toml``: render again from the store, no training; several grids are put side by side."""

from __future__ import annotations

from pathlib import Path

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of
from sota_bench.commands.over_sources import report_over_sources
from sota_bench.commands.sources import each_source
from sota_bench.commands.stored import stored_tables


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
