"""What a run that goes on until it is decided may cost at most, and is likely to cost, before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sota_bench.grid.grid import Grid
from sota_bench.grid.recipe import scope_of
from sota_bench.plan.plan import Plan
from sota_bench.runs.looks import LookHistory, trainings_of
from sota_bench.stats.sequential import LookPlan
from sota_bench.stats.verdicts import holm

if TYPE_CHECKING:
    import pandas as pd

EFFECTS = (0.0, 1.0, 2.0, 4.0)
"""True effects, in units of the smallest effect of interest, that are taken to be equally likely."""

POWER = 0.8
ALPHA = 0.05
DRAWS = 2000


@dataclass(frozen=True)
class ExpectedCost:
    """Trainings that are still to come, at any look.

    Attributes:
        questions: how many there are, over all responses.
        most: where nothing is decided before the last look.
        likely: mean, where effects of 0, 1, 2 and 4 times the smallest effect of interest are equally likely, and the
            seeds of the last look just find the smallest one in 80%.
    """

    questions: int
    most: int
    likely: float


def expected_cost(wide: Plan, history: LookHistory) -> ExpectedCost:
    """The cost of all looks of a grid, in trainings.

    Args:
        wide: the plan of all cells with all seeds that may run.
        history: what is planned.
    """
    by_question, responses = cells_of_grid(wide.grid), len(wide.grid.response)
    cells = [*by_question.values()] * responses
    # The questions of each response are a family of their own.
    simulated = seeds_until_decided(history.plan, len(by_question), DRAWS * responses)
    seeds = np.hstack(np.split(simulated, responses))
    training_of = {
        trial.trial.cell.id: trial.training[-1]
        for trial in wide.trials
        if trial.training and trial.trial.seed == history.seeds[0]
    }
    groups: dict[str, list[str]] = {}
    for cell, training in training_of.items():
        groups.setdefault(training, []).append(cell)
    totals = np.zeros(len(seeds))
    for members in groups.values():
        asking = [number for number, compared in enumerate(cells) if not compared.isdisjoint(members)]
        totals += seeds[:, asking].max(axis=1, initial=history.planned[0])
    every = frozenset(trial.trial.id for trial in wide.trials)
    return ExpectedCost(len(cells), trainings_of(wide, every), float(totals.mean()))


def cells_of_grid(grid: Grid) -> Mapping[tuple[str, str], frozenset[str]]:
    """The ids of the cells that each question of a grid compares, by factor and level."""
    from sota_bench.stats.compared import compared_cells

    factors = {name: [*dict.fromkeys(cell.text[name] for cell in grid.cells())] for name in grid.factors}
    factors = {name: levels for name, levels in factors.items() if len(levels) > 1}
    if not factors:
        return {}
    within = [name for name in factors if scope_of(type(grid.recipe), name) == "evaluate"]
    return compared_cells(_placeholder(grid), response="accuracy", factors=factors, cell="cell", within=within)


def _placeholder(grid: Grid) -> pd.DataFrame:
    """A table of the grid's cells with made-up results: which cells are compared does not depend on them."""
    import pandas as pd

    cells = [cell for cell in grid.cells() if grid.inapplicable(cell) is None]
    results = np.random.default_rng(0).normal(50.0, 1.0, (2, len(cells)))
    runs = {cell.id: grid.layout.runs(grid.factors, cell.levels) for cell in cells if grid.design == "fractional"}
    rows = [
        {"cell": cell.id, **cell.text, "seed": seed, "status": "done", "accuracy": results[seed, number],
         **({"fraction_runs": runs[cell.id]} if runs else {})}
        for seed in range(2)
        for number, cell in enumerate(cells)
    ]
    return pd.DataFrame(rows)


def seeds_until_decided(plan: LookPlan, questions: int, draws: int = DRAWS) -> NDArray[np.int_]:
    """Seeds at which each question is decided, or those of the last look, in simulated runs [draws, questions].

    Questions are independent, standard errors known, and effects equally often `EFFECTS` times one that the last look
    would find in 80% by itself at the first step of Holm's correction.

    Args:
        plan: the looks.
        questions: how many.
        draws: runs.
    """
    from scipy.special import ndtr, ndtri

    if not questions:
        return np.zeros((draws, 0), dtype=int)
    rng = np.random.default_rng(0)
    delta = float(ndtri(1 - ALPHA / (2 * questions)) + ndtri(POWER))
    effect = delta * rng.choice(EFFECTS, (draws, questions))
    real, small = np.zeros((draws, questions), dtype=bool), np.zeros((draws, questions), dtype=bool)
    seeds = np.full((draws, questions), plan.most)
    path, before = np.zeros((draws, questions)), 0.0
    for number, (fraction, count) in enumerate(zip(plan.fractions, plan.seeds, strict=True), 1):
        step = fraction - before
        path += effect * step + rng.normal(size=path.shape) * np.sqrt(step)
        before = fraction
        z, open_now = path / np.sqrt(fraction), ~(real | small)
        p = plan.repeated(2 * ndtr(-np.abs(z)), number)
        p_small = plan.repeated(np.minimum(2 * ndtr(np.abs(z) - delta * np.sqrt(fraction)), 1.0), number)
        new_real = open_now & (holm(np.where(open_now, p, ~real)) < ALPHA)
        new_small = open_now & (holm(np.where(open_now, p_small, ~small)) < ALPHA)
        real, small = real | new_real, small | new_small
        seeds = np.where(new_real | new_small, count, seeds)
    return seeds
