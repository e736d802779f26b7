"""The parameters of each kind of stage: everything that decides its result beside the code, software and device. They
are part of the stage's key, so they hold contents and settings, never paths. A field that is None is left out of the
key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sota_bench.stages.values import Json

RecipeSettings = Mapping[str, Json]
"""Recipe fields by name, those of the stage's scope alone."""


@dataclass(frozen=True)
class StageParams:
    """Base of all parameters. Fields hold JSON values, or frozen dataclasses of them."""


@dataclass(frozen=True)
class ImageSelection:
    """The images of one split that a stage reads.

    Attributes:
        split: ``train``, ``select`` or ``test``.
        digest: SHA-256 over the split's classes, contents and labels.
        size: pixels of the shorter side at which they are stored.
        encoded: ``jpeg`` where they are stored as JPEGs, which changes their pixels a little; else None.
    """

    split: str
    digest: str
    size: int
    encoded: str | None = None


@dataclass(frozen=True)
class PrepareParams(StageParams):
    """Decoding all images of a grid.

    Attributes:
        contents: SHA-256 over the contents of the images.
        size: pixels of the shorter side at which they are stored.
        cache: ``jpeg`` or ``none`` where they are not stored as pixels; else None.
    """

    contents: str
    size: int
    cache: str | None = None


@dataclass(frozen=True)
class PhaseParams:
    """One training phase.

    Attributes:
        index: 0-based, over the whole trial.
        size: pixels of both sides.
        epochs: passes over the training images.
        first_epoch: epochs of the trial before this phase.
        earlier_sizes: sizes trained at before, oldest first, each once.
        rise: the resolution is higher than before, or a base model is fine-tuned.
        total_epochs: of the whole training, where a technique asks how much of it is done; else None, so that trainings
            of different lengths share their first phases.
    """

    index: int
    size: int
    epochs: int
    first_epoch: int
    earlier_sizes: tuple[int, ...]
    rise: bool
    total_epochs: int | None = None


@dataclass(frozen=True)
class TrackerParams:
    """Further weights that a training keeps beside its own (``technique.TracksWeights``).

    Attributes:
        technique: its name.
        settings: recipe fields of the technique.
    """

    technique: str
    settings: RecipeSettings


@dataclass(frozen=True)
class RateSpan:
    """The phases that one learning-rate schedule spans (``schedule_span = "run"``).

    Attributes:
        index: of this phase among them.
        phases: (size, epochs) of each.
    """

    index: int
    phases: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TrainParams(StageParams):
    """One training phase of one trial.

    Attributes:
        recipe: the settings that decide it.
        techniques: names of those that act, in the order of their hooks.
        phase: what is trained for how long.
        task: whose classes: ``main`` or ``base``.
        data: the training images.
        seed: of all that the training draws: crops, mirror images, dropout, and what techniques draw.
        weights: digest of the pretrained weights that a first phase starts from; None for none.
        rate_span: the phases of its learning-rate schedule; None where the schedule is this phase's own.
        trackers: the further weights that some cell of the grid judges; None where there are none.
        init_seed, order_seed: of the initial weights, and of the order of the images; None where they are ``seed``.
    """

    recipe: RecipeSettings
    techniques: tuple[str, ...]
    phase: PhaseParams
    task: str
    data: ImageSelection
    seed: int
    weights: str | None = None
    rate_span: RateSpan | None = None
    trackers: tuple[TrackerParams, ...] | None = None
    init_seed: int | None = None
    order_seed: int | None = None

    @property
    def draws_init(self) -> int:
        """The seed of the initial weights."""
        return self.seed if self.init_seed is None else self.init_seed

    @property
    def draws_order(self) -> int:
        """The seed of the order of the images."""
        return self.seed if self.order_seed is None else self.order_seed


@dataclass(frozen=True)
class EvaluateParams(StageParams):
    """One checkpoint at one size, with or without test-time augmentation.

    Attributes:
        recipe: the settings that decide it.
        techniques: names of those that act in evaluation.
        size: pixels of both sides.
        split: the images that judge.
        task: whose classes.
        data: those images.
        seed: of random views.
    """

    recipe: RecipeSettings
    techniques: tuple[str, ...]
    size: int
    split: str
    task: str
    data: ImageSelection
    seed: int


@dataclass(frozen=True)
class ProbeParams(StageParams):
    """A linear probe of a checkpoint's features.

    Attributes:
        recipe: the settings that decide it.
        techniques: names of those that choose the weights.
        size: pixels of both sides.
        split: the images that judge.
        task: whose classes.
        data: those images.
        train_data: the images that the probe is fitted on.
        seed: of the trial.
    """

    recipe: RecipeSettings
    techniques: tuple[str, ...]
    size: int
    split: str
    task: str
    data: ImageSelection
    train_data: ImageSelection
    seed: int


@dataclass(frozen=True)
class PrecomputeParams(StageParams):
    """What a technique computes once, from the images or from a checkpoint and the images.

    Attributes:
        recipe: the settings that decide it.
        technique: its name.
        data: the training images.
        seed: of the trial; 0 where it is computed from the images alone.
        size: pixels at which the checkpoint was trained; None without a checkpoint.
        task: whose classes the checkpoint learned; None without a checkpoint.
        earlier_task: the task of the same technique's stage at the rise before; None where there is none.
    """

    recipe: RecipeSettings
    technique: str
    data: ImageSelection
    seed: int
    size: int | None = None
    task: str | None = None
    earlier_task: str | None = None
