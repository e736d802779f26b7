"""Small stages that measure those of a plan: the same network, size, batch and techniques, on a few images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sota_bench.forecast.combination import Combinations
from sota_bench.grid.backbones import small_backbones
from sota_bench.plan.plan import Plan
from sota_bench.stages.context import ImageChoice, StageContext
from sota_bench.stages.keys import stage_key
from sota_bench.stages.params import (
    EvaluateParams,
    ImageSelection,
    PrecomputeParams,
    PrepareParams,
    ProbeParams,
    TrainParams,
)
from sota_bench.stages.stage import Stage
from sota_bench.training.batches import steps_in_epoch

LEAST_STEPS, MOST_STEPS, GPU_STEPS = 4, 16, 40
"""Steps that are measured, of which the first warms up. A GPU takes more: its steps overlap, so only all together are
timed."""

SPEED = 1e10
"""Floating-point operations per second and thread that any CPU does; it decides nothing but the number of steps."""

WORK_S = 1.5
"""Seconds of steps that are measured of each combination, at that speed."""

EVALUATED, GPU_EVALUATED = 64, 1000
"""Images of an evaluation batch."""


class Shrinker:
    """Makes small stages from a plan's stages.

    Args:
        plan: whose stages are shrunk.
        combinations: of the same plan.
        steps: of every training stage; by its estimated cost by default.
        batch: images of a step; the stage's own by default.
    """

    def __init__(
        self, plan: Plan, combinations: Combinations, steps: int | None = None, batch: int | None = None
    ) -> None:
        self.plan, self.combinations, self.steps, self.batch = plan, combinations, steps, batch
        self.stages: dict[str, Stage] = {}
        self.origin: dict[str, Stage] = {}
        self._small: dict[str, Stage] = {}
        self._choices: dict[ImageChoice, None] = {}

    def add(self, stage: Stage) -> Stage:
        """The small stage of a stage; those that it starts from are added first."""
        if stage.key not in self._small:
            small = self._shrink(stage)
            self._small[stage.key] = small
            self.stages.setdefault(small.key, small)
            self.origin.setdefault(small.key, stage)
        return self._small[stage.key]

    def would_add(self, stage: Stage) -> int:
        """How many further small stages adding this one would make, itself not counted."""
        probe = Shrinker(self.plan, self.combinations, self.steps, self.batch)
        small = probe.add(stage)
        return len(probe.stages.keys() - self.stages.keys() - {small.key})

    def steps_of(self, stage: Stage) -> int:
        """Steps that are measured of a training stage."""
        if self.steps is not None:
            return self.steps
        if self.plan.environment.device != "cpu":
            return GPU_STEPS
        threads = self.plan.environment.threads
        assert isinstance(stage.params, TrainParams)
        flops = forward_flops(str(stage.params.recipe["backbone"]), stage.params.phase.size)
        if flops is None:
            return LEAST_STEPS + 2
        step_s = 3 * flops * self.combinations.batch(stage) / (SPEED * threads)
        return max(LEAST_STEPS, min(MOST_STEPS, round(WORK_S / step_s)))

    def finish(self, folder: Path, processes: int) -> list[Stage]:
        """All small stages, parents first, with the stage that decodes their images.

        Args:
            folder: in which their manifest is written.
            processes: that decode images.
        """
        plan, choices, file = self.plan, tuple(self._choices), folder / "manifest.csv"
        plan.images.part(choices, "calibration").save(file)
        original = plan.prepare
        assert isinstance(original.params, PrepareParams)
        digest, _ = plan.images.contents_digest(choices)
        params = replace(original.params, contents=digest)
        context = replace(plan.prepare_context, manifest=file, choices=choices, processes=processes)
        key, title = stage_key("prepare", params, original.made_with, {}), "decode a few images"
        prepare = replace(original, key=key, params=params, context=context, title=title, trials=("calibration",))
        self.origin[prepare.key] = original
        small = [_with_images_of(stage, prepare.key, file) for stage in self.stages.values()]
        return [prepare, *small]

    def _shrink(self, stage: Stage) -> Stage:
        parents = {role: self.add(self.plan.stages[key]).key for role, key in stage.parents.items() if role != "data"}
        params, epochs = stage.params, 0
        assert isinstance(params, TrainParams | EvaluateParams | ProbeParams | PrecomputeParams)
        assert isinstance(stage.context, StageContext)
        if isinstance(params, TrainParams):
            batch = min(self.batch or self.combinations.batch(stage), self.combinations.batch(stage))
            steps = self.steps_of(stage)
            choice = self._choice(stage, steps * batch)
            trained = self.plan.images.subset(choice).sizes()["train"]
            epochs = max(1, round(steps / steps_in_epoch(trained, batch)))
            # the learning rate of a step does not change its time
            leave_out = ("schedule_span", "batch_sizes")
            recipe = {name: value for name, value in params.recipe.items() if name not in leave_out}
            phase = replace(params.phase, epochs=epochs, first_epoch=0)
            params = replace(params, recipe={**recipe, "batch_size": batch}, phase=phase, weights=None, rate_span=None)
        else:
            on_gpu = self.plan.environment.device != "cpu"
            most = GPU_EVALUATED if on_gpu else EVALUATED
            choice = self._choice(stage, EVALUATED)
            if "eval_batch_size" in params.recipe:
                batch = min(int(str(params.recipe["eval_batch_size"])), most)
                params = replace(params, recipe={**params.recipe, "eval_batch_size": batch})
        self._choices[choice] = None
        params = replace(params, seed=0, data=self._selection(params.data, choice))
        if isinstance(params, ProbeParams):
            params = replace(params, train_data=self._selection(params.train_data, choice))
        context = replace(stage.context, choice=choice, checkpoint_s=1e9, weights="")
        key = stage_key(stage.kind, params, stage.made_with, parents)
        return Stage(
            key, stage.kind, params, parents, f"calibrate {stage.title}", stage.made_with, context,
            ("calibration",), epochs,
        )  # fmt: skip

    def _selection(self, data: ImageSelection, choice: ImageChoice) -> ImageSelection:
        return replace(data, digest=self.plan.images.digest(choice, data.split))

    def _choice(self, stage: Stage, images: int) -> ImageChoice:
        """A few images of each of the stage's classes."""
        classes = self.plan.images.subset(stage.choice).classes
        most = GPU_EVALUATED if self.plan.environment.device != "cpu" else EVALUATED
        per_class = max(1, images // len(classes))  # not one more step than asked for
        return ImageChoice(classes=tuple(classes), per_class=per_class, eval_images=3 * most)


def _with_images_of(stage: Stage, prepare: str, manifest: Path) -> Stage:
    """The stage with its images decoded by another stage, and listed in another manifest."""
    assert isinstance(stage.context, StageContext)
    context = replace(stage.context, manifest=manifest)
    return replace(stage, parents={**stage.parents, "data": prepare}, context=context)


def forward_flops(backbone: str, size: int) -> float | None:
    """Operations of one image's forward pass, from the list of small backbones; None for one that is not in it."""
    row = next((row for row in small_backbones() if row.name == backbone.split(".")[0]), None)
    return row.flops * (size / row.size) ** 2 if row else None


def training_work(stages: Iterable[Stage], plan: Plan) -> float:
    """Pixels that pass through networks in training, forward and backward, as a rough measure of work."""
    total = 0.0
    for stage in stages:
        if isinstance(stage.params, TrainParams):
            images = plan.images.subset(stage.choice).sizes()["train"]
            total += 3.0 * stage.epochs * images * stage.params.phase.size**2
    return total
