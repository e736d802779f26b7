"""Cells compared at equal cost: their epochs are scaled until each training costs what the baseline's does."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError
from sota_bench.files import write_json
from sota_bench.forecast.flops import Counter
from sota_bench.forecast.forecast import Forecast
from sota_bench.grid.expand import Cell, Trial
from sota_bench.grid.grid import Grid
from sota_bench.grid.resize_schedule import MAX_EPOCHS, SizePhase, format_schedule
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.plan.plan import Plan
from sota_bench.stages.values import canonical
from sota_bench.store import Store

UNITS = {"minutes": "training minutes", "flops": "training FLOPs"}
FORMAT = 2


@dataclass(frozen=True)
class Matched:
    """One cell at equal cost.

    Attributes:
        written: its schedule as the grid has it.
        schedule: the one that it trains.
        cost_written, cost: of one training, in minutes or floating-point operations.
        budget: the baseline's cost.
    """

    written: str
    schedule: str
    cost_written: float
    cost: float
    budget: float


def scaled_epochs(epochs: Sequence[int], costs: Sequence[float], budget: float) -> list[int]:
    """Whole epochs whose cost is nearest to a budget, in the proportions given, at least one in each phase.

    Every phase has ``max(1, floor(k * epochs + 1/2))`` for one factor k, the one that brings the total nearest to the
    budget; of equals the one nearest to 1.

    Args:
        epochs: of each phase, as written.
        costs: of one epoch of each phase, in the unit of ``budget``.
        budget: what all phases together may cost.
    """
    total = sum(count * cost for count, cost in zip(epochs, costs, strict=True))
    if total <= 0:
        return list(epochs)
    largest = max(2.0, 2 * budget / total)
    turns = {0.0, largest}  # the factors at which a phase goes to its next whole number
    for count in epochs:
        turns.update((step + 0.5) / count for step in range(min(int(largest * count) + 1, MAX_EPOCHS)))
    between = [(low + high) / 2 for low, high in itertools.pairwise(sorted(turns))]

    def at(factor: float) -> list[int]:
        return [max(1, min(MAX_EPOCHS, math.floor(factor * count + 0.5))) for count in epochs]

    def distance(factor: float) -> tuple[float, float]:
        cost = sum(count * cost for count, cost in zip(at(factor), costs, strict=True))
        return round(abs(cost - budget) / budget, 9), abs(factor - 1)

    return at(min([1.0, *between], key=distance))


def match_grid(
    grid: Grid, machine: Machine, tell: Callable[[str], None] = lambda line: None, may_measure: bool = True
) -> Grid:
    """The grid with the schedules that its ``match`` asks for; itself where that is ``epochs``.

    What was matched once is kept in the store, under what it depends on (the recipes as written, the images, the
    machine, the software, the code; not the seeds), and used again: the same command always trains the same schedules,
    although times vary.

    Args:
        grid: as written.
        machine: where it runs.
        tell: told what happens, a line at a time.
        may_measure: whether calibrations that are not there may be made now.

    Raises:
        UserError: they are not there and may not be made, or a cell cannot be measured.
    """
    if grid.match == "epochs" or grid.schedules:
        return grid
    plan, workers = make_plan(grid, machine, trials=_baseline_first(grid))
    file = _file(plan, workers, machine.store)
    cells = _read(file)
    if cells is None:
        if not may_measure:
            problem = f"its cells are not matched for {grid.match} yet"
            raise UserError(str(grid.file), "grid.match", problem, "start with run, or with plan")
        cells = _match(plan, _costs(plan, workers, machine, tell))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"format": FORMAT, "cells": {cell: asdict(one) for cell, one in cells.items()}})
    return grid.as_matched({cell: asdict(one) for cell, one in cells.items()})


def _baseline_first(grid: Grid) -> list[Trial]:
    """The baseline, also where the design has no such cell (``leave-one-out``), then every other trial."""
    first = {factor: levels[0] for factor, levels in grid.factors.items()}
    baseline = grid.baseline_cell or Cell("baseline", first, grid.recipe)
    trial = Trial(f"{baseline.id}-s{grid.seeds[0]}", baseline, grid.seeds[0])
    return [trial, *(other for other in grid.trials() if other.id != trial.id)]


def _file(plan: Plan, workers: int, store: Path) -> Path:
    """Where the matched schedules of a plan lie: named by all that decides them."""
    about: list[Any] = [plan.grid.match, workers]
    for trial in plan.trials:
        if trial.inapplicable is None and trial.trial.seed == plan.grid.seeds[0]:
            stages = [plan.stages[key] for key in trial.training]
            about.append([trial.trial.cell.id, *({**stage.described(), "seed": None} for stage in stages)])
    digest = hashlib.sha256(canonical(about).encode()).hexdigest()
    return store.absolute() / "calibrations" / f"matched-{digest}.json"


def _read(file: Path) -> dict[str, Matched] | None:
    try:
        stored = json.loads(file.read_bytes())
        return {cell: Matched(**one) for cell, one in stored["cells"].items()} if stored["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


Costs = Callable[[str], tuple[float, float]]
"""What a training stage costs whatever its epochs, and what each epoch costs, in the unit of the grid's ``match``."""


