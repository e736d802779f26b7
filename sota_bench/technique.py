"""The public interface of a technique: its card, its settings, and the hooks that the training loop calls.

A technique is one file: a card, one pure function whose randomness is an argument, and an adapter (a subclass of
:class:`Technique`) that plugs the function in. The loop calls the hooks in this order (``training/train.py`` shows each
where it happens)::

    model = create(backbone, **technique.backbone_arguments(...))
    technique.on_phase_start(phase)                    # freeze blocks, scale learning rates
    for epoch, step:
        size = technique.image_size(phase, rng)        # mixed sizes
        images = crop, flip and resize to size         # float32 [B, C, size, size], 0..255
        targets = technique.on_targets(targets)        # label smoothing; [B, K] rows sum to 1
        images, targets = technique.on_batch(...)      # Mixup, CutMix
        images = technique.on_input(images)            # normalization: the last step before the network
        loss = cross_entropy(model(images), targets) + technique.penalty(phase)
    technique.predict(views, forward)                  # evaluation: test-time augmentation

Nothing here imports torch when it is loaded, and a technique's file must not either: a grid is read, planned and
reported without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from sota_bench.grid.resize_schedule import SizePhase
    from sota_bench.training.phase import Phase

Scope = Literal["data", "train", "rise", "evaluate"]
"""Which stages a setting decides: the images, every training phase, only the phases in which the resolution rises (or
a base model is fine-tuned), or only evaluations. A stage's key holds just the settings of its scope, so trials that
differ in a later scope share the earlier stages."""


class Card(BaseModel):
    """What a person should know before believing a technique. Every field is one or two plain sentences."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    claim: str = Field(description="what it promises, on what, and how much")
    response: Literal["accuracy", "nll", "ece", "stability", "minutes"] = Field(
        "accuracy", description="the column of the results that the claim is about"
    )
    why: str = Field(description="the mechanism: when and why it helps")
    paper: str = Field(description="authors, year, title and link")
    defaults: str = Field(description="the default settings and where they come from")
    cost: str = Field(description="what it adds to training or inference time and memory")
    fails: str = Field(description="when it does not help or hurts")


class Settings(BaseModel):
    """Base of the settings that a technique adds to a recipe; each one made with :func:`setting`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def setting(default: Any, help: str, *, scope: Scope, levels: Sequence[Any] = (), **constraints: Any) -> Any:
    """A documented, validated recipe field.

    Args:
        default: the value when a grid does not name the field.
        help: one line for the generated reference; units included.
        scope: which stages it decides.
        levels: values worth comparing, the baseline first (shown by ``list``, run by the shared test suite).
        constraints: pydantic constraints (``ge``, ``le``, ``pattern`` ...).
    """
    extra: dict[str, Any] = {"scope": scope, "levels": list(levels)}
    return Field(default, description=help, json_schema_extra=extra, **constraints)


def backbone_family(name: str) -> str:
    """timm's module of a backbone (``resnet``, ``vision_transformer``), found without torch; "" for an unknown one."""
    from sota_bench.grid.backbones import backbone_families

    return backbone_families().get(name.split(".", 1)[0], "")


def backbone_mentions(name: str, word: str) -> bool:
    """Whether timm's module of a backbone knows a word (a constructor's argument, a method), found without torch."""
    from sota_bench.grid.backbones import family_source

    return word in family_source(backbone_family(name))


def read_schedule(text: str) -> tuple[SizePhase, ...]:
    """Phases (``size``, ``epochs``) of a resolution schedule such as ``64x3 128x2``.

    Raises:
        ValueError: it is no schedule, as ``problem; remedy``.
    """
    from sota_bench.grid.resize_schedule import parse_schedule

    return parse_schedule(text)


@dataclass(frozen=True)
class Precompute:
    """A stage of its own whose result a technique needs, computed once and shared by every trial that agrees on it.

    Attributes:
        kind: the stage's kind: ``"statistics"``, ``"fisher"``.
        source: computed from the training images (``"data"``), or from the checkpoint before the rise and the images
            (``"checkpoint"``).
        fields: the recipe fields that decide the result.
    """

    kind: str
    source: Literal["data", "checkpoint"]
    fields: tuple[str, ...] = ()


