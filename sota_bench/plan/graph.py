"""From trials to the stage graph: trials that agree up to a phase get the same stage up to there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sota_bench import registry
from sota_bench.errors import UserError
from sota_bench.grid.expand import Cell, Trial
from sota_bench.grid.grid import Grid
from sota_bench.grid.levels import level_text
from sota_bench.grid.pretrained import HUB, located
from sota_bench.grid.recipe import CoreRecipe, fields_of
from sota_bench.plan.code import code_of
from sota_bench.plan.environment import Environment
from sota_bench.plan.images import GridImages
from sota_bench.plan.order import order
from sota_bench.plan.phases import PhasePlan, phases_of
from sota_bench.plan.plan import Evaluation, Plan, TrialPlan
from sota_bench.plan.teachers import teacher_phases, teacher_recipe
from sota_bench.plan.titles import with_levels
from sota_bench.plan.weights import weights_digest
from sota_bench.stages.context import ImageChoice, PrepareContext, StageContext
from sota_bench.stages.keys import CanonicalTexts, stage_key
from sota_bench.stages.params import (
    EvaluateParams,
    ImageSelection,
    PhaseParams,
    PrecomputeParams,
    PrepareParams,
    ProbeParams,
    RateSpan,
    RecipeSettings,
    StageParams,
    TrackerParams,
    TrainParams,
)
from sota_bench.stages.stage import MadeWith, Stage
from sota_bench.stages.values import Json, canonical
from sota_bench.technique import (
    NeedsTeacher,
    Precomputes,
    Scope,
    Teacher,
    Technique,
    TracksWeights,
    overrides,
    teacher_role,
)
from sota_bench.units import counted

_NOT_IN_TRAINING = {"resize", "batch_size", "batch_sizes", "weights", "upsample", "schedule_span"}
"""Core fields that reach a training stage in another form: as its phase, its own batch size, or a digest."""

_FOR_EVALUATION = frozenset({"precision", "layout"})
"""Training fields that an evaluation reads as well."""


class _Builder:
    def __init__(
        self, grid: Grid, environment: Environment, images: GridImages, manifest_file: Path, split: str
    ) -> None:
        self.grid, self.environment, self.images, self.split = grid, environment, images, split
        self.manifest_file = manifest_file
        self.core = frozenset(CoreRecipe.model_fields)
        self.texts = CanonicalTexts()
        self._settings: dict[tuple[int, frozenset[str]], dict[str, Json]] = {}
        self._selections: dict[tuple[ImageChoice, str], ImageSelection] = {}
        self._made_with: dict[tuple[str, tuple[str, ...], bool], MadeWith] = {}
        self._contexts: dict[tuple[ImageChoice, str], StageContext] = {}
        self.stages: dict[str, Stage] = {}
        self.users: dict[str, dict[str, None]] = {}
        self.prepare = ""
        self.trackers: dict[tuple[str, int], tuple[TrackerParams, ...]] = {}
        self.teachers: dict[str, Cell] = {}
        self.choices: dict[int, ImageChoice] = {}
        decoded_with = canonical([code_of("prepare", ()), environment.software_of("prepare")])
        self.decoder = hashlib.sha256(decoded_with.encode()).hexdigest()[:16]

    def add(
        self,
        kind: str,
        params: StageParams,
        parents: Mapping[str, str],
        title: str,
        trial: str,
        made_with: MadeWith,
        context: PrepareContext | StageContext,
        epochs: int = 0,
    ) -> str:
        """The key of a stage, which is made if no other trial has asked for it."""
        key = stage_key(kind, params, made_with, parents, self.texts)
        if key not in self.stages:
            self.stages[key] = Stage(key, kind, params, dict(parents), title, made_with, context, (), epochs)
        self.users.setdefault(key, {})[trial] = None
        return key

    def made_with(
        self, kind: str, techniques: Sequence[type[Technique]] = (), computes_on_device: bool = True
    ) -> MadeWith:
        """The code, software and device of a stage; the device only where it decides the result."""
        modules = tuple(technique.__module__ for technique in techniques)
        name = kind, modules, computes_on_device
        if name not in self._made_with:
            made_with = MadeWith(
                code_of(kind, modules),
                self.environment.software_of(kind),
                self.environment.identity if computes_on_device else None,
                None if kind == "prepare" else self.decoder,
            )
            self._made_with[name] = self.texts.shared(made_with)
        return self._made_with[name]

    def settings(self, recipe: CoreRecipe, scopes: Sequence[Scope], acting: Sequence[Technique]) -> dict[str, Json]:
        """The recipe fields of these scopes that decide a stage: the core's, and those of the techniques in it."""
        names = {name for name in fields_of(type(recipe), *scopes) if name in self.core} - _NOT_IN_TRAINING
        for technique in acting:
            names |= {technique.field, *technique.settings_type.model_fields}
        return self.dumped(recipe, frozenset(names))

    def dumped(self, recipe: CoreRecipe, names: frozenset[str]) -> dict[str, Json]:
        """Recipe fields as JSON values, with what ``auto`` means here; a copy that may be changed."""
        name = id(recipe), names  # the grid holds its recipes, so no other gets this id
        if name not in self._settings:
            values: dict[str, Json] = dict(recipe.model_dump(mode="json", include=set(names)))
            if "precision" in values:
                values["precision"] = self.precision(recipe)
            self._settings[name] = self.texts.shared(values)
        return dict(self._settings[name])

    def precision(self, recipe: CoreRecipe) -> str:
        return self.environment.precision if recipe.precision == "auto" else recipe.precision

    def selection(self, choice: ImageChoice, split: str) -> ImageSelection:
        """One split of a choice, by content."""
        if (choice, split) not in self._selections:
            selection = ImageSelection(split, self.images.digest(choice, split), self.images.size)
            self._selections[choice, split] = self.texts.shared(selection)
        return self._selections[choice, split]

    def context(self, choice: ImageChoice, weights: str = "") -> StageContext:
        """What a worker needs for a stage on these images; one object for all stages that need the same."""
        if (choice, weights) not in self._contexts:
            files = tuple(self.grid.techniques)
            self._contexts[choice, weights] = StageContext(choice, self.manifest_file, files, weights)
        return self._contexts[choice, weights]

    def trial(self, trial: Trial) -> TrialPlan:
        recipe = trial.cell.recipe
        reason = self.grid.inapplicable(trial.cell)
        if reason:
            return TrialPlan(trial, reason)
        active = self.grid.active(recipe)
        phases = phases_of(recipe, active)
        training: list[str] = []
        computed: dict[str, list[str]] = {}
        evaluations: list[Evaluation] = []
        for phase in phases:
            training.append(self._train(trial, active, phases, phase, training, computed))
            evaluations += self._evaluate(trial, active, phases, phase, training[-1])
        stages = dict.fromkeys(key for keys in computed.values() for key in keys)
        return TrialPlan(trial, None, phases, tuple(training), tuple(stages), tuple(evaluations))

    def _train(
        self,
        trial: Trial,
        active: Sequence[Technique],
        phases: Sequence[PhasePlan],
        phase: PhasePlan,
        training: Sequence[str],
        computed: dict[str, list[str]],
    ) -> str:
        recipe = trial.cell.recipe
        acting = [
            technique
            for technique in active
            if (technique.applies_to == "training" or (technique.applies_to == "rise" and phase.rise))
            and not (isinstance(technique, NeedsTeacher) and phase.task != "main")  # a base model has no teacher
        ]
        choice = self.choice(recipe, phase.task)
        parents = {"data": self.prepare}
        if training:
            parents["checkpoint"] = training[-1]
        for technique in acting:
            if isinstance(technique, Precomputes) and technique.needs_precompute():
                before = computed.setdefault(technique.name, [])
                key = self._compute(trial, technique, phases, phase, parents, before)
                if key:
                    parents[technique.name] = key
                    before.append(key)
            if isinstance(technique, NeedsTeacher):
                keys = self._teach(trial, technique.teacher())
                parents[teacher_role(technique.name)] = keys[-1]
                computed[teacher_role(technique.name)] = keys
        settings = self.settings(recipe, ("train",), acting)
        settings["batch_size"] = recipe.batch_at(phase.size)
        rate_span = None
        if recipe.schedule_span == "run":
            spanned = [other for other in phases if other.task == phase.task]  # other tasks have other images
            batches: dict[str, Json] = {str(other.size): recipe.batch_at(other.size) for other in spanned}
            settings |= {"schedule_span": "run", "batch_sizes": batches}
            rate_span = RateSpan(spanned.index(phase), tuple((other.size, other.epochs) for other in spanned))
        trackers = self.trackers.get((trial.cell.id, phase.index), ())
        spanning = any(technique.uses_training_share for technique in acting)
        digest, weights = None, ""
        if recipe.weights and not training:
            digest = weights_digest(recipe.weights, recipe.backbone, self.grid.file)
            weights = HUB if recipe.weights == HUB else str(located(recipe.weights, self.grid.file))
        params = TrainParams(
            self.texts.shared(settings),
            tuple(technique.name for technique in acting),
            _phase_params(phase, sum(other.epochs for other in phases) if spanning else None),
            phase.task,
            self.selection(choice, "train"),
            trial.seed,
            digest,
            rate_span,
            trackers or None,
        )
        task = "teacher " if trial.cell.id in self.teachers else "" if phase.task == "main" else f"{phase.task} "
        title = f"train {task}{phase.size} px x{phase.epochs}" if phase.epochs else f"load {task}at {phase.size} px"
        known = registry.techniques(self.grid.techniques)
        deciding = [*map(type, acting), *(known[tracker.technique] for tracker in trackers)]
        made_with, context = self.made_with("train", deciding), self.context(choice, weights)
        return self.add("train", params, parents, title, trial.id, made_with, context, phase.epochs)

    def _teach(self, trial: Trial, teacher: Teacher) -> list[str]:
        """The training stages of a teacher, on the trial's images, with the trial's seed."""
        cell = f"{trial.cell.id} {teacher}"
        if cell not in self.teachers:
            recipe = teacher_recipe(self.grid, trial.cell.recipe, teacher)
            self.teachers[cell] = replace(trial.cell, id=cell, recipe=recipe)
            self.choices[id(recipe)] = self.choice(trial.cell.recipe, "main")
        own = replace(trial, cell=self.teachers[cell])
        recipe, training, computed = own.cell.recipe, list[str](), dict[str, list[str]]()
        active, phases = registry.active(recipe, self.grid.techniques), teacher_phases(recipe, teacher)
        for phase in phases:
            training.append(self._train(own, active, phases, phase, training, computed))
        return [*(key for keys in computed.values() for key in keys), *training]

    def choice(self, recipe: CoreRecipe, task: str) -> ImageChoice:
        """The images of a recipe for a task; a teacher's are those of its student."""
        return self.choices.get(id(recipe)) or self.images.choice(recipe, task)

    def _compute(
        self,
        trial: Trial,
        technique: Technique,
        phases: Sequence[PhasePlan],
        phase: PhasePlan,
        parents: Mapping[str, str],
        before: Sequence[str],
    ) -> str | None:
        """A technique's own stage, from the data or from the checkpoint before this phase.

        What a technique keeps in a checkpoint travels with the weights, so it needs no data but those of the task that
        the weights learned first.
        """
        assert isinstance(technique, Precomputes)
        recipe, precompute = trial.cell.recipe, technique.precompute
        settings: dict[str, Json] = recipe.model_dump(mode="json", include=set(precompute.fields))
        kind, name = precompute.kind, technique.name
        if precompute.source == "data":
            travels = overrides(type(technique), "state")
            choice = self.choice(recipe, phases[0].task if travels else phase.task)
            params = PrecomputeParams(self.texts.shared(settings), name, self.selection(choice, "train"), 0)
            made_with = self.made_with(kind, [type(technique)], computes_on_device=False)
            return self.add(kind, params, {"data": self.prepare}, kind, trial.id, made_with, self.context(choice))
        if phase.index == 0:
            return None
        last = phases[phase.index - 1]
        choice = self.choice(recipe, last.task)
        settings |= {"precision": self.precision(recipe), "in_chans": recipe.in_chans}
        needed = {"data": self.prepare, "checkpoint": parents["checkpoint"]}
        earlier_task = None
        for key in before[-1:]:
            earlier = self.stages[key].params
            assert isinstance(earlier, PrecomputeParams)
            needed["earlier"], earlier_task = key, earlier.task
        selection = self.selection(choice, "train")
        params = PrecomputeParams(
            self.texts.shared(settings), name, selection, trial.seed, last.size, last.task, earlier_task
        )
        title, made_with = f"{kind} at {last.size} px", self.made_with(kind, [type(technique)])
        return self.add(kind, params, needed, title, trial.id, made_with, self.context(choice))

    def _evaluate(
        self,
        trial: Trial,
        active: Sequence[Technique],
        phases: Sequence[PhasePlan],
        phase: PhasePlan,
        checkpoint: str,
    ) -> list[Evaluation]:
        """What is measured after a phase: every size of a schedule that rises, and at the end the trial's own accuracy
        with and without its views."""
        recipe, last = trial.cell.recipe, phase is phases[-1]
        final_size = recipe.eval_size or phases[-1].size
        judging = [technique for technique in active if isinstance(technique, TracksWeights)]
        augmenting = [
            technique
            for technique in active
            if technique.applies_to == "evaluation" and not isinstance(technique, TracksWeights)
        ]
        needed: dict[tuple[str, int, bool], bool] = {}
        if len(phases) > 1:
            for other in phases:
                if other.task == phase.task or other.index < phase.index:
                    needed[other.task, other.size, False] = False
        if last:
            needed["main", final_size, False] = not augmenting
            if augmenting:
                needed["main", final_size, True] = True
        evaluations = []
        for (task, size, augmented), final in needed.items():
            using = [*judging, *augmenting] if augmented else judging
            choice = self.images.choice(recipe, task)
            settings = self.settings(recipe, ("evaluate",), using) | self.dumped(recipe, _FOR_EVALUATION)
            settings.pop("eval_size", None)
            params = EvaluateParams(
                self.texts.shared(settings),
                tuple(technique.name for technique in using),
                size,
                self.split,
                task,
                self.selection(choice, self.split),
                trial.seed,
            )
            parents = {"data": self.prepare, "checkpoint": checkpoint}
            levels = {technique: level_text(getattr(recipe, technique.field)) for technique in using}
            views = "+".join(levels[technique] for technique in using if technique in augmenting) or "off"
            title = f"evaluate {'' if task == 'main' else f'{task} '}at {size} px"
            for technique in using:
                if technique.field not in self.grid.factors:  # else its level is named as a factor's
                    title += f" with {technique.field} {levels[technique]}"
            title += "" if last else f" after phase {phase.index + 1}"
            made_with = self.made_with("evaluate", [type(technique) for technique in using])
            key = self.add("evaluate", params, parents, title, trial.id, made_with, self.context(choice))
            evaluations.append(Evaluation(phase.index, phase.size, size, task, views, final, key))
        return evaluations + self._probe(trial, judging, phases, phase, checkpoint)

    def _probe(
        self,
        trial: Trial,
        judging: Sequence[Technique],
        phases: Sequence[PhasePlan],
        phase: PhasePlan,
        checkpoint: str,
    ) -> list[Evaluation]:
        """What the features still know of the base model's classes, once the base is trained: a linear probe at the
        size at which it ended. (The accuracy with the base's own head is an evaluation like any other.)"""
        base = [other for other in phases if other.task != "main"]
        if not base or phase.index < base[-1].index:
            return []
        recipe, task, size = trial.cell.recipe, base[-1].task, base[-1].size
        choice = self.images.choice(recipe, task)
        names = {name for technique in judging for name in technique.settings_type.model_fields}
        settings: RecipeSettings = self.dumped(recipe, _FOR_EVALUATION | {"eval_crop", "eval_batch_size"} | names)
        params = ProbeParams(
            self.texts.shared(settings),
            tuple(technique.name for technique in judging),
            size,
            self.split,
            task,
            self.selection(choice, self.split),
            self.selection(choice, "train"),
            trial.seed,
        )
        parents = {"data": self.prepare, "checkpoint": checkpoint}
        title = f"linear probe of {task} at {size} px"
        title += "" if phase is phases[-1] else f" after phase {phase.index + 1}"
        made_with = self.made_with("probe", [type(technique) for technique in judging])
        key = self.add("probe", params, parents, title, trial.id, made_with, self.context(choice))
        return [Evaluation(phase.index, phase.size, size, f"{task}-probe", "off", False, key)]