def _costs(plan: Plan, workers: int, machine: Machine, tell: Callable[[str], None]) -> Costs:
    if plan.grid.match == "flops":
        per_image = Counter(machine.store, tell).per_image(plan)

        def count(key: str) -> tuple[float, float]:
            return 0.0, per_image[key] * plan.images.subset(plan.stages[key].choice).sizes()["train"]

        return count
    forecast = Forecast(Store(machine.store), tell)
    forecast.calibrate(plan, workers)
    prediction = forecast.predict(plan, workers)

    def minutes(key: str) -> tuple[float, float]:
        if prediction is None or key not in prediction.work_s:
            problem = f"{plan.stages[key].title} could not be timed"
            raise UserError(str(plan.grid.file), "grid.match", problem, "match flops or epochs instead")
        first_s = prediction.first_s[key]
        return first_s / 60, (prediction.work_s[key] - first_s) / 60 / plan.stages[key].epochs

    return minutes


def _match(plan: Plan, costs_of: Costs) -> dict[str, Matched]:
    """The schedule of every cell; the baseline's cost is the budget, and phases of a base model keep their epochs."""
    found: dict[str, Matched] = {}
    budget = 0.0
    for trial in plan.trials:
        cell = trial.trial.cell
        if trial.inapplicable is not None or cell.id in found:
            continue
        once, costs = zip(*(costs_of(key) for key in trial.training), strict=True)
        epochs = [phase.epochs for phase in trial.phases]
        total = sum(once) + sum(count * cost for count, cost in zip(epochs, costs, strict=True))
        budget = budget or total
        own = [place for place, phase in enumerate(trial.phases) if phase.task == "main"]
        fixed = total - sum(epochs[place] * costs[place] for place in own)
        wanted = scaled_epochs(
            [epochs[place] for place in own], [costs[place] for place in own], max(budget - fixed, 1e-9 * budget)
        )
        cost = fixed + sum(count * costs[place] for count, place in zip(wanted, own, strict=True))
        sizes = [trial.phases[place].size for place in own]
        schedule = format_schedule([SizePhase(size, count) for size, count in zip(sizes, wanted, strict=True)])
        found[cell.id] = Matched(cell.recipe.resize, schedule, total, cost, budget)
    cells = {cell.id for cell in plan.grid.cells()}
    return {cell: one for cell, one in found.items() if cell in cells}


def sentence(match: str, cells: Mapping[str, Mapping[str, Any]]) -> str:
    """What was matched, for the report."""
    changed = [f"{cell} trains {one['schedule']} instead of {one['written']}" for cell, one in cells.items()
               if one["schedule"] != one["written"]]  # fmt: skip
    apart = max(abs(one["cost"] / one["budget"] - 1) for one in cells.values())
    how = "; ".join(changed) if changed else "no schedule had to change"
    return (
        f"Matched for {UNITS[match]}: epochs are scaled in whole numbers until each training costs what the baseline's "
        f"does (at most {100 * apart:.0f}% apart): {how}."
    )
