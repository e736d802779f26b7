"""``fidelity GRID.toml``: does a cheaper setting put the cells in the order of the largest one?"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of
from sota_bench.commands.sources import each_source
from sota_bench.engine.worker_pool import shared_worker_pool
from sota_bench.units import duration_text

if TYPE_CHECKING:
    from sota_bench.fidelity import Fidelity, Kind
    from sota_bench.grid import Grid
    from sota_bench.stages.values import Json


@click.command()
@grid_options
@click.option("--fractions", help="Shares of the training images to compare, such as 0.25,0.5,1.")
@click.option("--sizes", help="Sizes in pixels of the grid's largest phase, such as 32,64,128; schedules are scaled.")
@click.option("--epochs", help="Epochs of the baseline, such as 2,5,10; schedules are scaled.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@each_source()
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, fractions: str | None, sizes: str | None, epochs: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Run the same grid at several data fractions, image sizes or epochs, and compare the order of its cells.

    The cheapest setting that keeps the order is named, with the minutes that it saves.
    """
    click.get_current_context().with_resource(shared_worker_pool())
    from sota_bench.fidelity import check_images, compare, fidelity_settings
    from sota_bench.forecast.match import settle_schedules
    from sota_bench.plan.make import make_plan
    from sota_bench.report.collect import Collector
    from sota_bench.runs.execute import RunOptions, execute
    from sota_bench.runs.provenance import command_line
    from sota_bench.store import Store

    kind, values = _varied(fractions, sizes, epochs)
    loaded = load_grid(grid, overrides, seeds, out)
    machine = machine_of(store, device, workers, grid=loaded)
    loaded = settle_schedules(loaded, machine, measure=True, log=partial(click.echo, err=True))
    selected = {trial.id for trial in loaded.only(only)} if only else None
    opened = Store(store)
    settings = fidelity_settings(loaded, kind, values)
    plans = [(setting, *make_plan(setting.grid, machine)) for setting in settings]
    check_images([(setting, plan) for setting, plan, _ in plans])
    results = []
    with opened.hold(command_line()):
        for setting, plan, n_workers in plans:
            click.echo(setting.text, err=True)
            name = f"{loaded.name}, {setting.text}"
            if execute(plan, opened, RunOptions(n_workers), selected, name=name).interrupted:
                click.echo(f"interrupted; to resume: {command_line()}", err=True)
                return 130
            trials = Collector(plan, opened).trial_table()
            results.append((setting, trials if selected is None else trials[trials["trial"].isin(selected)]))
    fidelity = compare(results)
    _write(loaded, fidelity)
    if as_json:
        click.echo(json.dumps(_json(fidelity), allow_nan=False))
    else:
        _show(loaded, fidelity)
    failed = any(trials["status"].isin(["failed", "blocked"]).any() for _, trials in results)
    return 1 if failed else 0


def _varied(fractions: str | None, sizes: str | None, epochs: str | None) -> tuple[Kind, list[float]]:
    """What is varied, and its values.

    Raises:
        UserError: not exactly one of the options is given, or a value is not a number.
    """
    from sota_bench.errors import UserError

    options: dict[Kind, str | None] = {"fraction": fractions, "size": sizes, "epochs": epochs}
    given: dict[Kind, str] = {kind: text for kind, text in options.items() if text}
    if len(given) != 1:
        problem = "there are no settings to compare" if not given else "only one kind of setting can be compared"
        raise UserError("fidelity", "", problem, "write one of --fractions 0.25,0.5,1, --sizes 32,64 and --epochs 2,5")
    kind, text = next(iter(given.items()))
    try:
        return kind, [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError("fidelity", "", f"{text!r} is not a list of numbers", "write for example 0.25,0.5,1") from None


def _rows(fidelity: Fidelity) -> list[dict[str, Json]]:
    """One row for each setting, as JSON values."""
    return [
        {
            "kind": row.setting.kind,
            "value": row.setting.value,
            "minutes": row.minutes,
            "saved_minutes": row.saved_minutes,
            **vars(row.agreement),
            "keeps_order": row.agreement.keeps_order,
        }
        for row in fidelity.rows
    ]


def _json(fidelity: Fidelity) -> dict[str, Json]:
    best = fidelity.cheapest
    return {
        "settings": _rows(fidelity),
        "cheapest": best.setting.value if best else None,
        "left_out": list(fidelity.left_out),
        "sentence": fidelity.sentence(),
    }


def _write(grid: Grid, fidelity: Fidelity) -> None:
    import pandas as pd

    from sota_bench.report.fidelity import page
    from sota_bench.report.files import write_files

    left_out = ", ".join(fidelity.left_out)
    notes = [f"Left out, since they have no result at every setting: {left_out}."] if left_out else []
    if grid.source == "known-effects":
        from sota_bench.report.sections.order import CONTROL

        notes.append(CONTROL)
    rows = pd.DataFrame(_rows(fidelity))
    files = {
        "fidelity.csv": rows.to_csv(index=False, lineterminator="\n"),
        "fidelity_cells.csv": fidelity.means.rename_axis("cell").to_csv(lineterminator="\n"),
        "fidelity.html": page(grid.name, grid.question, fidelity, notes),
    }
    write_files(grid.out, files)


def _show(grid: Grid, fidelity: Fidelity) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    columns = ("setting", "time", "saved", "tau", "interval", "clear pairs", "kept", "reversed", "keeps the order")
    for column in columns:
        table.add_column(
            column, justify="left" if column == "setting" else "right", min_width=9 if column == columns[-1] else None
        )
    for row in fidelity.rows:
        agreement = row.agreement
        interval = "" if agreement.low is None else f"{agreement.low:+.2f} to {agreement.high:+.2f}"
        tau = "" if agreement.tau is None else f"{agreement.tau:+.2f}"
        saved = "" if row is fidelity.rows[0] else _signed_duration(row.saved_minutes)
        table.add_row(
            row.setting.text, duration_text(60 * row.minutes), saved, tau, interval, str(agreement.clear),
            str(agreement.kept), str(agreement.reversed), agreement.word,
        )  # fmt: skip
    Console().print(table)
    click.echo(fidelity.sentence())
    click.echo(f"report: {grid.out / 'fidelity.html'}")


def _signed_duration(minutes: float) -> str:
    return ("-" if minutes < 0 else "") + duration_text(60 * abs(minutes))
