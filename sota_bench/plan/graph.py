"""From trials to the stage graph: trials that agree up to a phase get the same stage up to there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sota_bench.grid.expand import Trial
from sota_bench.grid.grid import Grid
from sota_bench.grid.levels import level_text
from sota_bench.grid.pretrained import HUB, located
from sota_bench.grid.recipe import CoreRecipe, fields_of, scope_of
from sota_bench.plan.code import code_of
from sota_bench.plan.environment import Environment
from sota_bench.plan.images import GridImages
from sota_bench.plan.keys import Texts, canonical, stage_key
from sota_bench.plan.order import order
from sota_bench.plan.phases import PhasePlan, phases_of
from sota_bench.plan.plan import Evaluation, Plan, TrialPlan
from sota_bench.plan.stage import Stage
from sota_bench.plan.weights import weights_digest
from sota_bench.registry import techniques
from sota_bench.technique import Scope, Technique

_NOT_IN_TRAINING = {"resize", "batch_size", "batch_sizes", "weights", "upsample", "schedule_span"}
"""Core fields that reach a training stage in another form: as its phase, its own batch size, or a digest."""

_FOR_EVALUATION = frozenset({"precision", "layout"})
"""Training fields that an evaluation reads as well."""


class _Builder:
    def __init__(self, grid: Grid, environment: Environment, images: GridImages, split: str) -> None:
        self.grid, self.environment, self.images, self.split = grid, environment, images, split
        self.known = list(techniques(grid.techniques).values())
        self.core = frozenset(CoreRecipe.model_fields)
        self.texts = Texts()
        self._settings: dict[Any, dict[str, Any]] = {}
        self._data: dict[Any, dict[str, Any]] = {}
        self._software: dict[str, dict[str, str]] = {}
        self.stages: dict[str, Stage] = {}
        self.users: dict[str, dict[str, None]] = {}
        self.prepare = ""
        made = canonical([code_of("prepare", ()), environment.software_of("prepare")])
        self.decoder = hashlib.sha256(made.encode()).hexdigest()[:16]
        self.device = self.texts.shared(dict(environment.about))
        self.files = [str(file) for file in grid.techniques]

    def add(
        self,
        kind: str,
        params: dict[str, Any],
        parents: Mapping[str, str],
        title: str,
        trial: str,
        modules: Sequence[type[Technique]] = (),
        context: Mapping[str, Any] | None = None,
        epochs: int = 0,
    ) -> str:
        """The key of a stage, which is made if no other trial has asked for it."""
        full = {
            **params,
            "code": self.texts.shared(code_of(kind, [technique.__module__ for technique in modules])),
            "software": self.software(kind),
        }
        if kind not in ("prepare", "statistics"):
            full["device"] = self.device
        key = stage_key(kind, full, parents, self.texts)
        if key not in self.stages:
            known = {**(context or {}), "technique_files": self.files}
            self.stages[key] = Stage(key, kind, full, dict(parents), title, known, (), epochs)
        self.users.setdefault(key, {})[trial] = None
        return key

    def software(self, kind: str) -> dict[str, str]:
        if kind not in self._software:
            self._software[kind] = self.texts.shared(self.environment.software_of(kind))
        return self._software[kind]

    def settings(self, recipe: Any, scopes: Sequence[Scope], active: Sequence[type[Technique]]) -> dict[str, Any]:
        """The recipe fields of these scopes that decide a stage: the core's, and those of the techniques in it."""
        names = {name for name in fields_of(type(recipe), *scopes) if name in self.core} - _NOT_IN_TRAINING
        for technique in active:
            names |= {technique.field, *technique.settings.model_fields}
        return self.dumped(recipe, frozenset(names))

    def dumped(self, recipe: Any, names: frozenset[str]) -> dict[str, Any]:
        """Recipe fields as JSON values, with what ``auto`` means here; a copy that may be changed."""
        known = id(recipe), names  # the grid holds its recipes, so no other gets this id
        if known not in self._settings:
            found = dict(recipe.model_dump(mode="json", include=set(names)))
            if "precision" in found:
                found["precision"] = self.precision(recipe)
            self._settings[known] = self.texts.shared(found)
        return dict(self._settings[known])

    def precision(self, recipe: Any) -> str:
        return self.environment.precision if recipe.precision == "auto" else str(recipe.precision)

    def data(self, choice: dict[str, Any], split: str) -> dict[str, Any]:
        known = repr(choice), split
        if known not in self._data:
            found = {"split": split, "digest": self.images.digest(choice, split), "size": self.images.size}
            self._data[known] = self.texts.shared(found | {"decoded_with": self.decoder})
        return self._data[known]

    def trial(self, trial: Trial) -> TrialPlan:
        recipe = trial.cell.recipe
        reason = self.grid.inapplicable(trial.cell)
        if reason:
            return TrialPlan(trial, reason)
        active = [technique for technique in self.known if technique.active(recipe)]
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
        active: Sequence[type[Technique]],
        phases: Sequence[PhasePlan],
        phase: PhasePlan,
        training: Sequence[str],
        computed: dict[str, list[str]],
    ) -> str:
        recipe = trial.cell.recipe
        acting = [
            technique
            for technique in active
            if technique.applies_to == "training" or (technique.applies_to == "rise" and phase.rise)
        ]
        choice = self.images.choice(recipe, phase.task)
        data = self.data(choice, "train")
        context: dict[str, Any] = {"choice": choice}
        parents = {"data": self.prepare}
        if training:
            parents["checkpoint"] = training[-1]
        for technique in acting:
            if technique.precompute is not None and technique.needs_precompute(recipe):
                before = computed.setdefault(technique.name, [])
                key = self._compute(trial, technique, phases, phase, parents, before)
                if key:
                    parents[technique.name] = key
                    before.append(key)
        about = {
            "index": phase.index,
            "size": phase.size,
            "epochs": phase.epochs,
            "first_epoch": phase.first_epoch,
            "earlier_sizes": list(phase.earlier_sizes),
            "rise": phase.rise,
        }
        settings = self.settings(recipe, ("train",), acting)
        settings["batch_size"] = recipe.batch_at(phase.size)
        if recipe.schedule_span == "run":
            spanned = [other for other in phases if other.task == phase.task]  # other tasks have other images
            batches = {str(other.size): recipe.batch_at(other.size) for other in spanned}
            settings |= {"schedule_span": "run", "batch_sizes": batches}
            about["schedule_index"] = spanned.index(phase)
            about["all_phases"] = [[other.size, other.epochs] for other in spanned]
        params: dict[str, Any] = {
            "recipe": self.texts.shared(settings),
            "techniques": [technique.name for technique in acting],
            "phase": about,
            "task": phase.task,
            "data": data,
            "seed": trial.seed,
        }
        if recipe.weights and not training:
            params["weights"] = weights_digest(recipe.weights, recipe.backbone, self.grid.file)
            hub = recipe.weights == HUB
            context["weights"] = HUB if hub else str(located(recipe.weights, self.grid.file))
        of = "" if phase.task == "main" else f"{phase.task} "
        title = ", ".join(
            [f"train {of}{phase.size} px x{phase.epochs}", *self._levels(trial, acting), f"seed {trial.seed}"]
        )
        return self.add("train", params, parents, title, trial.id, acting, context, phase.epochs)

    def _compute(
        self,
        trial: Trial,
        technique: type[Technique],
        phases: Sequence[PhasePlan],
        phase: PhasePlan,
        parents: Mapping[str, str],
        before: Sequence[str],
    ) -> str | None:
        """A technique's own stage, from the data or from the checkpoint before this phase.

        What a technique keeps in a checkpoint travels with the weights, so it needs no data but those of the task that
        the weights learned first.
        """
        assert technique.precompute is not None
        recipe, wanted = trial.cell.recipe, technique.precompute
        settings = recipe.model_dump(mode="json", include=set(wanted.fields))
        params: dict[str, Any] = {"recipe": settings, "technique": technique.name}
        if wanted.source == "data":
            travels = technique.state is not Technique.state
            choice = self.images.choice(recipe, phases[0].task if travels else phase.task)
            params |= {"data": self.data(choice, "train"), "seed": 0}
            return self.add(
                wanted.kind, params, {"data": self.prepare}, wanted.kind, trial.id, [technique], {"choice": choice}
            )
        if phase.index == 0:
            return None
        last = phases[phase.index - 1]
        choice = self.images.choice(recipe, last.task)
        settings |= {"precision": self.precision(recipe), "in_chans": recipe.in_chans}
        params |= {
            "data": self.data(choice, "train"),
            "size": last.size,
            "task": last.task,
            "seed": trial.seed,
        }
        needed = {"data": self.prepare, "checkpoint": parents["checkpoint"]}
        for key in before[-1:]:
            needed["earlier"], params["earlier_task"] = key, self.stages[key].params["task"]
        title = f"{wanted.kind} at {last.size} px, seed {trial.seed}"
        return self.add(wanted.kind, params, needed, title, trial.id, [technique], {"choice": choice})

    def _evaluate(
        self,
        trial: Trial,
        active: Sequence[type[Technique]],
        phases: Sequence[PhasePlan],
        phase: PhasePlan,
        checkpoint: str,
    ) -> list[Evaluation]:
        """What is measured after a phase: every size of a schedule that rises, and at the end the trial's own accuracy
        with and without its views."""
        recipe, last = trial.cell.recipe, phase is phases[-1]
        final_size = recipe.eval_size or phases[-1].size
        augmenting = [technique for technique in active if technique.applies_to == "evaluation"]
        wanted: dict[tuple[str, int, bool], bool] = {}
        if len(phases) > 1:
            for other in phases:
                if other.task == phase.task or other.index < phase.index:
                    wanted[other.task, other.size, False] = False
        if last:
            wanted["main", final_size, False] = not augmenting
            if augmenting:
                wanted["main", final_size, True] = True
        found = []
        for (task, size, augmented), final in wanted.items():
            using = augmenting if augmented else []
            choice = self.images.choice(recipe, task)
            settings = self.settings(recipe, ("evaluate",), using) | self.dumped(recipe, _FOR_EVALUATION)
            settings.pop("eval_size", None)
            params = {
                "recipe": self.texts.shared(settings),
                "techniques": [technique.name for technique in using],
                "size": size,
                "split": self.split,
                "task": task,
                "data": self.data(choice, self.split),
                "seed": trial.seed,
            }
            parents = {"data": self.prepare, "checkpoint": checkpoint}
            views = "+".join(level_text(getattr(recipe, technique.field)) for technique in using) or "off"
            of = "" if task == "main" else f"{task} "
            title = f"evaluate {of}at {size} px" + (f" with {views}" if using else "") + f", seed {trial.seed}"
            key = self.add("evaluate", params, parents, title, trial.id, using, {"choice": choice})
            found.append(Evaluation(phase.index, phase.size, size, task, views, final, key))
        return found + self._probe(trial, phases, phase, checkpoint)

    def _probe(self, trial: Trial, phases: Sequence[PhasePlan], phase: PhasePlan, checkpoint: str) -> list[Evaluation]:
        """What the features still know of the base model's classes, once the base is trained: a linear probe at the
        size at which it ended. (The accuracy with the base's own head is an evaluation like any other.)"""
        base = [other for other in phases if other.task != "main"]
        if not base or phase.index < base[-1].index:
            return []
        recipe, task, size = trial.cell.recipe, base[-1].task, base[-1].size
        choice = self.images.choice(recipe, task)
        settings = self.dumped(recipe, _FOR_EVALUATION | {"eval_crop", "eval_batch_size"})
        params = {
            "recipe": self.texts.shared(settings),
            "size": size,
            "split": self.split,
            "task": task,
            "data": self.data(choice, self.split),
            "train_data": self.data(choice, "train"),
            "seed": trial.seed,
        }
        parents = {"data": self.prepare, "checkpoint": checkpoint}
        title = f"linear probe of {task} at {size} px, seed {trial.seed}"
        key = self.add("probe", params, parents, title, trial.id, (), {"choice": choice})
        return [Evaluation(phase.index, phase.size, size, f"{task}-probe", "off", False, key)]

    def _levels(self, trial: Trial, acting: Sequence[type[Technique]]) -> list[str]:
        """The levels of this trial's factors that act in a stage, for its title."""
        model = type(trial.cell.recipe)
        names = {technique.field for technique in acting}
        return [
            f"{factor} {text}"
            for factor, text in trial.cell.text.items()
            if factor in names or (factor in self.core and factor != "resize" and scope_of(model, factor) == "train")
        ]


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
    builder = _Builder(grid, environment, images, split)
    trials = grid.trials() if trials is None else trials
    choices: dict[str, dict[str, Any]] = {}
    for cell in {trial.cell.id: trial.cell for trial in trials}.values():
        if grid.inapplicable(cell) is None:
            recipe = cell.recipe
            for task in {phase.task for phase in phases_of(recipe, builder.known)}:
                choice = images.choice(recipe, task)
                choices[repr(sorted(choice.items()))] = choice
    contents, count = images.contents_digest(list(choices.values()))
    context = {
        "manifest": str(manifest_file),
        "source": images.source.spec,
        "choices": list(choices.values()),
        "processes": processes,
    }
    params = {"contents": contents, "size": images.size}
    builder.prepare = builder.add(
        "prepare", params, {}, f"decode {count} images at {images.size} px", "", context=context
    )
    planned = tuple(builder.trial(trial) for trial in trials)
    for trial_plan in planned:
        if trial_plan.inapplicable is None:
            builder.users[builder.prepare][trial_plan.trial.id] = None
    builder.users[builder.prepare].pop("", None)
    stages = {key: replace(stage, trials=tuple(builder.users[key])) for key, stage in builder.stages.items()}
    return Plan(grid, environment, images, order(stages), planned)
