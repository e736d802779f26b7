"""``plan GRID.toml``: a dry run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sota_bench.commands.fraction import FractionPlan, fraction_plan
from sota_bench.commands.options import grid_options, load_grid, machine_of, stopping_options
from sota_bench.commands.sources import each_source

if TYPE_CHECKING:
    from rich.console import Console

    from sota_bench.forecast.predictor import Predictor
    from sota_bench.grid import Grid
    from sota_bench.grid.expand import Cell
    from sota_bench.plan.machine import Machine
    from sota_bench.plan.plan import Plan
    from sota_bench.runs.expected import ExpectedCost
    from sota_bench.stages.stage import Stage

T = TypeVar("T")

MOST_ROWS = 40
PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}
"""A sentence: no colours by guess, and no breaks that a pipe would keep."""


@click.command()
@grid_options
@stopping_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--all", "everything", is_flag=True, help="List every cell and stage, however many there are.")
@click.option("--no-calibrate", is_flag=True, help="Measure nothing; predict times from earlier calibrations only.")
@each_source()
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, stopping: dict[str, str | int], as_json: bool, everything: bool, no_calibrate: bool,
) -> int:  # fmt: skip
    """Show what a run would do: cells, stages, what is shared, what is done, why the rest runs, and what it costs."""
    from sota_bench.forecast.describe import as_json as prediction_json
    from sota_bench.forecast.describe import as_lines
    from sota_bench.forecast.goal import advise
    from sota_bench.forecast.match import settle_schedules
    from sota_bench.forecast.predictor import Predictor
    from sota_bench.plan.make import make_plan
    from sota_bench.plan.why import Reasons, to_run
    from sota_bench.store import Store

    loaded = load_grid(grid, overrides, seeds, out, stopping=stopping)
    selected = {trial.id for trial in loaded.only(only)} if only else None
    machine = machine_of(store, device, workers, grid=loaded)
    log = partial(click.echo, err=True)
    resolved = settle_schedules(loaded, machine, measure=not no_calibrate, log=log)
    plan, n_workers = make_plan(resolved, machine)
    results = Store(store)
    predictor = Predictor(results, log)
    if not no_calibrate:
        predictor.calibrate(plan, n_workers)
    prediction = predictor.predict(plan, n_workers, selected)
    advice = advise(plan, n_workers, predictor, prediction, measure=not no_calibrate)
    stages = {
        key: stage for key, stage in plan.stages.items() if selected is None or selected.intersection(stage.trials)
    }
    is_done, has_files = cache(results.is_done), cache(results.has_files)
    pending = set(to_run(stages, is_done, has_files))
    reasons = Reasons(results.rows(), is_done, has_files)
    dry_run = DryRun(plan, n_workers, tuple(
        PlannedStage(stage, key in pending, reasons.why(stage, pending)) for key, stage in stages.items()
    ))  # fmt: skip
    looks = _planned_looks(resolved, machine, predictor) if resolved.stop == "decided" else None
    if as_json:
        answer = {**dry_run.to_json(), "minutes": prediction_json(plan, prediction, advice)}
        if looks is not None:
            answer["until_decided"] = looks.to_json()
        click.echo(json.dumps(answer))
        return 0
    console = dry_run.show(everything)
    for line in as_lines(plan, prediction, advice, n_workers, predictor.cache.folder):
        console.print(line, markup=False, **PLAIN)
    for line in looks.lines(resolved) if looks is not None else ():
        console.print(line, markup=False, **PLAIN)
    return 0


@dataclass(frozen=True)
class PlannedLooks:
    """What a run until it is decided would do.

    Attributes:
        seeds: at each look.
        cost: in trainings.
        most_minutes: of all looks, where nothing is decided before the last one; None where it cannot be predicted.
    """

    seeds: tuple[int, ...]
    cost: ExpectedCost
    most_minutes: float | None

    @property
    def likely_minutes(self) -> float | None:
        """Minutes of the likely number of trainings."""
        return None if self.most_minutes is None else self.most_minutes * self.cost.likely / max(1, self.cost.most)

    def to_json(self) -> dict[str, Any]:
        """The answer for programs."""
        return {
            "looks": list(self.seeds),
            "questions": self.cost.questions,
            "most_trainings": self.cost.most,
            "likely_trainings": self.cost.likely,
            "most_minutes": self.most_minutes,
            "likely_minutes": self.likely_minutes,
        }

    def lines(self, grid: Grid) -> list[str]:
        """The same for people."""
        from sota_bench.responses import response_named
        from sota_bench.stats.wording import join
        from sota_bench.units import counted, duration_text

        def cost(trainings: float, minutes: float | None) -> str:
            time_text = "" if minutes is None else f" ({duration_text(60 * minutes)})"
            return f"{counted(round(trainings), 'training')}{time_text}"

        looks = f"Until decided: {counted(self.cost.questions, 'question')}, looks at "
        looks += f"{', '.join(map(str, self.seeds))} seeds."
        without = [response_named(name).noun for name in grid.response if name not in grid.smallest_effects]
        if without:
            of = f" for {join(without)}" if len(grid.response) > 1 else ""
            likely = f"Set grid.smallest_effect{of}: without it, a comparison without an effect is never decided."
        else:
            smallest = " or ".join(
                f"{delta:g} {response_named(name).unit}".rstrip() for name, delta in grid.smallest_effects.items()
            )
            likely = (
                f"Likely {cost(self.cost.likely, self.likely_minutes)}: the mean if effects of 0, 1, 2 and 4 times "
                f"the smallest that matters are equally likely, and {self.seeds[-1]} seeds just suffice to find "
                f"{smallest}."
            )
        return [looks, f"At most {cost(self.cost.most, self.most_minutes)}. {likely}"]


def _planned_looks(grid: Grid, machine: Machine, predictor: Predictor) -> PlannedLooks:
    """The looks of a grid, and what they may cost; nothing more is measured."""
    from sota_bench.plan.make import make_plan
    from sota_bench.runs.expected import expected_cost
    from sota_bench.runs.looks import new_history

    history = new_history(grid)
    wide, n_workers = make_plan(grid.with_seeds(history.seeds), machine)
    prediction = predictor.predict(wide, n_workers)
    minutes = prediction.run_minutes if prediction else None
    return PlannedLooks(history.planned, expected_cost(wide, history), minutes)


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a dry run.

    Attributes:
        stage: the stage.
        runs: whether a run would run it.
        why: why it runs or is reused.
    """

    stage: Stage
    runs: bool
    why: str


