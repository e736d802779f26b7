"""What the hooks of a technique are given: the batch, the step, the network's outputs, and an evaluation's views."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from sota_bench.training.phase import Phase

Forward = Callable[["Tensor"], "Tensor"]
"""Images before normalization, float32 [B, C, H, W] 0..255, to logits float32 [B, K]."""

Closure = Callable[[], "Tensor"]
"""Computes the loss of the current batch, float32 scalar, and leaves its gradients in the parameters (see
:meth:`Technique.step <sota_bench.technique.core.Technique.step>`)."""


@dataclass(frozen=True)
class Step:
    """Where the training stands at one optimizer step.

    Attributes:
        epoch: 0-based, over the whole training.
        index: 0-based, within the epoch.
        number: optimizer steps before this one, over the whole training.
        phase_share: how much of the phase is done, 0 at its first step and below 1 at its last.
    """

    epoch: int
    index: int
    number: int
    phase_share: float
    _training_share: float = math.nan

    @property
    def training_share(self) -> float:
        """How much of the whole training is done, in epochs: 0 at its first step and below 1 at its last.

        Raises:
            RuntimeError: no technique that acts declares ``uses_training_share``, which makes the length of the whole
                training a part of every phase's key.
        """
        if math.isnan(self._training_share):
            raise RuntimeError("step.training_share needs uses_training_share = True in the technique's class")
        return self._training_share


@dataclass(frozen=True)
class Batch:
    """Which images a training batch holds, in memory of the host: reading them does not wait for a GPU.

    Attributes:
        image_ids: int64 [B], made from each image's content: the same in every subset, split, seed and process.
        labels: int64 [B], indices into the classes.
    """

    image_ids: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Outputs:
    """What the loss of a batch is made from; where a batch is computed in parts, of one part.

    Attributes:
        logits: float32 [B, K], with gradient.
        targets: float32 [B, K], rows sum to 1, after smoothing and mixing.
        images: float32 [B, C, H, W], the network's input.
        pixels: float32 [B, C, H, W] 0..255, the same images before :meth:`Technique.on_input
            <sota_bench.technique.core.Technique.on_input>`.
        phase: the current phase.
        step: the current step.
    """

    logits: Tensor
    targets: Tensor
    images: Tensor
    pixels: Tensor
    phase: Phase
    step: Step


class PrecomputeInputs(Protocol):
    """What :meth:`Precomputes.compute <sota_bench.technique.capabilities.Precomputes.compute>` may use.

    Attributes:
        seed: the trial's seed.
        model: the network before the rise, in evaluation mode (None when ``source`` is ``"data"``).
        size: the resolution in pixels that the network was last trained at (0 when there is no network).
        earlier: what this technique computed at the rise before, by name; empty at the first.
    """

    @property
    def seed(self) -> int: ...

    @property
    def model(self) -> nn.Module | None: ...

    @property
    def size(self) -> int: ...

    @property
    def earlier(self) -> Mapping[str, Tensor]: ...

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation float64 [C] of the training pixels, in units of 0..255."""
        ...

    def batches(self, limit: int | None, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
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