class PrecomputeInputs(Protocol):
    """What :meth:`Technique.compute` may use.

    Attributes:
        seed: the trial's seed.
        model: the network before the rise, in evaluation mode (None when ``source`` is ``"data"``).
        size: the resolution in pixels that the network was last trained at (0 when there is no network).
        earlier: what this technique computed at the rise before, by name; empty at the first.
    """

    @property
    def seed(self) -> int: ...

    @property
    def model(self) -> Any: ...

    @property
    def size(self) -> int: ...

    @property
    def earlier(self) -> Mapping[str, Tensor]: ...

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation float64 [C] of the training pixels, in units of 0..255."""
        ...

    def batches(self, limit: int | None, batch_size: int) -> Any:
        """Yields (normalized central crops float32 [B, C, size, size], labels int64 [B]) of the training images, at
        most ``limit`` of them, spread evenly."""
        ...


class Views(Protocol):
    """The images of one evaluation batch, from which a technique takes the views that it averages.

    Every view is float32 [B, C, size, size] with values 0..255 of the same B images in the same order.

    Attributes:
        size: pixels of both sides of a view.
        crop: the share of the shorter side that the plain view keeps.
    """

    @property
    def size(self) -> int: ...

    @property
    def crop(self) -> float: ...

    def center(self, flip: bool = False) -> Tensor:
        """The plain view: the central square that keeps ``crop`` of the shorter side."""
        ...

    def square(self, row: float, column: float, share: float, flip: bool = False) -> Tensor:
        """A square of ``share`` of the shorter side; ``row`` and ``column`` are 0 at the top and left border, 1 at the
        other."""
        ...

    def augmented(self, view: int) -> Tensor:
        """Random crops and mirror images as in training, drawn anew for each number ``view``."""
        ...


Forward = Callable[["Tensor"], "Tensor"]
"""Network input before normalization, float [B, C, H, W] 0..255, to float32 logits [B, K]."""


class Technique:
    """Base of every technique: each hook does nothing until a subclass says otherwise.

    Attributes:
        name: unique, as written in a grid (``"mixup"``, ``"ewc"``).
        field: the recipe field whose level switches it on.
        is_mitigation: whether it is a mitigation of forgetting.
        level: for techniques that share a field (the mitigations), the level that means this one; None where the
            technique owns its field.
        off: the value of ``field`` at which it does nothing.
        with_weights: the level that ``field`` has where ``[recipe]`` names pretrained weights and the grid names no
            level; None where the default is right for them too.
        card: what a person should know.
        settings: the recipe fields that it adds.
        order: hooks of a smaller number run first (label smoothing before Mixup).
        alternates: techniques of the same group take turns: each batch draws one of those that are on.
        applies_to: ``"training"`` for every phase, ``"rise"`` for phases in which the resolution rises or a base model
            is fine-tuned, ``"evaluation"`` for evaluation alone, ``"data"`` for the choice of images, ``"phases"`` for
            the row of phases itself, which the core trains one after the other.
        precompute: the stage whose result it needs, if any.
        always: it acts at every level, so it is part of every training (normalization).
    """

    name: ClassVar[str]
    field: ClassVar[str]
    is_mitigation: ClassVar[bool] = False
    level: ClassVar[str | None] = None
    off: ClassVar[Any] = None
    with_weights: ClassVar[Any] = None
    card: ClassVar[Card]
    settings: ClassVar[type[Settings]] = Settings
    order: ClassVar[int] = 50
    alternates: ClassVar[str | None] = None
    applies_to: ClassVar[Literal["training", "rise", "evaluation", "data", "phases"]] = "training"
    precompute: ClassVar[Precompute | None] = None
    always: ClassVar[bool] = False

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe

    @classmethod
    def active(cls, recipe: Any) -> bool:
        """Whether this recipe switches the technique on."""
        value = getattr(recipe, cls.field)
        return cls.always or (value == cls.level if cls.level is not None else value != cls.off)

    @classmethod
    def fine_tunes(cls, recipe: Any) -> bool:
        """Whether this level trains a base model first: fine-tuning it counts as a rise, so mitigations apply."""
        return False

    @classmethod
    def base_phases(cls, recipe: Any) -> tuple[Any, ...]:
        """Phases (``size``, ``epochs``) in which a base model is trained on its own task before ``resize`` begins."""
        return ()

    @classmethod
    def base_data(cls, recipe: Any) -> str:
        """The data source of the base model's task, as ``data.source`` names one; "" where it is a part of the grid's
        own classes."""
        return ""

    @classmethod
    def problem(cls, recipe: Any) -> str | None:
        """What is wrong with an active level in this recipe, as ``problem; remedy``; None when nothing is.

        Asked of every cell before anything starts: the place for what one setting cannot say about itself.
        """
        return None

    @classmethod
    def network_problem(cls, recipe: Any, blocks: int) -> str | None:
        """What is wrong with an active level for a network of so many blocks, the stem and the head among them, as
        ``problem; remedy``; None when nothing is.

        Asked while a grid is planned, before anything starts.
        """
        return None

    @classmethod
    def needs_precompute(cls, recipe: Any) -> bool:
        """Whether this level needs the stage named in ``precompute``."""
        return cls.precompute is not None

    def compute(self, inputs: PrecomputeInputs) -> dict[str, Tensor]:
        """The result of the ``precompute`` stage, by name."""
        raise NotImplementedError(f"{self.name} declares a precompute stage and does not compute it")

    def backbone_arguments(self, name: str, family: str) -> dict[str, Any]:
        """Constructor arguments of the timm model ``name`` whose module in timm is ``family`` (``"resnet"``).

        Asked when the network is made and again at every phase in which the technique acts; later ones must not change
        the parameters' shapes.
        """
        return {}

    def on_phase_start(self, phase: Phase) -> None:
        """Before the first step of a phase, and again when it is resumed: freeze blocks, scale learning rates."""

    def image_size(self, phase: Phase, rng: np.random.Generator) -> int | None:
        """The size in pixels of this step's images; None leaves the phase's own size."""
        return None

    def on_targets(self, targets: Tensor) -> Tensor:
        """Class probabilities float32 [B, K] whose rows sum to 1, to the same."""
        return targets

    def on_batch(self, images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Images float32 [B, C, H, W] 0..255 and targets [B, K], to the same (values may change, shapes not)."""
        return images, targets

    def on_input(self, images: Tensor) -> Tensor:
        """The last step before the network, in training and in evaluation."""
        return images

    def penalty(self, phase: Phase) -> Tensor | None:
        """A term added to the loss, float32 scalar."""
        return None

    def predict(self, views: Views, forward: Forward) -> Tensor | None:
        """Log-probabilities [B, K] of one evaluation batch; None leaves the plain prediction."""
        return None

    def state(self) -> dict[str, Tensor]:
        """What must travel with a checkpoint (the normalization statistics), and what evolves from step to step: a
        phase that was stopped in the middle goes on from it."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what :meth:`state` gave, or what :meth:`compute` gave, before the first step."""

    def describe(self) -> dict[str, Any]:
        """Numbers worth a line in the report (JSON values): the statistics used, the sizes drawn."""
        return {}