@dataclass(frozen=True)
class DryRun:
    """What a run would do.

    Attributes:
        plan: all of it.
        n_workers: worker processes.
        stages: those that were asked for, in running order.
    """

    plan: Plan
    n_workers: int
    stages: tuple[PlannedStage, ...]

    @property
    def epochs_left(self) -> int:
        """Training epochs that are not done."""
        return sum(planned.stage.epochs for planned in self.stages if planned.runs)

    def images(self) -> dict[str, int]:
        """Images of the baseline by split."""
        return self.plan.images.subset(self.plan.images.choice(self.plan.grid.recipe, "main")).sizes()

    def weights(self) -> list[str]:
        """What the pretrained weights in the grid were made for."""
        from sota_bench.grid.pretrained import sentences

        return sentences((cell.recipe for cell in self.plan.grid.cells()), self.plan.grid.file)

    def fraction(self) -> FractionPlan | None:
        """The fractional design of the grid with its aliases; None for another design."""
        grid = self.plan.grid
        return fraction_plan(grid, self.plan.trials) if grid.design == "fractional" else None

    def to_json(self) -> dict[str, Any]:
        """The answer for programs."""
        plan, grid, fraction = self.plan, self.plan.grid, self.fraction()
        return {
            "grid": grid.name,
            "fraction": fraction.to_json() if fraction else None,
            "cells": [
                {"cell": cell.id, **cell.text, "not_applicable": grid.inapplicable(cell)} for cell in grid.cells()
            ],
            "trials": len(plan.trials),
            "stages": [
                {
                    "key": planned.stage.key,
                    "kind": planned.stage.kind,
                    "title": planned.stage.title,
                    "trials": list(planned.stage.trials),
                    "epochs": planned.stage.epochs,
                    "runs": planned.runs,
                    "why": planned.why,
                }
                for planned in self.stages
            ],
            "epochs": {
                "asked": plan.epochs_asked,
                "planned": plan.epochs_planned,
                "factor": plan.epochs_asked / max(1, plan.epochs_planned),
                "left": self.epochs_left,
            },
            "images": {
                "source": plan.images.source.name,
                "size": plan.images.size,
                "digest": plan.images.manifest.digest,
                **self.images(),
            },
            "data": plan.images.account.summary(),
            "weights": self.weights(),
            "device": dict(plan.environment.identity),
            "workers": self.n_workers,
            "matched": {cell: matching.to_json() for cell, matching in grid.matched.items()},
        }

    def show(self, everything: bool) -> Console:
        """Prints it for people; the console, for what follows."""
        from rich.console import Console

        from sota_bench.units import counted

        console, plan, images = Console(), self.plan, self.images()
        source = plan.images.source.name
        size = f"{counted(len(plan.grid.cells()), 'cell')}, {counted(len(plan.trials), 'trial')}"
        counts = f"{images['train']:,} images to train, {images['select']:,} to select, {images['test']:,} to test"
        console.print(f"[bold]{plan.grid.name}[/bold]: {size} on {source} ({counts})", **PLAIN)
        console.print(stored_size(plan.images.size, len(plan.grid.cells()), plan.images.cache), **PLAIN)
        for line in [*data_lines(plan.images.account.summary()), *self.weights()]:
            console.print(line, markup=False, **PLAIN)
        self._show_cells(console, everything)
        if fraction := self.fraction():
            for line in fraction.lines():
                console.print(line, markup=False, **PLAIN)
            header = ("effect", "aliased with")
            _table(console, "Aliases", header, fraction.effects(everything), tuple, everything)
        self._show_stages(console, everything)
        self._show_totals(console)
        return console

    def _show_cells(self, console: Console, everything: bool) -> None:
        grid = self.plan.grid

        def row(cell: Cell) -> tuple[str, ...]:
            reason = grid.inapplicable(cell)
            return cell.id, *cell.text.values(), f"not applicable: {reason}" if reason else ""

        _table(console, "Cells", ("cell", *grid.factors, ""), grid.cells(), row, everything)

    def _show_stages(self, console: Console, everything: bool) -> None:
        def row(planned: PlannedStage) -> tuple[str, ...]:
            stage = planned.stage
            return stage.title, str(len(stage.trials)), "runs" if planned.runs else "reused", planned.why

        _table(console, "Stages, in running order", ("stage", "trials", "", "why"), self.stages, row, everything)

    def _show_totals(self, console: Console) -> None:
        from sota_bench.units import counted

        plan, grid = self.plan, self.plan.grid
        totals = Counter(planned.stage.kind for planned in self.stages)
        left = Counter(planned.stage.kind for planned in self.stages if planned.runs)
        kinds = ", ".join(f"{left[kind]} of {count} {kind}" for kind, count in totals.items())
        console.print(f"Stages to run: {kinds}.", **PLAIN)
        console.print(epochs_sentence(plan.epochs_asked, plan.epochs_planned, self.epochs_left), **PLAIN)
        identity = plan.environment.identity
        workers = counted(self.n_workers, "worker")
        console.print(f"Device: {identity['name']} ({identity['kind']}), {workers}.", **PLAIN)
        if grid.matched:
            from sota_bench.forecast.match import sentence

            console.print(sentence(grid.match, grid.matched), **PLAIN)