FEWEST_TO_TRAIN = 2
"""Images that batch norm needs at least."""

_SPLIT_USE = {"select": "select by", "test": "confirm with"}


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


def _phase_params(phase: PhasePlan, total_epochs: int | None) -> PhaseParams:
    return PhaseParams(
        phase.index, phase.size, phase.epochs, phase.first_epoch, phase.earlier_sizes, phase.rise, total_epochs
    )


def _trackers(grid: Grid, scout: _Builder) -> dict[tuple[str, int], tuple[TrackerParams, ...]]:
    """(cell, phase) -> the trackers that its training runs: those of all cells of the grid that share the phase. So
    which weights are judged never retrains, whatever part of the grid is planned.

    Args:
        grid: all of its cells count.
        scout: plans their trainings without trackers, to learn which of them are shared.
    """
    trackers = {cell.id: _asked_for(grid, cell.recipe) for cell in grid.cells()}
    if not any(trackers.values()):
        return {}
    training: dict[str, tuple[str, ...]] = {}
    sharing: dict[str, dict[str, TrackerParams]] = {}
    for cell in grid.cells():
        training[cell.id] = scout.trial(Trial(cell.id, cell, 0)).training
        for key in training[cell.id]:
            sharing.setdefault(key, {}).update(trackers[cell.id])
    return {
        (cell, index): tuple(params for _, params in sorted(sharing[key].items()))
        for cell, keys in training.items()
        for index, key in enumerate(keys)
    }


