"""Titles of stages: what a stage does, for which levels and which seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sota_bench.grid.expand import Trial
from sota_bench.grid.grid import Grid
from sota_bench.stages.params import PrecomputeParams, PrepareParams
from sota_bench.stages.stage import Stage


def with_levels(grid: Grid, trials: Sequence[Trial], stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """The stages with titles that say for which levels and seed they are: ``train 64 px x3, mixup 0.2, seed 1``.

    A level is named where all trials that need the stage have it and the grid's other trials have others. Where cells
    differ from one of them in one factor, only those levels are named.
    """
    cells = {trial.id: trial for trial in trials}
    return {key: replace(stage, title=_title(grid, cells, stage)) for key, stage in stages.items()}


def _title(grid: Grid, trials: Mapping[str, Trial], stage: Stage) -> str:
    params = stage.params
    if isinstance(params, PrepareParams):
        return stage.title
    users = [trials[trial] for trial in stage.trials]
    if isinstance(params, PrecomputeParams) and params.size is None:  # computed from the images alone
        return ", ".join([stage.title, *(_levels(grid, users) if len(users) < len(trials) else ())])
    return ", ".join([stage.title, *_levels(grid, users), f"seed {users[0].seed}"])


def _levels(grid: Grid, users: Sequence[Trial]) -> list[str]:
    first = users[0].cell.text
    shared = [factor for factor in grid.factors if all(trial.cell.text[factor] == first[factor] for trial in users)]
    if grid.design == "full":
        return [f"{factor} {first[factor]}" for factor in shared]
    center = grid.cells()[0]
    changed = [f"{factor} {first[factor]}" for factor in shared if first[factor] != center.text[factor]]
    if changed:
        return changed
    return ["baseline"] if center == grid.baseline_cell else ["every factor at its last level"]
