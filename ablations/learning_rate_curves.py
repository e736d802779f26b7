"""Other curves of the learning rate: linear, warmup-stable-decay, and cosine with warm restarts."""

from __future__ import annotations

import math
from typing import Literal

from sota_bench.technique import Card, SchedulesLearningRate, Settings, Technique, setting


def linear_rate(step: int, total: int, peak: float, warmup: float) -> float:
    """Rises in a straight line to the peak, then falls in one towards 0.

    Args:
        step: 0 to ``total`` - 1.
        total: steps of the schedule.
        peak: the highest rate.
        warmup: share of the steps in which it rises.
    """
    rising = round(warmup * total)
    if step < rising:
        return peak * (step + 1) / (rising + 1)  # not 0 at the first step, which would train nothing
    return peak * (total - step) / (total - rising)


def warmup_stable_decay_rate(step: int, total: int, peak: float, warmup: float, decay: float) -> float:
    """Rises in a straight line, stays at the peak, and falls in a straight line towards 0 at the end.

    Args:
        step: 0 to ``total`` - 1.
        total: steps of the schedule.
        peak: the highest rate.
        warmup: share of the steps in which it rises.
        decay: share of the steps in which it falls.
    """
    rising, falling = round(warmup * total), max(1, round(decay * total))
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    return peak * min(1.0, (total - step) / falling)


def restarted_rate(step: int, total: int, peak: float, cycles: int) -> float:
    """Falls from the peak along a cosine in each cycle (Loshchilov and Hutter 2017, equation 5).

    Args:
        step: 0 to ``total`` - 1.
        total: steps of the schedule.
        peak: the highest rate.
        cycles: each is twice as long as the one before it.
    """
    length = total / (2**cycles - 1)
    start = 0.0
    while step >= start + length - 1e-9 and start + length < total - 1e-9:
        start, length = start + length, 2 * length
    return peak * (1 + math.cos(math.pi * (step - start) / length)) / 2


class CurveSettings(Settings):
    lr_curve: Literal["schedule", "linear-decay", "wsd", "restarts"] = setting(
        "schedule",
        "curve of the learning rate instead of `schedule`: linear-decay, wsd (warmup-stable-decay) or restarts "
        "(cosine with warm restarts)",
        scope="train",
        levels=("schedule", "linear-decay", "wsd", "restarts"),
    )
    curve_warmup: float = setting(
        0.05, "share of the steps in which the rate rises, with `linear-decay` and `wsd`", scope="train", ge=0, lt=1
    )
    wsd_decay: float = setting(
        0.2, "share of the steps in which the rate falls at the end, with `wsd`", scope="train", gt=0, le=1
    )
    restart_cycles: int = setting(
        3, "cycles of `restarts`, each twice as long as the one before it", scope="train", ge=1, le=10
    )


class LinearDecay(Technique[CurveSettings], SchedulesLearningRate):
    name = "linear-decay"
    field = "lr_curve"
    level = "linear-decay"
    off = "schedule"
    settings_type = CurveSettings
    card = Card(
        name="Linear decay",
        claim="As accurate as the best schedules for a budget that is known in advance.",
        response="accuracy",
        why="Late steps refine what early ones found, so steps should become smaller. For the last weights of "
        "stochastic subgradient descent, a straight line to 0 is optimal in the worst case.",
        paper="Defazio, Cutkosky, Mehta and Mishchenko 2023, Optimal Linear Decay Learning Rate Schedules and Further "
        "Refinements (https://arxiv.org/abs/2310.07831)",
        defaults="A rise over the first 5% of the steps, which adaptive optimizers need.",
        cost="None.",
        fails="It needs the number of steps in advance. The last steps are so small that a training which is stopped "
        "early is worse than with a constant rate and an average of the weights.",
    )

    def learning_rate(self, step: int, total: int, peak: float) -> float:
        """A straight line up and one down."""
        return linear_rate(step, total, peak, self.settings.curve_warmup)


class WarmupStableDecay(Technique[CurveSettings], SchedulesLearningRate):
    name = "warmup-stable-decay"
    field = "lr_curve"
    level = "wsd"
    off = "schedule"
    settings_type = CurveSettings
    card = Card(
        name="Warmup-stable-decay",
        claim="As accurate as a cosine schedule, and one training can be continued to any length before its decay.",
        response="accuracy",
        why="A high constant rate makes progress along the valley of the loss, and the short decay at the end goes "
        "down to its floor.",
        paper="Hägele, Bakouch, Kosson, Ben Allal, Von Werra and Jaggi 2024, Scaling Laws and Compute-Optimal Training "
        "Beyond Fixed Training Durations (https://arxiv.org/abs/2405.18392)",
        defaults="A straight decay over the last 20% of the steps, about what the paper needs to match a cosine "
        "schedule; a rise over 5%.",
        cost="None.",
        fails="In short trainings, and where the peak rate is too high to stay at it.",
    )

    def learning_rate(self, step: int, total: int, peak: float) -> float:
        """A rise, a plateau and a fall."""
        return warmup_stable_decay_rate(step, total, peak, self.settings.curve_warmup, self.settings.wsd_decay)


class WarmRestarts(Technique[CurveSettings], SchedulesLearningRate):
    name = "warm-restarts"
    field = "lr_curve"
    level = "restarts"
    off = "schedule"
    settings_type = CurveSettings
    card = Card(
        name="Cosine with warm restarts",
        claim="Good accuracy at the end of every cycle, so that a training can be stopped at several points.",
        response="accuracy",
        why="Each restart leaves the minimum that was found, and the decay of the cycle finds one that is as good or "
        "better.",
        paper="Loshchilov and Hutter 2017, SGDR: Stochastic Gradient Descent with Warm Restarts "
        "(https://arxiv.org/abs/1608.03983)",
        defaults="Each cycle is twice as long as the one before it, the paper's T_mult = 2; three cycles, so that the "
        "last one takes four sevenths of the training.",
        cost="None.",
        fails="A restart undoes a part of the decay, so a short training ends worse than with one long cycle.",
    )

    def learning_rate(self, step: int, total: int, peak: float) -> float:
        """A cosine for each cycle."""
        return restarted_rate(step, total, peak, self.settings.restart_cycles)
