"""From a grid file to its plan: opens the images, looks at the machine, builds the graph. Shared by all commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sota_bench.data.find import open_source
from sota_bench.grid.expand import Trial
from sota_bench.grid.grid import Grid
from sota_bench.plan.environment import Environment, cores, detect
from sota_bench.plan.graph import build
from sota_bench.plan.images import grid_images
from sota_bench.plan.plan import Plan

MOST_WORKERS = 4
"""Workers on a CPU by default: each holds about 600 MB of libraries."""


@dataclass(frozen=True)
class Machine:
    """The options that say where a grid runs.

    Attributes:
        store: folder of the store.
        device: ``auto``, ``cpu`` or ``cuda[:i]``.
        workers: worker processes; 0 decides by the device.
    """

    store: Path
    device: str = "auto"
    workers: int = 0

    def resolve(self) -> tuple[Environment, int]:
        """The environment and the number of workers."""
        on_gpu = detect(self.device, 1).device != "cpu"
        workers = self.workers or (1 if on_gpu else min(cores(), MOST_WORKERS))
        return detect(self.device, workers), workers


def make_plan(
    grid: Grid,
    machine: Machine,
    progress: Callable[[int, int], None] | None = None,
    trials: Sequence[Trial] | None = None,
    split: str = "select",
) -> tuple[Plan, int]:
    """The plan of a grid on a machine, and the number of workers. Nothing is written into the store.

    Args:
        grid: the question.
        machine: where it runs.
        progress: told (done, total) while the source is listed.
        trials: those that are planned; all of the grid by default.
        split: the images that judge, ``select`` or ``test``.

    Raises:
        UserError: the data cannot be found or used, or a phase is above the stored resolution.
    """
    environment, workers = machine.resolve()
    source = open_source(grid.source, grid.data_path)
    manifest = source.scan(progress)
    images = grid_images(grid, source, manifest)
    file = machine.store.absolute() / "manifests" / f"{manifest.digest}.csv"
    return build(grid, environment, images, file, cores(), trials, split), workers
