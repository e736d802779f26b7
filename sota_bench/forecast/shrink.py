"""The stages of a plan on a handful of its images: the same network, size, batch and techniques, a few steps each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sota_bench.forecast.combination import Combinations
from sota_bench.grid.backbones import small_backbones
from sota_bench.plan.keys import stage_key
from sota_bench.plan.plan import Plan
from sota_bench.plan.stage import Stage

LEAST_STEPS, MOST_STEPS, GPU_STEPS = 4, 16, 40
"""Steps that are measured, the first of which warms up. A GPU is asked in bulk: its steps overlap."""

SPEED = 1e10
"""Floating-point operations per second and thread that a CPU surely does; decides the number of steps alone."""

WORK_S = 1.5
"""Seconds of steps for each combination, at that speed."""

EVALUATED, GPU_EVALUATED = 64, 1000
"""Images of an evaluation batch."""


class Shrinker:
    """Makes small stages from a plan's stages.

    Args:
        plan: whose stages are shrunk.
        combinations: of the same plan.
        steps: of every training stage; by its estimated cost when not given.
        batch: images of a step; the stage's own when not given.
    """

    def __init__(
        self, plan: Plan, combinations: Combinations, steps: int | None = None, batch: int | None = None
    ) -> None:
        self.plan, self.combinations, self.steps, self.batch = plan, combinations, steps, batch
        self.stages: dict[str, Stage] = {}
        self.origin: dict[str, Stage] = {}
        self._small: dict[str, Stage] = {}
        self._choices: dict[str, dict[str, Any]] = {}

    def add(self, stage: Stage) -> Stage:
        """Shrinks a stage and all before it."""
        if stage.key not in self._small:
            small = self._shrink(stage)
            self._small[stage.key] = small
            self.stages.setdefault(small.key, small)
            self.origin.setdefault(small.key, stage)
        return self._small[stage.key]

    def would_add(self, stage: Stage) -> int:
        """How many small stages adding this one would make, itself left out."""
        probe = Shrinker(self.plan, self.combinations, self.steps, self.batch)
        small = probe.add(stage)
        return len(probe.stages.keys() - self.stages.keys() - {small.key})

    def steps_of(self, stage: Stage) -> int:
        """Steps that a training stage is measured for."""
        if self.steps is not None:
            return self.steps
        if self.plan.environment.device != "cpu":
            return GPU_STEPS
        threads = self.plan.environment.threads
        flops = forward_flops(stage.params["recipe"]["backbone"], int(stage.params["phase"]["size"]))
        if flops is None:
            return LEAST_STEPS + 2
        step_s = 3 * flops * self.combinations.batch(stage) / (SPEED * threads)
        return max(LEAST_STEPS, min(MOST_STEPS, round(WORK_S / step_s)))

    def finish(self, folder: Path, processes: int) -> list[Stage]:
        """All small stages, parents first, with the one that decodes their images.

        Args:
            folder: where their manifest is written.
            processes: how many decode.
        """
        plan, choices = self.plan, list(self._choices.values())
        plan.images.part(choices, "calibration").save(folder / "manifest.csv")
        original = next(stage for stage in plan.stages.values() if stage.kind == "prepare")
        digest, _ = plan.images.contents_digest(choices)
        params = {**original.params, "contents": digest}
        context = {**original.context, "manifest": str(folder / "manifest.csv"), "choices": choices}
        context["processes"] = processes
        key, title = stage_key("prepare", params, {}), "decode a few images"
        prepare = replace(original, key=key, params=params, context=context, title=title, trials=("calibration",))
        self.origin[prepare.key] = original
        small = [replace(stage, parents={**stage.parents, "data": prepare.key}) for stage in self.stages.values()]
        return [prepare, *small]

    def _shrink(self, stage: Stage) -> Stage:
        parents = {role: self.add(self.plan.stages[key]).key for role, key in stage.parents.items() if role != "data"}
        params: dict[str, Any] = {**stage.params, "seed": 0}
        params.pop("weights", None)
        epochs = 0
        if stage.kind == "train":
            batch = min(self.batch or self.combinations.batch(stage), self.combinations.batch(stage))
            steps = self.steps_of(stage)
            choice = self._choice(stage, steps * batch)
            trained = self.plan.images.subset(choice).sizes()["train"]
            epochs = max(1, math.ceil(steps / max(1, trained // batch)))
            recipe = {**params["recipe"], "batch_size": batch}
            recipe.pop("schedule_span", None)  # the rate of each step is another, and takes as long
            recipe.pop("batch_sizes", None)
            about = {name: params["phase"][name] for name in ("index", "size", "earlier_sizes", "rise")}
            params |= {"recipe": recipe, "phase": {**about, "epochs": epochs, "first_epoch": 0}}
        else:
            on_gpu = self.plan.environment.device != "cpu"
            most = GPU_EVALUATED if on_gpu else EVALUATED
            choice = self._choice(stage, EVALUATED)
            if "eval_batch_size" in params["recipe"]:
                batch = min(int(params["recipe"]["eval_batch_size"]), most)
                params["recipe"] = {**params["recipe"], "eval_batch_size": batch}
        self._choices[repr(choice)] = choice
        for name in ("data", "train_data"):
            if name in params:
                split = params[name]["split"]
                params[name] = {**params[name], "digest": self.plan.images.digest(choice, split)}
        context = {**stage.context, "choice": choice, "checkpoint_s": 1e9}
        context.pop("weights", None)
        key = stage_key(stage.kind, params, parents)
        return Stage(key, stage.kind, params, parents, f"calibrate {stage.title}", context, ("calibration",), epochs)

    def _choice(self, stage: Stage, images: int) -> dict[str, Any]:
        """A few images of each of the stage's classes."""
        classes = self.plan.images.subset(stage.context["choice"]).classes
        most = GPU_EVALUATED if self.plan.environment.device != "cpu" else EVALUATED
        return {"classes": list(classes), "per_class": math.ceil(images / len(classes)), "eval_images": 3 * most}


def forward_flops(backbone: str, size: int) -> float | None:
    """Forward operations of one image, from the list of small backbones; None for one that is not there."""
    found = next((row for row in small_backbones() if row.name == backbone.split(".")[0]), None)
    return found.flops * (size / found.size) ** 2 if found else None


def work(stages: Iterable[Stage], plan: Plan) -> float:
    """Pixels that pass through networks in training, as a measure of work: steps forward and back."""
    total = 0.0
    for stage in stages:
        if stage.kind == "train":
            images = plan.images.subset(stage.context["choice"]).sizes()["train"]
            total += 3.0 * stage.epochs * images * int(stage.params["phase"]["size"]) ** 2
    return total
