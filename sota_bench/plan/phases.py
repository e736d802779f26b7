"""The phases of one training: what is trained at which size for how long, and where the resolution rises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sota_bench.grid.expand import Cell, Trial
from sota_bench.grid.recipe import CoreRecipe
from sota_bench.technique import Technique, TrainsBaseModel


@dataclass(frozen=True)
class PhasePlan:
    """One training phase.

    Attributes:
        index: 0-based, over the whole trial.
        task: ``main``, or ``base`` for the training of a base model on its own classes.
        size: pixels of both sides.
        epochs: passes over the task's training images.
        first_epoch: epochs of the trial before this phase.
        earlier_sizes: sizes trained at before, oldest first, each once.
        rise: larger than all sizes before, or one that fine-tunes a base model: mitigations act. A base model is
            trained without them, so that all its fine-tunings start from the same.
    """

    index: int
    task: str
    size: int
    epochs: int
    first_epoch: int
    earlier_sizes: tuple[int, ...]
    rise: bool


def phases_of(recipe: CoreRecipe, active: Sequence[Technique]) -> tuple[PhasePlan, ...]:
    """The phases of a recipe: those of a base model first, then those of ``resize``.

    Args:
        recipe: the settings.
        active: the techniques that it switches on.
    """
    bases = [technique for technique in active if isinstance(technique, TrainsBaseModel)]
    steps = [("base", phase) for technique in bases for phase in technique.base_phases()]
    steps += [("main", phase) for phase in recipe.phases]
    phases: list[PhasePlan] = []
    for index, (task, phase) in enumerate(steps):
        earlier = tuple(dict.fromkeys(before.size for before in phases))
        fine_tunes = any(before.task != task for before in phases)
        rise = fine_tunes or (task == "main" and bool(earlier) and phase.size > max(earlier))
        first = sum(before.epochs for before in phases)
        phases.append(PhasePlan(index, task, phase.size, phase.epochs, first, earlier, rise))
    return tuple(phases)


@dataclass(frozen=True)
class PhasedTrial:
    """A trial with what its recipe comes to.

    Attributes:
        trial: cell and seed.
        active: the techniques that the recipe switches on.
        phases: all of its training phases, in order; none where it is not applicable.
        inapplicable: why it is not data, or None.
    """

    trial: Trial
    active: Sequence[Technique]
    phases: tuple[PhasePlan, ...]
    inapplicable: str | None = None

    @property
    def cell(self) -> Cell:
        """The trial's cell."""
        return self.trial.cell

    @property
    def recipe(self) -> CoreRecipe:
        """All of its settings."""
        return self.trial.cell.recipe
