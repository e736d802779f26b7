"""The plan: which stages a grid needs, which trials share them, and what each trial is made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sota_bench.grid.expand import Trial
from sota_bench.grid.grid import Grid
from sota_bench.plan.environment import Environment
from sota_bench.plan.images import GridImages
from sota_bench.plan.phases import PhasePlan
from sota_bench.stages.context import PrepareContext
from sota_bench.stages.params import TrainParams
from sota_bench.stages.stage import Stage

TrialStatus = Literal["done", "failed", "blocked", "not_applicable", "not_asked"]
"""What became of a trial: its own stage failed; a stage that it needs failed or has not run yet; a technique for the
rise of resolution is on and nothing rises; ``--only`` left it out."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a trial.

    Attributes:
        phase: 0-based phase after which it is taken.
        train_size: size of that phase.
        size: evaluation size in pixels.
        task: whose classes (``main`` or ``base``).
        views: ``off``, or the test-time augmentation.
        final: it is the trial's own accuracy.
        key: the stage.
    """

    phase: int
    train_size: int
    size: int
    task: str
    views: str
    final: bool
    key: str


@dataclass(frozen=True)
class TrialPlan:
    """One trial.

    Attributes:
        trial: cell and seed.
        inapplicable: why it is not data, or None.
        phases: its training phases.
        training: keys of its training stages, in order.
        computed: keys of its precompute stages.
        evaluations: all that is measured of it.
    """

    trial: Trial
    inapplicable: str | None = None
    phases: tuple[PhasePlan, ...] = ()
    training: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()

    @property
    def final(self) -> Evaluation:
        """The evaluation that is the trial's accuracy."""
        return next(evaluation for evaluation in self.evaluations if evaluation.final)

    @property
    def epochs(self) -> int:
        """Training epochs that it asks for."""
        return sum(phase.epochs for phase in self.phases)


@dataclass(frozen=True)
class Plan:
    """All that a grid needs.

    Attributes:
        grid: the question.
        environment: where it runs.
        images: what it runs on.
        stages: key -> stage, in the order in which they should run.
        trials: every trial, also those that are not applicable.
    """

    grid: Grid
    environment: Environment
    images: GridImages
    stages: Mapping[str, Stage]
    trials: tuple[TrialPlan, ...]

    @property
    def prepare(self) -> Stage:
        """The stage that decodes the images."""
        return next(stage for stage in self.stages.values() if stage.kind == "prepare")

    @property
    def prepare_context(self) -> PrepareContext:
        """What that stage needs: the manifest's file and the subsets that are decoded."""
        context = self.prepare.context
        assert isinstance(context, PrepareContext)
        return context

    def restricted(self, trials: Collection[str], grid: Grid | None = None) -> Plan:
        """The plan of some of the trials, by their ids, and what they need.

        Args:
            trials: those that stay.
            grid: that asks for them; the plan's own by default.
        """
        kept = frozenset(trials)
        stages = {
            key: replace(stage, trials=tuple(trial for trial in stage.trials if trial in kept))
            for key, stage in self.stages.items()
            if not kept.isdisjoint(stage.trials)
        }
        chosen = tuple(trial for trial in self.trials if trial.trial.id in kept)
        return replace(self, grid=grid or self.grid, stages=stages, trials=chosen)

    def training_images(self, trial: TrialPlan) -> list[str]:
        """Digests of the images of each training phase of a trial."""
        phases = [self.stages[key].params for key in trial.training]
        return [params.data.digest for params in phases if isinstance(params, TrainParams)]

    @property
    def epochs_asked(self) -> int:
        """Training epochs if every trial were run by itself."""
        return sum(trial.epochs for trial in self.trials)

    @property
    def epochs_planned(self) -> int:
        """Training epochs with shared phases counted once."""
        return sum(stage.epochs for stage in self.stages.values())
