"""``plan GRID.toml``: a dry run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@grid_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--all", "everything", is_flag=True, help="List every stage, however many there are.")
@click.option("--no-calibrate", is_flag=True, help="Measure nothing; predict from earlier calibrations alone.")
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, as_json: bool, everything: bool, no_calibrate: bool,
) -> int:  # fmt: skip
    """Show what a run would do: cells, stages, what is shared, what is done, why the rest runs, and what it costs."""
    from sota_bench.forecast.describe import as_json as prediction_json
    from sota_bench.forecast.describe import as_lines
    from sota_bench.forecast.goal import advise
    from sota_bench.forecast.match import settle_schedules
    from sota_bench.forecast.predictor import Predictor
    from sota_bench.grid.pretrained import sentences
    from sota_bench.plan.make import make_plan
    from sota_bench.plan.why import Reasons, to_run
    from sota_bench.store import Store

    question = load_grid(grid, overrides, seeds, out)
    selected = {trial.id for trial in question.only(only)} if only else None
    machine = machine_of(store, device, workers)
    question = settle_schedules(question, machine, measure=not no_calibrate, log=partial(click.echo, err=True))
    plan, count = make_plan(question, machine)
    shelf = Store(store)
    predictor = Predictor(shelf, partial(click.echo, err=True))
    if not no_calibrate:
        predictor.calibrate(plan, count)
    prediction = predictor.predict(plan, count, selected)
    advice = advise(plan, count, predictor, prediction, measure=not no_calibrate)
    stages = {
        key: stage for key, stage in plan.stages.items() if selected is None or selected.intersection(stage.trials)
    }
    is_done, has_files = cache(shelf.is_done), cache(shelf.has_files)
    missing = set(to_run(stages, is_done, has_files))
    reasons = Reasons(shelf.rows(), is_done, has_files)
    rows = [
        {
            "key": key,
            "kind": stage.kind,
            "title": stage.title,
            "trials": list(stage.trials),
            "epochs": stage.epochs,
            "runs": key in missing,
            "why": reasons.why(stage, missing),
        }
        for key, stage in stages.items()
    ]
    answer = {
        "grid": question.name,
        "cells": [
            {"cell": cell.id, **cell.text, "not_applicable": question.inapplicable(cell)} for cell in question.cells()
        ],
        "trials": len(plan.trials),
        "stages": rows,
        "epochs": {"asked": plan.epochs_asked, "planned": plan.epochs_planned,
                   "factor": plan.epochs_asked / max(1, plan.epochs_planned),
                   "left": sum(stages[key].epochs for key in missing)},
        "images": {"source": plan.images.source.name, "size": plan.images.size, "digest": plan.images.manifest.digest,
                   **plan.images.subset(plan.images.choice(question.cells()[0].recipe, "main")).sizes()},
        "data": plan.images.account.summary(),
        "weights": sentences((cell.recipe for cell in question.cells()), question.file),
        "device": dict(plan.environment.identity),
        "workers": count,
        "matched": {cell: matching.to_json() for cell, matching in question.matched.items()},
        "minutes": prediction_json(plan, prediction, advice),
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(answer))
        return 0
    console = _show(answer, everything)
    if question.matched:
        from sota_bench.forecast.match import sentence

        console.print(sentence(question.match, question.matched), **PLAIN)
    for line in as_lines(plan, prediction, advice, count):
        console.print(line, markup=False, **PLAIN)
    return 0


def data_lines(data: Mapping[str, Any]) -> list[str]:
    """How the source was read, what is left out of it, and what should be looked at."""
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in data["left_out"].items())
    return [
        *(f"{note[0].upper()}{note[1:]}." for note in data["notes"]),
        *([f"Left out of {data['found']:,} files: {left_out}."] if left_out else []),
        *data["alarms"],
    ]


MOST_ROWS = 40
PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}
"""A sentence: no colours by guess, and no breaks that a pipe would keep."""


def _show(answer: dict[str, Any], everything: bool) -> Console:
    from rich.console import Console
    from rich.table import Table

    from sota_bench.units import counted

    console = Console()
    images, epochs = answer["images"], answer["epochs"]
    size = f"{len(answer['cells'])} cells, {answer['trials']} trials"
    console.print(f"[bold]{answer['grid']}[/bold]: {size} on {images['source']} "
                  f"({images['train']:,} images to train, {images['select']:,} to select, {images['test']:,} to test, "
                  f"stored at {images['size']} px)", **PLAIN)  # fmt: skip
    for line in data_lines(answer["data"]):
        console.print(line, markup=False, **PLAIN)
    for line in answer["weights"]:
        console.print(line, **PLAIN)
    cells = Table(title="Cells", title_justify="left", box=None, header_style="bold")
    names = [name for name in answer["cells"][0] if name != "not_applicable"]
    for name in [*names, ""]:
        cells.add_column(name)
    for cell in answer["cells"] if everything else answer["cells"][:MOST_ROWS]:
        reason = cell["not_applicable"]
        cells.add_row(*(cell[name] for name in names), f"not applicable: {reason}" if reason else "")
    console.print(cells)
    _rest(console, len(answer["cells"]), everything)

    table = Table(title="Stages, in running order", title_justify="left", box=None, header_style="bold")
    table.add_column("stage", overflow="fold")
    table.add_column("trials", justify="right")
    table.add_column("", no_wrap=True)
    table.add_column("why", overflow="fold")
    for row in answer["stages"] if everything else answer["stages"][:MOST_ROWS]:
        table.add_row(row["title"], str(len(row["trials"])), "runs" if row["runs"] else "reused", row["why"])
    console.print(table)
    _rest(console, len(answer["stages"]), everything)

    kinds = Counter(row["kind"] for row in answer["stages"])
    left = Counter(row["kind"] for row in answer["stages"] if row["runs"])
    parts = ", ".join(f"{left[kind]} of {count} {kind}" for kind, count in kinds.items())
    console.print(f"To run: {parts}.", **PLAIN)
    shared = f"Shared stages cut {epochs['asked']} epochs to {epochs['planned']}"
    total = shared if epochs["planned"] < epochs["asked"] else counted(epochs["planned"], "epoch").capitalize()
    console.print(f"{total}, of which {epochs['left']} remain.", **PLAIN)
    device = answer["device"]
    console.print(f"On {device['name']} ({device['kind']}), {answer['workers']} workers.", **PLAIN)
    return console


def _rest(console: Any, count: int, everything: bool) -> None:
    if count > MOST_ROWS and not everything:
        console.print(f"  ... and {count - MOST_ROWS} more (--all shows them)", **PLAIN)