def _asked_for(grid: Grid, recipe: CoreRecipe) -> dict[str, TrackerParams]:
    """The trackers of one recipe, by their canonical text."""
    trackers = [
        TrackerParams(technique.name, technique.settings.model_dump(mode="json"))
        for technique in grid.active(recipe)
        if isinstance(technique, TracksWeights)
    ]
    return {canonical(params): params for params in trackers}


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
    """
    builder = _Builder(grid, environment, images, manifest_file, split)
    builder.trackers = _trackers(grid, _Builder(grid, environment, images, manifest_file, split))
    trials = grid.trials() if trials is None else trials
    choices: dict[ImageChoice, None] = {}
    for cell in {trial.cell.id: trial.cell for trial in trials}.values():
        if grid.inapplicable(cell) is None:
            for task in {phase.task for phase in phases_of(cell.recipe, grid.active(cell.recipe))}:
                choices[images.choice(cell.recipe, task)] = None
    _check_counts(grid, images, choices, split)
    contents, count = images.contents_digest(tuple(choices))
    context = PrepareContext(manifest_file, images.source.spec, tuple(choices), processes)
    params, made_with = PrepareParams(contents, images.size), builder.made_with("prepare", computes_on_device=False)
    title = f"decode {counted(count, 'image')} at {images.size} px"
    builder.prepare = builder.add("prepare", params, {}, title, "", made_with, context)
    planned = tuple(builder.trial(trial) for trial in trials)
    for trial_plan in planned:
        if trial_plan.inapplicable is None:
            builder.users[builder.prepare][trial_plan.trial.id] = None
    builder.users[builder.prepare].pop("", None)
    stages = {key: replace(stage, trials=tuple(builder.users[key])) for key, stage in builder.stages.items()}
    return Plan(grid, environment, images, order(with_levels(grid, trials, stages)), planned)
