"""The base of every technique: what the planner asks it, and the hooks that the training loop calls.

A technique is one file: a card, one pure function whose randomness is an argument, and an adapter (a subclass of
:class:`Technique`) that plugs the function in. ``training/train.py`` shows each hook where it happens::

    technique.on_phase_start(phase)                                    # freeze blocks, scale learning rates
    for epoch, step:
        technique.on_step_start(phase, step, rng)
        images = crop, flip and resize                                 # float32 [B, C, size, size], 0..255
        targets = technique.on_targets(targets, batch, rng)            # label smoothing; [B, K] rows sum to 1
        images, targets = technique.on_batch(images, targets, batch, rng)    # Mixup, CutMix
        images = technique.on_input(images)                            # normalization: the last step before the network

        def closure():
            loss = cross_entropy(model(images), targets)
            loss = technique.loss(loss, outputs)                       # EWC adds to it; another loss replaces it
            loss.backward()

        technique.step(optimizer, closure)                             # closure(), then optimizer.step()
        technique.after_step(phase, step)
    model = technique.evaluation_model(model)
    technique.predict(views, forward)                                  # test-time augmentation
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from sota_bench.technique.capabilities import CreatesOptimizer, SchedulesLearningRate, TracksWeights
from sota_bench.technique.card import Card
from sota_bench.technique.inputs import Batch, Closure, Forward, Outputs, Step, Views
from sota_bench.technique.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from sota_bench.grid.recipe import CoreRecipe
    from sota_bench.training.phase import Phase

S = TypeVar("S", bound=Settings)


class Technique(Generic[S]):
    """Each hook does nothing until a subclass says otherwise; a hook that is not overridden is never called.

    Attributes:
        recipe: all settings of the trial.

    Class attributes:
        name: unique, as written in a grid (``"mixup"``, ``"ewc"``).
        field: the recipe field whose level switches it on.
        level: for techniques that share a field (the mitigations), the level that means this one; None where the
            technique owns its field.
        off: the value of ``field`` at which it does nothing.
        with_weights: the level that ``field`` has where ``[recipe]`` names pretrained weights and the grid names no
            level; None where the default is right for them too.
        card: what a person should know.
        settings_type: the class of its settings: the recipe fields that it adds.
        order: hooks of a smaller number run first (label smoothing before Mixup).
        exclusive_group: of the techniques of a group that are on, each batch draws one whose ``on_batch`` is called.
        applies_to: ``"training"`` for every phase, ``"rise"`` for phases in which the resolution rises or a base model
            is fine-tuned, ``"evaluation"`` for evaluation alone, ``"data"`` for the choice of images, ``"phases"`` for
            the row of phases itself, which the core trains one after the other.
        always: it acts at every level, so it is part of every training (normalization).
        is_mitigation: its claim is to keep what was learned before the resolution rose or a base model was fine-tuned.
        uses_training_share: it reads ``step.training_share``, so phases are shared only by trainings of equal length.
        changes: what an active level must change against the default: ``"weights"``, ``"predictions"`` of the same
            weights, or ``"time"`` alone. The shared test suite checks it.
        example: further recipe fields that its levels need in a small trial, for the shared test suite.
    """

    name: ClassVar[str]
    field: ClassVar[str]
    level: ClassVar[str | None] = None
    off: ClassVar[Any] = None
    with_weights: ClassVar[Any] = None
    card: ClassVar[Card]
    settings_type: ClassVar[type[Settings]] = Settings
    order: ClassVar[int] = 50
    exclusive_group: ClassVar[str | None] = None
    applies_to: ClassVar[Literal["training", "rise", "evaluation", "data", "phases"]] = "training"
    always: ClassVar[bool] = False
    is_mitigation: ClassVar[bool] = False
    uses_training_share: ClassVar[bool] = False
    changes: ClassVar[Literal["weights", "predictions", "time"]] = "weights"
    example: ClassVar[Mapping[str, Any]] = {}

    recipe: CoreRecipe

    def __init__(self, recipe: CoreRecipe) -> None:
        self.recipe = recipe

    @cached_property
    def settings(self) -> S:
        """This technique's own settings."""
        return self.recipe.settings_for(self.settings_type)  # type: ignore[return-value]  # the S of the subclass

    @classmethod
    def active(cls, recipe: CoreRecipe) -> bool:
        """Whether this recipe switches the technique on."""
        value = getattr(recipe, cls.field)
        return cls.always or (value == cls.level if cls.level is not None else value != cls.off)

    @property
    def label(self) -> str:
        """Names the technique with its settings: ``ema-`` and a digest; tracked weights go by it in a checkpoint."""
        text = json.dumps(self.settings.model_dump(mode="json"), sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def problem(self) -> str | None:
        """What is wrong with an active level in this recipe, as ``problem; remedy``; None when nothing is.

        Asked of every cell before anything starts: the place for what one setting cannot say about itself.
        """
        return None

    def on_phase_start(self, phase: Phase) -> None:
        """Called before the first step of a phase, and again when it is resumed: freeze blocks, scale learning rates,
        look up what must be found once."""

    def on_step_start(self, phase: Phase, step: Step, rng: np.random.Generator) -> None:
        """Called at the start of each step, before its images are made.

        Args:
            phase: the current phase.
            step: where the training stands.
            rng: the technique's own stream at this step, which all its hooks of the step draw from.
        """

    def on_targets(self, targets: Tensor, batch: Batch, rng: np.random.Generator) -> Tensor:
        """The training targets.

        Args:
            targets: class probabilities float32 [B, K] on the device, rows sum to 1; one-hot before the first
                technique.
            batch: which images these are.
            rng: as in :meth:`on_step_start`.

        Returns:
            float32 [B, K], rows sum to 1.
        """
        return targets

    def on_batch(
        self, images: Tensor, targets: Tensor, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """The training images, and targets that belong to them.

        Args:
            images: float32 [B, C, H, W] on the device, RGB or luminance, 0..255, not normalized.
            targets: float32 [B, K] on the device, rows sum to 1.
            batch: which images these are.
            rng: as in :meth:`on_step_start`.

        Returns:
            Both, of the same shapes and in the same range.
        """
        return images, targets

    def on_input(self, images: Tensor) -> Tensor:
        """The last step before the network, in training and in evaluation.

        Args:
            images: float32 [B, C, H, W]; 0..255 before the first technique.

        Returns:
            float32 of the same shape.
        """
        return images

    def loss(self, loss: Tensor, outputs: Outputs) -> Tensor:
        """The loss that is differentiated: the one that comes in, another one in its place, or a sum.

        Where a batch does not fit into memory this is asked of each part; the parts' losses are averaged.

        Args:
            loss: float32 scalar, a mean over images: the cross-entropy of logits and targets before the first
                technique.
            outputs: logits, targets, images, phase and step.

        Returns:
            float32 scalar, a mean over images.
        """
        return loss

    def step(self, optimizer: torch.optim.Optimizer, closure: Closure) -> None:
        """One optimizer step: by default ``closure()``, then ``optimizer.step()``.

        At most one active technique may override it; two are refused while a grid is planned.

        Args:
            optimizer: its learning rates are set.
            closure: computes the loss and leaves clean, clipped gradients in the parameters. Each call recomputes them
                at the current weights, with the same images, targets and dropout; batch-norm statistics move at the
                first call alone.
        """
        closure()
        optimizer.step()

    def after_step(self, phase: Phase, step: Step) -> None:
        """Called after each optimizer step."""

    def evaluation_model(self, model: nn.Module) -> nn.Module:
        """The network that an evaluation judges, for techniques of the training and of the evaluation.

        Args:
            model: in evaluation mode, at the size of the evaluation, on the device.
        """
        return model

    def predict(self, views: Views, forward: Forward) -> Tensor | None:
        """Log-probabilities [B, K] of one evaluation batch; None leaves the plain prediction."""
        return None

    def state(self) -> dict[str, Tensor]:
        """What must travel with a checkpoint (the normalization statistics), and what evolves from step to step: a
        phase that was stopped in the middle is resumed from it."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what :meth:`state` gave, before :meth:`on_phase_start`, and once more where a phase is resumed."""

    def describe(self) -> dict[str, Any]:
        """Numbers worth a line in the report (JSON values), asked at the end of a phase: the statistics used."""
        return {}


def overrides(technique: type[Technique], hook: str) -> bool:
    """Whether a technique does anything in a hook of :class:`Technique`."""
    return getattr(technique, hook) is not getattr(Technique, hook)


@lru_cache
def conflict(techniques: tuple[type[Technique], ...]) -> tuple[type[Technique], str] | None:
    """What two active techniques cannot do together.

    Returns:
        One of the two, and the sentence as ``problem; remedy``; None where all fit together.
    """
    alone: dict[str, list[type[Technique]]] = {
        "both override the optimizer step": [technique for technique in techniques if overrides(technique, "step")],
        "both make the optimizer": [technique for technique in techniques if issubclass(technique, CreatesOptimizer)],
        "both make the learning-rate schedule": [
            technique for technique in techniques if issubclass(technique, SchedulesLearningRate)
        ],
        "both choose the weights that are evaluated": [
            technique for technique in techniques if issubclass(technique, TracksWeights)
        ],
    }
    for problem, claimants in alone.items():
        if len(claimants) > 1:
            first, second = claimants[:2]
            return second, f"{first.name} and {second.name} {problem}; switch one of them off"
    return None
