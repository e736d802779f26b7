"""Counts the training operations of each cell: a few steps of two images each, done once and kept with the
calibrations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sota_bench.engine.events import Event, StageDone, StageFailed
from sota_bench.engine.run_stages import run_stages
from sota_bench.errors import UserError
from sota_bench.files import write_json
from sota_bench.forecast.calibration import calibrations_folder, scratch_folder
from sota_bench.forecast.combination import Combination, Combinations
from sota_bench.forecast.shrink import Shrinker
from sota_bench.plan.environment import cores
from sota_bench.plan.plan import Plan
from sota_bench.stages.params import TrainParams
from sota_bench.stages.stage import Stage
from sota_bench.store import Store
from sota_bench.units import counted

STEPS, IMAGES = 16, 2
"""Steps that are counted, so that a technique which draws the size of each step is counted at its mixture; and the
images of a step: operations are proportional to them, and batch norm needs two."""


class FlopCounter:
    """Operations per training image, counted where they are not known.

    Args:
        store: folder of the store.
        log: takes lines of progress.
    """

    def __init__(self, store: Path, log: Callable[[str], None] = lambda line: None) -> None:
        self.folder, self.log = calibrations_folder(store), log

    def per_image(self, plan: Plan) -> dict[str, float]:
        """Operations of one training image, by the key of the training stage.

        Raises:
            UserError: a stage cannot be trained, so nothing can be counted.
        """
        combinations = Combinations(plan, 0)
        stages = [stage for stage in plan.stages.values() if stage.kind == "train"]
        flops = {combination: self._stored(combination) for combination in map(combinations.of, stages)}
        missing = [stage for stage in stages if flops[combinations.of(stage)] is None]
        if missing:
            flops |= self._count(plan, combinations, missing)
        return {stage.key: flops[combinations.of(stage)] or 0.0 for stage in stages}

    def _file(self, combination: Combination) -> Path:
        return self.folder / f"flops-{combination.name}.json"

    def _stored(self, combination: Combination) -> float | None:
        try:
            return float(json.loads(self._file(combination).read_bytes())["flops_per_image"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _count(self, plan: Plan, combinations: Combinations, stages: Sequence[Stage]) -> dict[Combination, float]:
        shrinker = Shrinker(plan, combinations, steps=STEPS, batch=IMAGES)
        first_stages: dict[Combination, Stage] = {}
        for stage in stages:
            first_stages.setdefault(combinations.of(stage), stage)
        small = {shrinker.add(stage).key: combination for combination, stage in first_stages.items()}
        self.log(f"counting the operations of {counted(len(small), 'combination')}")
        flops: dict[Combination, float] = {}
        failures: list[str] = []

        def collect(event: Event) -> None:
            if isinstance(event, StageDone) and event.stage.key in small:
                trained = event.result.trained
                assert trained.counted_flops is not None and trained.counted_images
                flops[small[event.stage.key]] = trained.counted_flops / trained.counted_images
            elif isinstance(event, StageFailed):
                failures.append(event.reason)

        folder = scratch_folder(self.folder)
        try:
            small_stages = [_uncompiled(stage) for stage in shrinker.finish(folder, cores())]
            store = Store(folder / "store")
            with store.hold("count operations"):
                summary = run_stages(
                    small_stages,
                    store,
                    workers=min(2, cores()),
                    execute="sota_bench.forecast.counted_stage:execute",
                    on_event=collect,
                )
            if summary.interrupted:
                raise KeyboardInterrupt
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if failures:
            problem = f"the operations of a cell cannot be counted: {failures[0]}"
            raise UserError(str(plan.grid.file), "grid.match", problem, 'write match = "epochs" instead')
        for combination, value in flops.items():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self._file(combination), {"flops_per_image": value})
        return flops


def _uncompiled(stage: Stage) -> Stage:
    """The stage without ``torch.compile``, which hides operations from the counter."""
    params = stage.params
    if not isinstance(params, TrainParams):
        return stage
    return replace(stage, params=replace(params, recipe={**params.recipe, "compile": "off"}))
