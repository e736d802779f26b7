"""How a recipe that was chosen on few images is scaled to many: batch, learning rate and epochs. Pure arithmetic.

Sources:
    Goyal et al. 2017, Accurate, Large Minibatch SGD (https://arxiv.org/abs/1706.02677): with SGD the learning rate
    grows in proportion to the batch; no accuracy was lost on ImageNet up to a batch of 8,192.
    Malladi, Lyu, Panigrahi and Arora 2022, On the SDEs and Scaling Rules for Adaptive Gradient Algorithms
    (https://arxiv.org/abs/2205.10287): with adaptive optimizers it grows with the square root of the batch.
    Touvron et al. 2021, Training data-efficient image transformers (https://arxiv.org/abs/2012.12877): AdamW on
    ImageNet at a batch of 1,024.
    Li, Yumer and Ramanan 2020, Budgeted Training (https://arxiv.org/abs/1905.04753): a learning-rate schedule that is a
    function of the share of the training that is done keeps its shape in a training of another length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sota_bench.grid.resize_schedule import SizePhase

LARGEST_BATCH = 1024
"""To which batches grow by themselves; larger ones are asked for by name."""

LINEAR = ("sgd",)
"""Optimizers whose learning rate grows in proportion to the batch; all others are adaptive."""


@dataclass(frozen=True)
class Scaled:
    """One scaled field.

    Attributes:
        field: of the recipe.
        before, after: its values.
        rule: why, as one sentence with its source.
    """

    field: str
    before: object
    after: object
    rule: str


def scaled_batch(batch: int, images: int, full_images: int) -> int:
    """The batch for more images: doubled as long as an epoch has at least as many steps as it had, and the batch is at
    most ``LARGEST_BATCH``; a batch that is larger already stays.

    Args:
        batch: images per step in the ablation.
        images: training images of the ablation.
        full_images: training images of the production.
    """
    factor = 1
    while 2 * factor * batch <= LARGEST_BATCH and 2 * factor * images <= full_images:
        factor *= 2
    return factor * batch


def scaled_rate(lr: float, optimizer: str, factor: float) -> float:
    """The learning rate for a batch that is ``factor`` times as large, to four significant digits."""
    growth = factor if optimizer in LINEAR else math.sqrt(factor)
    return float(f"{lr * growth:.4g}")


def scaled_phases(phases: Sequence[SizePhase], epochs: int) -> tuple[SizePhase, ...]:
    """The same phases with ``epochs`` in all, each with its share, rounded, and one epoch at least; what rounding
    leaves goes to the last phase."""
    total = sum(phase.epochs for phase in phases)
    counts = [max(1, round(phase.epochs * epochs / total)) for phase in phases]
    counts[-1] = max(1, epochs - sum(counts[:-1]))
    return tuple(SizePhase(phase.size, count) for phase, count in zip(phases, counts, strict=True))


def rate_rule(optimizer: str) -> str:
    """The sentence of the learning rate's rule."""
    if optimizer in LINEAR:
        return "in proportion to the batch (Goyal et al. 2017)"
    return "with the square root of the batch, as for adaptive optimizers (Malladi et al. 2022)"
