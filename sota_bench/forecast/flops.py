"""Counted training operations of each cell: a few steps of two images each, run once and kept with the calibrations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sota_bench.engine.events import Event, StageDone, StageFailed
from sota_bench.engine.run_stages import run_stages
from sota_bench.errors import UserError
from sota_bench.files import write_json
from sota_bench.forecast.calibrate import scratch
from sota_bench.forecast.combination import Combination, Combinations
from sota_bench.forecast.shrink import Shrinker
from sota_bench.plan.environment import cores
from sota_bench.plan.plan import Plan
from sota_bench.stages.params import TrainParams
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

STEPS, IMAGES = 16, 2
"""Steps that are counted, so that a technique which draws the size of each step is counted at its mixture; and the
images of a step: operations are proportional to them, and two are what batch norm needs."""


class Counter:
    """Operations per training image, counted where they are not known.

    Args:
        store: folder of the store.
        tell: told what happens, a line at a time.
    """

    def __init__(self, store: Path, tell: Callable[[str], None] = lambda line: None) -> None:
        self.folder, self.tell = store.absolute() / "calibrations", tell

    def per_image(self, plan: Plan, count: bool = True) -> dict[str, float]:
        """Operations of one training image, by stage key.

        Args:
            plan: whose training stages they are.
            count: whether what is not known may be counted now.

        Raises:
            UserError: something is not known and may not be counted, or cannot be trained at all.
        """
        combinations = Combinations(plan, 0)
        stages = [stage for stage in plan.stages.values() if stage.kind == "train"]
        known = {combination: self._get(combination) for combination in map(combinations.of, stages)}
        if any(flops is None for flops in known.values()):
            if not count:
                place = str(plan.grid.file)
                raise UserError(
                    place, "grid.match", "the operations of its cells are not counted yet", "start with run"
                )
            known |= self._count(plan, combinations, [s for s in stages if known[combinations.of(s)] is None])
        return {stage.key: float(known[combinations.of(stage)] or 0.0) for stage in stages}

    def _file(self, combination: Combination) -> Path:
        return self.folder / f"flops-{combination.name}.json"

    def _get(self, combination: Combination) -> float | None:
        try:
            return float(json.loads(self._file(combination).read_bytes())["flops_per_image"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _count(self, plan: Plan, combinations: Combinations, stages: list[Stage]) -> dict[Combination, float | None]:
        shrinker = Shrinker(plan, combinations, steps=STEPS, batch=IMAGES)
        first: dict[Combination, Stage] = {}
        for stage in stages:
            first.setdefault(combinations.of(stage), stage)
        small = {shrinker.add(stage).key: combination for combination, stage in first.items()}
        self.tell(f"counting the operations of {len(small)} combination{'s' if len(small) > 1 else ''}")
        found: dict[Combination, float | None] = {}
        failed: list[str] = []

        def hear(event: Event) -> None:
            if isinstance(event, StageDone) and event.stage.key in small:
                trained = event.result.trained
                assert trained.counted_flops is not None and trained.counted_images
                found[small[event.stage.key]] = trained.counted_flops / trained.counted_images
            elif isinstance(event, StageFailed):
                failed.append(event.reason)

        folder = scratch(self.folder)
        try:
            ready = [_uncompiled(stage) for stage in shrinker.finish(folder, cores())]
            store = Store(folder / "store")
            with store.hold("count operations"):
                summary = run_stages(
                    ready, store, workers=min(2, cores()), execute="sota_bench.forecast.counting:execute", on_event=hear
                )
            if summary.interrupted:
                raise KeyboardInterrupt
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if failed:
            raise UserError(
                str(plan.grid.file), "grid.match", f"cannot be counted: {failed[0]}", "match epochs instead"
            )
        for combination, flops in found.items():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self._file(combination), {"flops_per_image": flops})
        return found


def _uncompiled(stage: Stage) -> Stage:
    """The stage without ``torch.compile``, which hides operations from the counter."""
    params = stage.params
    if not isinstance(params, TrainParams):
        return stage
    return replace(stage, params=replace(params, recipe={**params.recipe, "compile": "off"}))