def data_lines(data: Mapping[str, Any]) -> list[str]:
    """How the source was read, what is left out of it, and what should be looked at."""
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in data["left_out"].items())
    return [
        *(f"{note[0].upper()}{note[1:]}." for note in data["notes"]),
        *([f"Left out of {data['files']:,} files: {left_out}."] if left_out else []),
        *data["alarms"],
    ]


def stored_size(size: int, cells: int, cache: str) -> str:
    """At which size images are stored and how, and what follows for other grids."""
    of = "the largest size of all cells" if cells > 1 else "the grid's largest size"
    kept = {"pixels": "stored", "jpeg": "stored as JPEGs", "none": "decoded from the source each time,"}[cache]
    return (
        f"Images are {kept} at {size} px (shorter side), chosen for {of}; a grid with other sizes may store others, "
        "and its pixels differ slightly. Set data.size to compare across grids."
    )


def epochs_sentence(asked: int, planned: int, left: int) -> str:
    """What sharing saves and what is left, in epochs."""
    from sota_bench.units import counted

    shared = f"Shared stages cut {counted(asked, 'epoch')} to {planned}" if planned < asked else ""
    total = shared or f"{counted(planned, 'epoch')} in all, none of them shared"
    return f"{total}; {left or 'none'} left to train."


def _table(
    console: Console,
    title: str,
    header: Sequence[str],
    items: Sequence[T],
    row: Callable[[T], tuple[str, ...]],
    everything: bool,
) -> None:
    """A table with a row for each item, of at most ``MOST_ROWS`` rows unless everything is asked for."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold", justify="right" if name == "trials" else "left")
    for item in items if everything else items[:MOST_ROWS]:
        table.add_row(*row(item))
    console.print(table)
    if len(items) > MOST_ROWS and not everything:
        console.print(f"  ... and {len(items) - MOST_ROWS} more (--all shows them)", **PLAIN)
