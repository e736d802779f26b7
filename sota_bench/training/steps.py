"""Where each step of a phase lies: in its epoch, its phase, the whole training, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sota_bench.grid.recipe import CoreRecipe
from sota_bench.stages.params import TrainParams
from sota_bench.technique import SchedulesLearningRate, Step, Technique
from sota_bench.training import optimizer as optimizers
from sota_bench.training.batches import steps_in_epoch


class PhaseSteps:
    """The steps of one phase.

    Args:
        params: the phase.
        recipe: the settings.
        techniques: those that act; one of them may make the learning-rate schedule.
        images: training images.
        before: optimizer steps of the phases before.
    """

    def __init__(
        self, params: TrainParams, recipe: CoreRecipe, techniques: Sequence[Technique], images: int, before: int
    ) -> None:
        phase, span = params.phase, params.rate_span
        self.before, self.in_epoch = before, steps_in_epoch(images, recipe.batch_at(phase.size))
        self._phase, self._recipe = phase, recipe
        self._offset, self._total = 0, phase.epochs * self.in_epoch
        if span is not None:
            lengths = [epochs * steps_in_epoch(images, recipe.batch_at(size)) for size, epochs in span.phases]
            self._offset, self._total = sum(lengths[: span.index]), sum(lengths)
        own = [technique for technique in techniques if isinstance(technique, SchedulesLearningRate)]
        self._schedule = own[0] if own else None

    def step(self, epoch: int, index: int) -> Step:
        """One step.

        Args:
            epoch: 0-based, within the phase.
            index: 0-based, within the epoch.
        """
        taken, whole = epoch * self.in_epoch + index, self._phase.first_epoch + epoch
        total_epochs = self._phase.total_epochs
        training_share = (whole + index / self.in_epoch) / total_epochs if total_epochs else math.nan
        share = taken / (self._phase.epochs * self.in_epoch)
        return Step(whole, index, self.before + taken, share, training_share)

    def learning_rate(self, step: Step) -> float:
        """The learning rate of a step of this phase."""
        position, recipe = self._offset + step.number - self.before, self._recipe
        if self._schedule is not None:
            return self._schedule.learning_rate(position, self._total, recipe.lr)
        return optimizers.learning_rate(recipe.schedule, position, self._total, recipe.lr, recipe.warmup)
