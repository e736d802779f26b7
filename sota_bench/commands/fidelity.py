"""``fidelity GRID.toml``: does a cheaper setting put the cells in the order of the largest one?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of
from sota_bench.engine.worker_pool import shared_worker_pool


@click.command()
@grid_options
@click.option("--fractions", help="Shares of the training images to compare, such as 0.25,0.5,1.")
@click.option("--sizes", help="Sizes in pixels of the grid's largest phase, such as 32,64,128; schedules are scaled.")
@click.option("--epochs", help="Epochs of the baseline, such as 2,5,10; schedules are scaled.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, fractions: str | None, sizes: str | None, epochs: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Run the same grid at several data fractions, image sizes or epochs, and compare the order of its cells.

    The cheapest setting that keeps the order is named, with the minutes that it saves.
    """
    click.get_current_context().with_resource(shared_worker_pool())
    from sota_bench.commands.matching import matched
    from sota_bench.fidelity import compare, settings
    from sota_bench.plan.make import make_plan
    from sota_bench.report.collect import Collector
    from sota_bench.runs.execute import RunOptions, execute
    from sota_bench.runs.provenance import command_line
    from sota_bench.store import Store

    kind, values = _asked(fractions, sizes, epochs)
    question = load_grid(grid, overrides, seeds, out)
    machine = machine_of(store, device, workers, grid=question)
    question = matched(question, machine, may_measure=True)
    selected = {trial.id for trial in question.only(only)} if only else None
    shelf = Store(store)
    plans = [(setting, *make_plan(setting.grid, machine)) for setting in settings(question, kind, values)]
    found = []
    with shelf.hold(command_line()):
        for setting, plan, count in plans:
            click.echo(setting.text, err=True)
            name = f"{question.name}, {setting.text}"
            if execute(plan, shelf, RunOptions(count), selected, name=name).interrupted:
                click.echo(f"interrupted; to resume: {command_line()}", err=True)
                return 130
            trials = Collector(plan, shelf).trial_table()
            found.append((setting, trials if selected is None else trials[trials["trial"].isin(selected)]))
    answer = compare(found)
    _write(question, answer)
    if as_json:
        click.echo(json.dumps(_json(answer), allow_nan=False))
    else:
        _show(question, answer)
    failed = any(trials["status"].isin(["failed", "blocked"]).any() for _, trials in found)
    return 1 if failed else 0


def _asked(fractions: str | None, sizes: str | None, epochs: str | None) -> tuple[Any, list[float]]:
    """What is varied, and its values.

    Raises:
        UserError: none or several are asked for, or a value is no number.
    """
    from sota_bench.errors import UserError

    given = {name: text for name, text in (("fraction", fractions), ("size", sizes), ("epochs", epochs)) if text}
    if len(given) != 1:
        problem = "nothing is varied" if not given else "several things are varied"
        raise UserError("fidelity", "", problem, "write one of --fractions 0.25,0.5,1, --sizes 32,64 and --epochs 2,5")
    kind, text = next(iter(given.items()))
    try:
        return kind, [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError("fidelity", "", f"{text!r} is not a list of numbers", "write for example 0.25,0.5,1") from None


def _json(answer: Any) -> dict[str, Any]:
    best = answer.cheapest
    return {
        "settings": [
            {
                "kind": row.setting.kind,
                "value": row.setting.value,
                "minutes": row.minutes,
                "saved_minutes": row.saved_minutes,
                **vars(row.agreement),
                "keeps_order": row.agreement.keeps_order,
            }
            for row in answer.rows
        ],
        "cheapest": best.setting.value if best else None,
        "left_out": list(answer.left_out),
        "sentence": answer.sentence(),
    }


def _write(question: Any, answer: Any) -> None:
    import pandas as pd

    from sota_bench.report.fidelity import page
    from sota_bench.report.files import write_files

    left_out = ", ".join(answer.left_out)
    notes = [f"Left out, since they have no result at every setting: {left_out}."] if left_out else []
    if question.source == "known-effects":
        from sota_bench.report.sections.order import CONTROL

        notes.append(CONTROL)
    rows = pd.DataFrame(_json(answer)["settings"])
    files = {
        "fidelity.csv": rows.to_csv(index=False, lineterminator="\n"),
        "fidelity_cells.csv": answer.means.rename_axis("cell").to_csv(lineterminator="\n"),
        "fidelity.html": page(question.name, question.question, answer, notes),
    }
    write_files(question.out, files)


def _show(question: Any, answer: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in ("setting", "minutes", "saved", "tau", "interval", "clear pairs", "kept", "turned", "keeps the order"):
        table.add_column(name, justify="left" if name == "setting" else "right")
    for row in answer.rows:
        found = row.agreement
        between = "" if found.low is None else f"{found.low:+.2f} to {found.high:+.2f}"
        tau = "" if found.tau is None else f"{found.tau:+.2f}"
        table.add_row(
            row.setting.text, f"{row.minutes:.2f}", f"{row.saved_minutes:.2f}", tau, between, str(found.clear),
            str(found.kept), str(found.reversed), found.word,
        )  # fmt: skip
    Console().print(table)
    click.echo(answer.sentence())
    click.echo(f"report: {question.out / 'fidelity.html'}")
