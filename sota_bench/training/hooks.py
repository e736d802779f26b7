"""The techniques of a phase by the hooks that they override, collected once: a hook that does nothing costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from sota_bench.randomness import generator
from sota_bench.technique import Closure, DrawsImageSize, Step, Technique, overrides

DRAWING = ("on_step_start", "on_targets", "on_batch")
"""Hooks that are given their technique's stream."""


class Hooks:
    """Which techniques each hook of the loop calls, in the order in which they run.

    Args:
        techniques: those that act in the phase, in order.
        seed: of the trial.

    Attributes:
        step: takes the optimizer's step.
        draws_size: techniques that draw the size of each step's images.
        The others are lists of the techniques that override the hook of their name.
    """

    def __init__(self, techniques: Sequence[Technique], seed: int) -> None:
        def overriding(hook: str) -> list[Technique]:
            return [technique for technique in techniques if overrides(type(technique), hook)]

        self.on_phase_start = overriding("on_phase_start")
        self.on_step_start = overriding("on_step_start")
        self.draws_size = [technique for technique in techniques if isinstance(technique, DrawsImageSize)]
        self.on_targets = overriding("on_targets")
        self.on_input = overriding("on_input")
        self.loss = overriding("loss")
        self.after_step = overriding("after_step")
        self.step: Callable[[torch.optim.Optimizer, Closure], None] = plain_step
        for technique in overriding("step"):
            self.step = technique.step
        self._seed, self._on_batch = seed, overriding("on_batch")
        drawing = [technique for hook in DRAWING for technique in overriding(hook)]
        self._streams = list(dict.fromkeys(technique.name for technique in (*self.draws_size, *drawing)))
        groups: dict[str, list[Technique]] = {}
        for technique in self._on_batch:
            if technique.exclusive_group is not None:
                groups.setdefault(technique.exclusive_group, []).append(technique)
        self._groups = [members for members in groups.values() if len(members) > 1]

    def streams(self, step: Step) -> dict[str, np.random.Generator]:
        """The stream of each technique that draws, at one step, by its name."""
        return {name: generator(self._seed, name, step.epoch, step.index) for name in self._streams}

    def on_batch(self, step: Step) -> list[Technique]:
        """The techniques that change this step's batch: of each exclusive group the one that is drawn (timm switches
        between Mixup and CutMix so, per batch), and all that are in none."""
        if not self._groups:
            return self._on_batch
        rng = generator(self._seed, "turn", step.epoch, step.index)
        drawn = {id(members[int(rng.integers(len(members)))]) for members in self._groups}
        resting = {id(member) for members in self._groups for member in members} - drawn
        return [technique for technique in self._on_batch if id(technique) not in resting]


def plain_step(optimizer: torch.optim.Optimizer, closure: Closure) -> None:
    """The step that no technique replaces."""
    closure()
    optimizer.step()
