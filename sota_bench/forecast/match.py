"""Settles the schedules of a grid that compares at equal cost, before it is planned: the epochs of each cell are scaled
until its training costs what the baseline's does."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.files import write_json
from sota_bench.forecast.calibration import calibrations_folder
from sota_bench.forecast.flops import FlopCounter
from sota_bench.forecast.predictor import Predictor
from sota_bench.grid.expand import Cell, Trial
from sota_bench.grid.grid import Grid
from sota_bench.grid.matched import MatchedSchedule
from sota_bench.grid.resize_schedule import MAX_EPOCHS, SizePhase, format_schedule
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.stages.values import Json, canonical
from sota_bench.store import Store

UNITS = {"minutes": "training minutes", "flops": "training FLOPs"}
FORMAT = 2


def settle_schedules(
    grid: Grid, machine: Machine, measure: bool, log: Callable[[str], None] = lambda line: None
) -> Grid:
    """The grid with the schedules that its ``match`` asks for; the same grid where that is ``epochs``.

    Schedules are stored under everything that they depend on (recipes as written, images, machine, software, code; not
    the seeds) and used again, so that the same command always trains the same schedules although times vary.

    Args:
        grid: as written.
        machine: where it runs.
        measure: whether schedules that are not stored may be measured now.
        log: takes lines of progress.

    Raises:
        UserError: the schedules are not stored and may not be measured, or a cell cannot be measured.
    """
    if grid.match == "epochs" or grid.schedules:
        return grid
    plan, workers = make_plan(grid, machine, trials=_baseline_first(grid))
    file = _file(plan, workers, machine.store)
    schedules = _read(file)
    if schedules is None:
        if not measure:
            problem = f"its cells are not matched for {grid.match} yet"
            raise UserError(str(grid.file), "grid.match", problem, "start with run, or with plan")
        schedules = _match(plan, _costs(plan, workers, machine, log))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"format": FORMAT, "cells": {cell: matched.to_json() for cell, matched in schedules.items()}})
    return grid.as_matched(schedules)


def _baseline_first(grid: Grid) -> list[Trial]:
    """A trial of the baseline, also where the design has no such cell (``leave-one-out``), then one of each other
    cell."""
    first_levels = {factor: levels[0] for factor, levels in grid.factors.items()}
    baseline = grid.baseline_cell or Cell("baseline", first_levels, grid.recipe)
    cells = [baseline, *(cell for cell in grid.cells() if cell.id != baseline.id)]
    return [Trial(f"{cell.id}-s{grid.seeds[0]}", cell, grid.seeds[0]) for cell in cells]


def scaled_epochs(epochs: Sequence[int], costs: Sequence[float], budget: float) -> list[int]:
    """Whole epochs whose cost is nearest to a budget, in the given proportions, and at least one in each phase.

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


def _file(plan: Plan, workers: int, store: Path) -> Path:
    """The file of a plan's matched schedules, named by everything that decides them."""
    deciding: list[Json] = [plan.grid.match, workers]
    for trial in plan.trials:
        if trial.inapplicable is None:
            stages = [plan.stages[key] for key in trial.training]
            deciding.append([trial.trial.cell.id, *({**stage.described(), "seed": None} for stage in stages)])
    digest = hashlib.sha256(canonical(deciding).encode()).hexdigest()
    return calibrations_folder(store) / f"matched-{digest}.json"


def _read(file: Path) -> dict[str, MatchedSchedule] | None:
    try:
        stored = json.loads(file.read_bytes())
        if stored["format"] != FORMAT:
            return None
        return {str(cell): MatchedSchedule.from_json(values) for cell, values in stored["cells"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


Costs = Callable[[str], tuple[float, float]]
"""From the key of a training stage to what it costs whatever its epochs, and what each epoch costs, in the unit of the
grid's ``match``."""


def _costs(plan: Plan, workers: int, machine: Machine, log: Callable[[str], None]) -> Costs:
    if plan.grid.match == "flops":
        per_image = FlopCounter(machine.store, log).per_image(plan)

        def flops(key: str) -> tuple[float, float]:
            return 0.0, per_image[key] * plan.images.subset(plan.stages[key].choice).sizes()["train"]

        return flops
    predictor = Predictor(Store(machine.store), log)
    predictor.calibrate(plan, workers)
    prediction = predictor.predict(plan, workers)

    def minutes(key: str) -> tuple[float, float]:
        if prediction is None or key not in prediction.work_s:
            problem = f"{plan.stages[key].title} could not be timed"
            raise UserError(str(plan.grid.file), "grid.match", problem, 'write match = "flops" or "epochs" instead')
        first_s = prediction.first_s[key]
        return first_s / 60, (prediction.work_s[key] - first_s) / 60 / plan.stages[key].epochs

    return minutes


def _match(plan: Plan, costs_of: Costs) -> dict[str, MatchedSchedule]:
    """The schedule of each cell of the grid; the baseline's cost is the budget, and phases of a base model keep their
    epochs."""
    baseline, *_ = plan.trials
    if baseline.inapplicable is not None:
        problem = f"the baseline, whose cost the others are matched to, cannot be trained: {baseline.inapplicable}"
        raise UserError(str(plan.grid.file), "grid.match", problem, "write another first level")
    budget = _cost(plan, baseline, costs_of)
    of_grid = {cell.id for cell in plan.grid.cells()}
    return {
        trial.trial.cell.id: _matched(plan, trial, costs_of, budget)
        for trial in plan.trials
        if trial.inapplicable is None and trial.trial.cell.id in of_grid
    }


def _cost(plan: Plan, trial: TrialPlan, costs_of: Costs) -> float:
    """What the training of a trial costs as written."""
    parts = [(*costs_of(key), plan.stages[key].epochs) for key in trial.training]
    return sum(once + epochs * each for once, each, epochs in parts)


def _matched(plan: Plan, trial: TrialPlan, costs_of: Costs, budget: float) -> MatchedSchedule:
    each = [costs_of(key)[1] for key in trial.training]
    main = [index for index, phase in enumerate(trial.phases) if phase.task == "main"]
    epochs, costs = [trial.phases[index].epochs for index in main], [each[index] for index in main]
    written = _cost(plan, trial, costs_of)
    fixed = written - sum(count * cost for count, cost in zip(epochs, costs, strict=True))
    scaled = scaled_epochs(epochs, costs, max(budget - fixed, 1e-9 * budget))
    phases = [SizePhase(trial.phases[index].size, count) for index, count in zip(main, scaled, strict=True)]
    cost = fixed + sum(count * cost for count, cost in zip(scaled, costs, strict=True))
    return MatchedSchedule(trial.trial.cell.recipe.resize, format_schedule(phases), written, cost, budget)


def sentence(match: str, schedules: Mapping[str, MatchedSchedule]) -> str:
    """What was matched, for people."""
    changed = [
        f"{cell} trains {matched.schedule} instead of {matched.written}"
        for cell, matched in schedules.items()
        if matched.schedule != matched.written
    ]
    largest = max(abs(matched.cost / matched.budget - 1) for matched in schedules.values())
    changes = "; ".join(changed) if changed else "no schedule had to change"
    return (
        f"Matched for {UNITS[match]}: the epochs of each cell are scaled in whole numbers until its training costs "
        f"what the baseline's does (at most {100 * largest:.0f}% more or less): {changes}."
    )
