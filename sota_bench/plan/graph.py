"""From trials to the stage graph: trials that agree up to a phase get the same stage up to there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.grid.expand import Cell, Trial
from sota_bench.grid.grid import Grid
from sota_bench.plan.environment import Environment
from sota_bench.plan.evaluations import EvaluationStages
from sota_bench.plan.images import GridImages
from sota_bench.plan.order import order
from sota_bench.plan.phases import PhasedTrial, phases_of
from sota_bench.plan.plan import Evaluation, Plan, TrialPlan
from sota_bench.plan.stage_builder import StageBuilder
from sota_bench.plan.titles import with_levels
from sota_bench.plan.trackers import trackers_of
from sota_bench.plan.training import TrainingKeys, TrainingStages
from sota_bench.stages.context import ImageChoice, PrepareContext
from sota_bench.stages.params import PrepareParams
from sota_bench.units import counted

FEWEST_TO_TRAIN = 2
"""Images that batch norm needs at least."""

_SPLIT_USE = {"select": "select by", "test": "confirm with"}


def build(
    grid: Grid,
    environment: Environment,
    images: GridImages,
    manifest_file: Path,
    processes: int,
    trials: Sequence[Trial] | None = None,
    split: str = "select",
) -> Plan:
    """The plan of a grid.

    Args:
        grid: the question.
        environment: where it will run.
        images: what it runs on.
        manifest_file: where workers will find the manifest.
        processes: how many decode images.
        trials: those that are planned; all of the grid by default.
        split: the images that judge, ``select`` or ``test``.

    Raises:
        UserError: a subset has too few images to train on, or none to judge by.
    """
    without_trackers = TrainingStages(StageBuilder(grid, environment, images, manifest_file))

    def training_keys(cell: Cell) -> Sequence[str]:
        return without_trackers.all_phases(_phased(grid, Trial(cell.id, cell, 0))).phases

    builder = StageBuilder(grid, environment, images, manifest_file)
    training = TrainingStages(builder, trackers_of(grid, training_keys))
    evaluations = EvaluationStages(builder, split)
    phased = [_phased(grid, trial) for trial in (grid.trials() if trials is None else trials)]
    _add_prepare(builder, phased, processes, split)
    planned = tuple(_planned(trial, training, evaluations) for trial in phased)
    stages = {key: replace(stage, trials=tuple(builder.users[key])) for key, stage in builder.stages.items()}
    titled = with_levels(grid, [trial.trial for trial in planned], stages)
    return Plan(grid, environment, images, order(titled), planned)


def _phased(grid: Grid, trial: Trial) -> PhasedTrial:
    active, reason = grid.active(trial.cell.recipe), grid.inapplicable(trial.cell)
    return PhasedTrial(trial, active, () if reason else phases_of(trial.cell.recipe, active), reason)


def _planned(trial: PhasedTrial, training: TrainingStages, evaluations: EvaluationStages) -> TrialPlan:
    """The plan of one trial, whose stages are made where no other trial has asked for them."""
    keys, measured = TrainingKeys(), list[Evaluation]()
    for phase in trial.phases:
        checkpoint = training.add_phase(trial, phase, keys)
        measured += evaluations.after(trial, phase, checkpoint)
    return TrialPlan(
        trial.trial, trial.inapplicable, trial.phases, tuple(keys.phases), tuple(keys.beside()), tuple(measured)
    )


def _add_prepare(builder: StageBuilder, trials: Sequence[PhasedTrial], processes: int, split: str) -> None:
    """Adds the stage that decodes the images of all trials, which all of them need.

    Raises:
        UserError: a subset has too few images to train on, or none to judge by.
    """
    images = builder.images
    choices: dict[ImageChoice, None] = {}
    for trial in {(trial.cell.id, builder.grid.draws(trial.trial.seed).split): trial for trial in trials}.values():
        for task in dict.fromkeys(phase.task for phase in trial.phases):
            choices[builder.choice(trial.recipe, task, trial.trial.seed)] = None
    _check_counts(builder.grid, images, choices, split)
    contents, count = images.contents_digest(tuple(choices))
    context = PrepareContext(builder.manifest_file, images.source.spec, tuple(choices), processes)
    params = PrepareParams(contents, images.size, None if images.cache == "pixels" else images.cache)
    made_with = builder.made_with("prepare", computes_on_device=False)
    title = f"decode {counted(count, 'image')} at {images.size} px"
    users = [trial.trial.id for trial in trials if trial.inapplicable is None]
    builder.prepare = builder.add("prepare", params, {}, title, users, made_with, context)


def _check_counts(grid: Grid, images: GridImages, choices: Iterable[ImageChoice], split: str) -> None:
    """Makes sure that every subset has images to train on and images to judge by.

    Raises:
        UserError: one has not.
    """
    file = str(grid.file)
    for choice in choices:
        sizes = images.subset(choice).sizes()
        if sizes["train"] < FEWEST_TO_TRAIN:
            problem = f"only {sizes['train']} image is left to train on, and {FEWEST_TO_TRAIN} are needed"
            raise UserError(file, "data", problem, "add images, or allow more in data.fraction and data.per_class")
        if not sizes[split]:
            problem = f"{images.source.name} has no images to {_SPLIT_USE[split]}"
            remedy = "add images to val/<class>/, or put all of them in <class>/ folders, of which a share is held back"
            raise UserError(file, "data", problem, remedy)
