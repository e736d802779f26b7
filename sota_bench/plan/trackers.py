"""Which weights each training keeps beside the trained ones: those that some cell of the grid judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from sota_bench.grid.expand import Cell
from sota_bench.grid.grid import Grid
from sota_bench.grid.recipe import CoreRecipe
from sota_bench.stages.params import TrackerParams
from sota_bench.stages.values import canonical
from sota_bench.technique import TracksWeights

Trackers: TypeAlias = Mapping[tuple[str, int], tuple[TrackerParams, ...]]
"""(cell, index of the phase) -> the trackers that its training runs."""


def trackers_of(grid: Grid, training_keys: Callable[[Cell], Sequence[str]]) -> Trackers:
    """The trackers of each training: those of all cells of the grid that share the phase. So which weights are judged
    never retrains, whatever part of the grid is planned.

    Args:
        grid: all of its cells count.
        training_keys: the keys of a cell's training phases as they would be without trackers.
    """
    trackers = {cell.id: _asked_for(grid, cell.recipe) for cell in grid.cells()}
    if not any(trackers.values()):
        return {}
    training: dict[str, Sequence[str]] = {}
    sharing: dict[str, dict[str, TrackerParams]] = {}
    for cell in grid.cells():
        training[cell.id] = training_keys(cell)
        for key in training[cell.id]:
            sharing.setdefault(key, {}).update(trackers[cell.id])
    return {
        (cell_id, index): tuple(params for _, params in sorted(sharing[key].items()))
        for cell_id, keys in training.items()
        for index, key in enumerate(keys)
    }


def _asked_for(grid: Grid, recipe: CoreRecipe) -> dict[str, TrackerParams]:
    """The trackers of one recipe, by their canonical text."""
    trackers = [
        TrackerParams(technique.name, technique.settings.model_dump(mode="json"))
        for technique in grid.active(recipe)
        if isinstance(technique, TracksWeights)
    ]
    return {canonical(params): params for params in trackers}
