"""Exponential moving average (EMA): judge an average of the weights along the training, not the last ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sota_bench.technique import Card, Settings, Technique, TracksWeights, setting

if TYPE_CHECKING:
    from torch import Tensor

    from sota_bench.technique import Step

WARMUP_POWER = 2 / 3
"""timm's default for the warm-up of the decay."""


def decay_at(update: int, decay: float, warmup: bool) -> float:
    """The decay of one update, as timm's ``ModelEmaV3`` has it.

    Args:
        update: 1 for the first, which takes the weights as they are.
        decay: the highest decay.
        warmup: whether it rises as ``1 - t ** (-2 / 3)`` with the update's number t.
    """
    if update <= 1:
        return 0.0
    return max(min(1 - update**-WARMUP_POWER, decay), 0.0) if warmup else decay


def move_average(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    """``average <- decay average + (1 - decay) weights``, in place; what is no float is copied.

    Args:
        average: parameters and buffers by name. The running statistics of batch norm are averaged like weights.
        weights: by the same names, in the same order.
        decay: 0 to 1.
    """
    import torch

    pairs = [(average[name], value) for name, value in weights.items()]
    floating = [(old, new) for old, new in pairs if old.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([old for old, _ in floating], [new for _, new in floating], 1.0 - decay)
        for old, new in pairs:
            if not old.is_floating_point():
                old.copy_(new)


class MovingAverageSettings(Settings):
    ema: float = setting(
        0.0, "decay of the moving average of the weights, which is evaluated instead of them; 0 is off",
        scope="evaluate", ge=0, lt=1, levels=(0.0, 0.99),
    )  # fmt: skip
    ema_warmup: bool = setting(
        False, "raise the decay from 0 over the first steps, with `ema`, so that early weights count less",
        scope="evaluate",
    )  # fmt: skip


class MovingAverage(Technique[MovingAverageSettings], TracksWeights):
    """All decays of a grid are averaged in one training, and its evaluations choose."""

    name = "ema"
    field = "ema"
    off = 0.0
    applies_to = "evaluation"
    changes = "predictions"
    settings_type = MovingAverageSettings
    card = Card(
        name="Moving average of the weights",
        claim="Higher accuracy and better calibration from the same training, especially at a high learning rate.",
        response="accuracy",
        why="The weights oscillate around a good point because each batch has a different gradient. Their average is "
        "closer to that point, much as after a decay of the learning rate.",
        paper="Polyak and Juditsky 1992, Acceleration of Stochastic Approximation by Averaging "
        "(https://doi.org/10.1137/0330046); Izmailov, Podoprikhin, Garipov, Vetrov and Wilson 2018, Averaging Weights "
        "Leads to Wider Optima (https://arxiv.org/abs/1803.05407)",
        defaults="A decay of 0.99 averages over about the last 100 steps, which suits trainings of a few hundred "
        "steps; 0.9998 is timm's for ImageNet. Batch-norm statistics are averaged like weights, as timm does.",
        cost="A copy of the weights in memory and one weighted sum over them in each step; none at inference. Trials "
        "without it share the same training, so their minutes include this cost too.",
        fails="With a decay too near 1 for the number of steps, early weights still count. At the end of a schedule "
        "that ends near 0 the weights hardly move, so that their average is much the same.",
    )

    def track(self, tracked: Mapping[str, Tensor], weights: Mapping[str, Tensor], step: Step) -> None:
        """Moves the average."""
        move_average(tracked, weights, decay_at(step.number + 1, self.settings.ema, self.settings.ema_warmup))
