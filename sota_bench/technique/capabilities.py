"""Optional capabilities: small classes that a technique inherits beside :class:`~sota_bench.technique.core.Technique`
for what few techniques need. The planner and the loop look for them with ``issubclass`` and ``isinstance``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sota_bench.technique.inputs import PrecomputeInputs, Step

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from sota_bench.grid.resize_schedule import SizePhase
    from sota_bench.training.phase import Phase


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


class Precomputes(ABC):
    """Needs a stage that is computed before; its result is ``phase.computed[self.name]`` in ``on_phase_start``.

    Attributes:
        precompute: the stage.
    """

    precompute: ClassVar[Precompute]

    def needs_precompute(self) -> bool:
        """Whether this level needs the stage; all levels do unless a technique says otherwise."""
        return True

    @abstractmethod
    def compute(self, inputs: PrecomputeInputs) -> dict[str, Tensor]:
        """The result of the stage, by name."""


class ShapesNetwork(ABC):
    """Decides how the network is made: its width, its depth."""

    @abstractmethod
    def backbone_arguments(self, name: str, family: str) -> dict[str, Any]:
        """Constructor arguments of the timm model ``name`` whose module in timm is ``family`` (``"resnet"``).

        Asked when the network is made and again at every phase in which the technique acts; later ones must not change
        the parameters' shapes.
        """


@dataclass(frozen=True)
class NetworkFacts:
    """What a technique can know of a network before anything starts.

    Attributes:
        blocks: the steps of depth that mitigations freeze or slow down, the stem and the head among them.
        mixes_sizes: it takes images of another size at each step, as it is or made with timm's ``dynamic_img_size``.
    """

    blocks: int
    mixes_sizes: bool


class ChecksNetwork(ABC):
    """Works on some networks only; asked while a grid is planned, before anything starts."""

    @abstractmethod
    def network_problem(self, network: NetworkFacts) -> str | None:
        """What is wrong with this level for a network, as ``problem; remedy``; None when nothing is."""


class TrainsBaseModel(ABC):
    """Trains a base model before ``resize`` begins, on its own classes or data. Fine-tuning it counts as a rise of
    resolution, so mitigations apply."""

    @abstractmethod
    def base_phases(self) -> tuple[SizePhase, ...]:
        """Phases (``size``, ``epochs``) in which the base model is trained on its own task."""

    def base_data(self) -> str:
        """The data source of the base model's task, as ``data.source`` names one; "" where it is a part of the grid's
        own classes."""
        return ""


class DrawsImageSize(ABC):
    """Draws the size of each step's images. The first one that answers decides."""

    @abstractmethod
    def image_size(self, phase: Phase, step: Step, rng: np.random.Generator) -> int | None:
        """The size in pixels of this step's images; None leaves the phase's own size."""


@dataclass(frozen=True)
class ParameterScale:
    """Factors on the learning rate and on the weight decay of one parameter; a rate of 0 leaves it as it is."""

    learning_rate: float = 1.0
    weight_decay: float = 1.0


class GroupsParameters(ABC):
    """Gives some parameters another learning rate or weight decay; factors of several techniques are multiplied."""

    @abstractmethod
    def parameter_scale(self, name: str, parameter: nn.Parameter, phase: Phase) -> ParameterScale:
        """The factors of one parameter, by its name in ``model.named_parameters()``."""


class CreatesOptimizer(ABC):
    """Replaces the optimizer that the recipe names. At most one active technique may."""

    @abstractmethod
    def create_optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer of a phase.

        Args:
            groups: torch's parameter groups, each with ``params``, ``lr`` and ``weight_decay``; keys of the loop's own
                (``names``, ``scale``) must stay. The loop sets ``lr`` before every step.

        Returns:
            A torch optimizer whose state of each parameter is a dictionary of tensors: it is saved and resumed by name.
        """


class SchedulesLearningRate(ABC):
    """Replaces the learning-rate schedule that the recipe names. At most one active technique may."""

    @abstractmethod
    def learning_rate(self, step: int, total: int, peak: float) -> float:
        """The learning rate of one step.

        Args:
            step: 0 to ``total`` - 1.
            total: steps of the schedule, of the phase or of all phases (``schedule_span``).
            peak: the recipe's ``lr``.
        """


class NormalizesInput(ABC):
    """Its ``on_input`` takes a mean off each channel and divides by a deviation: an exported model carries both."""

    @abstractmethod
    def input_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel, in grey levels 0 to 255."""


class TracksWeights(ABC):
    """Keeps further weights during training, such as their moving average; an evaluation judges those instead of the
    trained ones. At most one active technique may.

    Which weights are judged never retrains: a training runs one tracker for each setting that some cell of the grid
    asks for, its checkpoint carries all of them, and evaluations choose. So all settings have scope ``"evaluate"``, and
    the technique ``applies_to = "evaluation"``. A tracker sees the training and must not change it.
    """

    @abstractmethod
    def track(self, tracked: Mapping[str, Tensor], weights: Mapping[str, Tensor], step: Step) -> None:
        """Moves the tracked weights, in place, after an optimizer step.

        Args:
            tracked: parameters and buffers by name, as in ``model.state_dict()``; a copy of the network's before its
                first step. Carried from phase to phase, position embeddings resampled and a new task's head copied.
            weights: the network's own after this step, by the same names, in the same order.
            step: the step that was just taken.
        """


@dataclass(frozen=True)
class Teacher:
    """A network that another one learns from.

    Attributes:
        backbone: a timm backbone.
        weights: where it starts from, as ``recipe.weights``: "" for none, ``timm``, or a local file or folder.
        trained: whether it is first trained on the trial's images as the trial's core settings say, without any
            technique that can be switched off; else ``weights`` are used as they are, and must have a head for the
            trial's classes in the order of their names.
        resize: the resize schedule of its training; "" for the trial's. It sees its student's images at the last of
            these sizes, whatever their own: a network is worse at other sizes than at the one it was trained at.
    """

    backbone: str
    weights: str = ""
    trained: bool = True
    resize: str = ""


def teacher_role(technique: str) -> str:
    """Names the parent of a training stage that is a technique's teacher."""
    return f"{technique} teacher"


class NeedsTeacher(ABC):
    """Learns from a teacher: a network that is trained or loaded in stages of its own, shared by all trials that agree
    on it. In training it is ``phase.teachers[self.name]``, which sees the student's images. A base model, which is
    trained on other classes, has no teacher: the technique does not act there."""

    @abstractmethod
    def teacher(self) -> Teacher:
        """The teacher of this level."""
