"""From a grid file to its plan: opens the images, looks at the machine, builds the graph. Shared by all commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sota_bench.data.find import open_source
from sota_bench.data.joined import JoinedSource
from sota_bench.data.options import ReadingOptions
from sota_bench.data.source import Source
from sota_bench.data.specs import source_from_spec
from sota_bench.errors import UserError, in_file
from sota_bench.grid.expand import Trial
from sota_bench.grid.grid import Grid
from sota_bench.grid.matched import MatchedSchedule
from sota_bench.grid.pretrained import located
from sota_bench.grid.tables import PATH_SOURCES
from sota_bench.plan.data_factors import check_data_factors
from sota_bench.plan.environment import cores
from sota_bench.plan.graph import build
from sota_bench.plan.images import GridImages, grid_images
from sota_bench.plan.machine import Machine
from sota_bench.plan.manifest_queries import manifest_of, stored_manifest
from sota_bench.plan.networks import check_networks
from sota_bench.plan.plan import Plan
from sota_bench.plan.recalls import check_recalls
from sota_bench.plan.recorded import environment_of, with_recorded_keys
from sota_bench.technique import TrainsBaseModel


def make_plan(
    grid: Grid,
    machine: Machine,
    progress: Callable[[int, int], None] | None = None,
    trials: Sequence[Trial] | None = None,
    split: str = "select",
) -> tuple[Plan, int]:
    """The plan of a grid on a machine, and the number of workers. Nothing is written into the store.

    Args:
        grid: what is asked, with its schedules where cells are compared at equal cost (``forecast.match``).
        machine: where it runs.
        progress: called with (done, total) while the source is listed.
        trials: those that are planned; all of the grid by default.
        split: the images that judge, ``select`` or ``test``.

    Raises:
        UserError: a network cannot be made as its cell asks, the data cannot be found or used, a phase is above the
            stored resolution, levels of a factor choose the same images, or there is no class of a recall.
    """
    environment, workers = machine.resolve()
    check_networks(grid)
    with in_file(grid.file, "data"):
        source = _source(grid)
        manifest = manifest_of(source, progress)
        images = grid_images(grid, source, manifest)
        file = manifest_file(machine.store, manifest.digest)
        plan = build(grid, environment, images, file, cores(), trials, split)
    check_data_factors(plan)
    check_recalls(plan)
    return plan, workers


def _source(grid: Grid) -> Source:
    """The grid's own source, joined with those that its base models are trained on."""
    main, others = open_source(grid.source, grid.data_path, options=reading_options(grid)), dict[str, Source]()
    for cell in grid.cells():
        for technique in grid.active(cell.recipe):
            name = technique.base_data() if isinstance(technique, TrainsBaseModel) else ""
            if name and name not in others:
                kind, _, path = name.partition(":")
                others[name] = open_source(f"{kind}:{located(path, grid.file)}" if kind in PATH_SOURCES else name)
    return JoinedSource(main, others) if others else main


def reading_options(grid: Grid) -> ReadingOptions:
    """How ``[data]`` says that the source is to be read."""
    return ReadingOptions(**{option.name: getattr(grid.data, option.name) for option in fields(ReadingOptions)})


def remake_plan(grid: Grid, store: Path, recorded: Mapping[str, Any]) -> Plan:
    """The plan of a grid as a recorded run made it; neither its images nor its machine need be here.

    Args:
        grid: the question.
        store: folder of the store.
        recorded: what the ledger has of the run (see ``plan.recorded.plan_record``).

    Raises:
        UserError: the run's manifest is gone from the store, or damaged.
    """
    images_record = recorded["images"]
    file = manifest_file(store, images_record["manifest"])
    manifest = stored_manifest(file)
    if manifest.digest != images_record["manifest"]:
        raise UserError(str(file), "", "is not the manifest of that name: it is damaged", "run the grid again")
    images = GridImages(
        source_from_spec(images_record["source"]),
        manifest,
        images_record["size"],
        images_record["upsampled"],
        images_record.get("cache", "pixels"),
        grid.file,
        grid.techniques,
    )
    matched = recorded.get("matched", {})
    grid = grid.as_matched({cell: MatchedSchedule.from_json(values) for cell, values in matched.items()})
    return with_recorded_keys(build(grid, environment_of(recorded), images, file, 1), recorded)


def manifest_file(store: Path, digest: str) -> Path:
    """Where a store keeps a manifest."""
    return store.absolute() / "manifests" / f"{digest}.csv"
