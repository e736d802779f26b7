"""The training stages of a trial: its phases, what techniques compute before them, and their teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sota_bench import registry
from sota_bench.grid.expand import Cell, Trial
from sota_bench.grid.pretrained import HUB, located
from sota_bench.grid.recipe import CoreRecipe
from sota_bench.plan.phases import PhasedTrial, PhasePlan
from sota_bench.plan.stage_builder import StageBuilder, deciding_fields
from sota_bench.plan.teachers import teacher_phases, teacher_recipe
from sota_bench.plan.trackers import Trackers
from sota_bench.plan.weights import weights_digest
from sota_bench.stages.context import ImageChoice
from sota_bench.stages.params import PhaseParams, PrecomputeParams, RateSpan, TrainParams
from sota_bench.stages.values import Json
from sota_bench.technique import NeedsTeacher, Precomputes, Teacher, Technique, overrides, teacher_role


@dataclass
class TrainingKeys:
    """Keys of the stages of one training, as far as it is planned.

    Attributes:
        phases: of its phases, in order.
        computed: what trains or computes beside them, by the role that its last stage has for a phase: a technique's
            name for its own stages, :func:`teacher_role` for its teacher's.
    """

    phases: list[str] = field(default_factory=list)
    computed: dict[str, list[str]] = field(default_factory=dict)

    def beside(self) -> list[str]:
        """All keys of ``computed``, each once."""
        return list(dict.fromkeys(key for keys in self.computed.values() for key in keys))


class TrainingStages:
    """Plans the trainings of one grid.

    Args:
        builder: makes the stages.
        trackers: which weights each phase keeps beside the trained ones.
    """

    def __init__(self, builder: StageBuilder, trackers: Trackers | None = None) -> None:
        self.builder, self.trackers = builder, trackers or {}
        self._techniques = registry.techniques(builder.grid.techniques)
        self._teachers: dict[str, Cell] = {}
        self._teacher_choices: dict[int, ImageChoice] = {}

    def all_phases(self, trial: PhasedTrial) -> TrainingKeys:
        """The stages of a whole training."""
        training = TrainingKeys()
        for phase in trial.phases:
            self.add_phase(trial, phase, training)
        return training

    def add_phase(self, trial: PhasedTrial, phase: PhasePlan, training: TrainingKeys) -> str:
        """The key of the stage that trains a phase.

        Args:
            trial: whose it is.
            phase: the next one to plan.
            training: the stages before it; those of this phase are added.
        """
        builder, recipe = self.builder, trial.recipe
        acting = [technique for technique in trial.active if _acts(technique, phase)]
        choice = self._choice(recipe, phase.task, trial.trial.seed)
        draws = builder.grid.draws(trial.trial.seed)
        parents = {"data": builder.prepare}
        if training.phases:
            parents["checkpoint"] = training.phases[-1]
        for technique in acting:
            if isinstance(technique, Precomputes) and technique.needs_precompute():
                before = training.computed.setdefault(technique.name, [])
                key = self._compute(trial, technique, phase, parents, before)
                if key:
                    parents[technique.name] = key
                    before.append(key)
            if isinstance(technique, NeedsTeacher):
                keys = self._teach(trial.trial, technique.teacher())
                parents[teacher_role(technique.name)] = keys[-1]
                training.computed[teacher_role(technique.name)] = keys
        deciding = deciding_fields(recipe, "train", acting)
        settings = {**builder.settings(recipe, deciding), "batch_size": recipe.batch_at(phase.size)}
        rate_span = None
        if recipe.schedule_span == "run":
            spanned = [other for other in trial.phases if other.task == phase.task]  # other tasks have other images
            batches: dict[str, Json] = {str(other.size): recipe.batch_at(other.size) for other in spanned}
            settings |= {"schedule_span": "run", "batch_sizes": batches}
            rate_span = RateSpan(spanned.index(phase), tuple((other.size, other.epochs) for other in spanned))
        trackers = self.trackers.get((trial.cell.id, phase.index), ())
        digest, weights = None, ""
        if recipe.weights and not training.phases:
            digest = weights_digest(recipe.weights, recipe.backbone, builder.grid.file)
            weights = HUB if recipe.weights == HUB else str(located(recipe.weights, builder.grid.file))
        params = TrainParams(
            builder.texts.shared(settings),
            tuple(technique.name for technique in acting),
            _phase_params(phase, trial.phases, acting),
            phase.task,
            builder.selection(choice, "train"),
            draws.augment,
            digest,
            rate_span,
            trackers or None,
            draws.init if draws.init != draws.augment else None,
            draws.order if draws.order != draws.augment else None,
        )
        code_from = [*map(type, acting), *(self._techniques[tracker.technique] for tracker in trackers)]
        made_with, context = builder.made_with("train", code_from), builder.context(choice, weights)
        title = self._title(trial.cell, phase)
        training.phases.append(
            builder.add("train", params, parents, title, [trial.trial.id], made_with, context, phase.epochs)
        )
        return training.phases[-1]

    def _title(self, cell: Cell, phase: PhasePlan) -> str:
        task = "teacher " if cell.id in self._teachers else "" if phase.task == "main" else f"{phase.task} "
        return f"train {task}{phase.size} px x{phase.epochs}" if phase.epochs else f"load {task}at {phase.size} px"

    def _teach(self, trial: Trial, teacher: Teacher) -> list[str]:
        """The training stages of a teacher, on the trial's images, with the trial's seed."""
        name = f"{trial.cell.id} {teacher}"
        if name not in self._teachers:
            recipe = teacher_recipe(self.builder.grid, trial.cell.recipe, teacher)
            self._teachers[name] = replace(trial.cell, id=name, recipe=recipe)
            self._teacher_choices[id(recipe)] = self.builder.images.choice(trial.cell.recipe, "main")
        own = replace(trial, cell=self._teachers[name])
        active = registry.active(own.cell.recipe, self.builder.grid.techniques)
        training = self.all_phases(PhasedTrial(own, active, teacher_phases(own.cell.recipe, teacher)))
        return [*training.beside(), *training.phases]

    def _choice(self, recipe: CoreRecipe, task: str, seed: int) -> ImageChoice:
        """The images of a recipe for a task under a seed; a teacher's are those of its student."""
        choice = self._teacher_choices.get(id(recipe)) or self.builder.images.choice(recipe, task)
        return self.builder.redrawn(choice, seed)

    def _compute(
        self,
        trial: PhasedTrial,
        technique: Precomputes,
        phase: PhasePlan,
        parents: Mapping[str, str],
        before: Sequence[str],
    ) -> str | None:
        """A technique's own stage, from the data or from the checkpoint before this phase.

        What a technique keeps in a checkpoint travels with the weights, so it needs no data but those of the task that
        the weights learned first.
        """
        assert isinstance(technique, Technique)
        builder, recipe, precompute = self.builder, trial.recipe, technique.precompute
        settings: dict[str, Json] = recipe.model_dump(mode="json", include=set(precompute.fields))
        kind, name = precompute.kind, technique.name
        if precompute.source == "data":
            travels = overrides(type(technique), "state")
            choice = self._choice(recipe, trial.phases[0].task if travels else phase.task, trial.trial.seed)
            params = PrecomputeParams(builder.texts.shared(settings), name, builder.selection(choice, "train"), 0)
            made_with = builder.made_with(kind, [type(technique)], computes_on_device=False)
            context = builder.context(choice)
            return builder.add(kind, params, {"data": builder.prepare}, kind, [trial.trial.id], made_with, context)
        if phase.index == 0:
            return None
        last = trial.phases[phase.index - 1]
        choice = self._choice(recipe, last.task, trial.trial.seed)
        settings |= {"precision": builder.precision(recipe), "in_chans": recipe.in_chans}
        needed = {"data": builder.prepare, "checkpoint": parents["checkpoint"]}
        earlier_task = None
        for key in before[-1:]:
            earlier = builder.stages[key].params
            assert isinstance(earlier, PrecomputeParams)
            needed["earlier"], earlier_task = key, earlier.task
        selection, seed = builder.selection(choice, "train"), builder.grid.draws(trial.trial.seed).augment
        params = PrecomputeParams(
            builder.texts.shared(settings), name, selection, seed, last.size, last.task, earlier_task
        )
        title, made_with = f"{kind} at {last.size} px", builder.made_with(kind, [type(technique)])
        return builder.add(kind, params, needed, title, [trial.trial.id], made_with, builder.context(choice))


def _acts(technique: Technique, phase: PhasePlan) -> bool:
    """Whether a technique takes part in the training of a phase; a base model has no teacher."""
    if technique.applies_to == "training" or (technique.applies_to == "rise" and phase.rise):
        return phase.task == "main" or not isinstance(technique, NeedsTeacher)
    return False


def _phase_params(phase: PhasePlan, phases: Sequence[PhasePlan], acting: Sequence[Technique]) -> PhaseParams:
    spanning = any(technique.uses_training_share for technique in acting)
    total_epochs = sum(other.epochs for other in phases) if spanning else None
    return PhaseParams(
        phase.index, phase.size, phase.epochs, phase.first_epoch, phase.earlier_sizes, phase.rise, total_epochs
    )
