"""The evaluation stages of a trial: what is measured after each of its training phases."""

from __future__ import annotations

from collections.abc import Sequence

from sota_bench.grid.levels import level_text
from sota_bench.plan.phases import PhasedTrial, PhasePlan
from sota_bench.plan.plan import Evaluation
from sota_bench.plan.stage_builder import StageBuilder, deciding_fields
from sota_bench.stages.params import EvaluateParams, ProbeParams
from sota_bench.technique import Technique, TracksWeights

FOR_EVALUATION = frozenset({"precision", "layout"})
"""Training fields that an evaluation reads as well."""


class EvaluationStages:
    """Plans the evaluations of one grid.

    Args:
        builder: makes the stages.
        split: the images that judge, ``select`` or ``test``.
    """

    def __init__(self, builder: StageBuilder, split: str) -> None:
        self.builder, self.split = builder, split

    def after(self, trial: PhasedTrial, phase: PhasePlan, checkpoint: str) -> list[Evaluation]:
        """What is measured after a phase: every size of a schedule that rises, and at the end the trial's own accuracy
        with and without its views.

        Args:
            trial: whose phase it is.
            phase: the one that was just trained.
            checkpoint: key of the stage that trains it.
        """
        judging = [technique for technique in trial.active if isinstance(technique, TracksWeights)]
        augmenting = [
            technique
            for technique in trial.active
            if technique.applies_to == "evaluation" and not isinstance(technique, TracksWeights)
        ]
        evaluations = []
        for (task, size, augmented), final in _needed(trial, phase, bool(augmenting)).items():
            using = [*judging, *augmenting] if augmented else judging
            levels = {technique: level_text(getattr(trial.recipe, technique.field)) for technique in using}
            key = self._evaluate(trial, phase, checkpoint, task, size, levels)
            views = "+".join(levels[technique] for technique in using if technique in augmenting) or "off"
            evaluations.append(Evaluation(phase.index, phase.size, size, task, views, final, key))
        return evaluations + self._probe(trial, judging, phase, checkpoint)

    def _evaluate(
        self,
        trial: PhasedTrial,
        phase: PhasePlan,
        checkpoint: str,
        task: str,
        size: int,
        levels: dict[Technique, str],
    ) -> str:
        """The key of one evaluation, with the techniques that ``levels`` names."""
        builder, recipe = self.builder, trial.recipe
        choice = builder.choice(recipe, task, trial.trial.seed)
        deciding = (deciding_fields(recipe, "evaluate", levels) | FOR_EVALUATION) - {"eval_size"}
        params = EvaluateParams(
            builder.settings(recipe, deciding),
            tuple(technique.name for technique in levels),
            size,
            self.split,
            task,
            builder.selection(choice, self.split),
            builder.grid.draws(trial.trial.seed).augment,
        )
        title = f"evaluate {'' if task == 'main' else f'{task} '}at {size} px"
        for technique, level in levels.items():
            if technique.field not in builder.grid.factors:  # else its level is named as a factor's
                title += f" with {technique.field} {level}"
        title += _when(trial, phase)
        parents = {"data": builder.prepare, "checkpoint": checkpoint}
        made_with = builder.made_with("evaluate", [type(technique) for technique in levels])
        return builder.add("evaluate", params, parents, title, [trial.trial.id], made_with, builder.context(choice))

    def _probe(
        self, trial: PhasedTrial, judging: Sequence[Technique], phase: PhasePlan, checkpoint: str
    ) -> list[Evaluation]:
        """What the features still know of the base model's classes, once the base is trained: a linear probe at the
        size at which it ended. (The accuracy with the base's own head is an evaluation like any other.)"""
        base = [other for other in trial.phases if other.task != "main"]
        if not base or phase.index < base[-1].index:
            return []
        builder, recipe, task, size = self.builder, trial.recipe, base[-1].task, base[-1].size
        choice = builder.choice(recipe, task, trial.trial.seed)
        names = {name for technique in judging for name in technique.settings_type.model_fields}
        params = ProbeParams(
            builder.settings(recipe, FOR_EVALUATION | {"eval_crop", "eval_batch_size"} | names),
            tuple(technique.name for technique in judging),
            size,
            self.split,
            task,
            builder.selection(choice, self.split),
            builder.selection(choice, "train"),
            builder.grid.draws(trial.trial.seed).augment,
        )
        parents = {"data": builder.prepare, "checkpoint": checkpoint}
        title = f"linear probe of {task} at {size} px" + _when(trial, phase)
        made_with = builder.made_with("probe", [type(technique) for technique in judging])
        key = builder.add("probe", params, parents, title, [trial.trial.id], made_with, builder.context(choice))
        return [Evaluation(phase.index, phase.size, size, f"{task}-probe", "off", False, key)]


def _needed(trial: PhasedTrial, phase: PhasePlan, augments: bool) -> dict[tuple[str, int, bool], bool]:
    """(task, size, whether views are averaged) -> whether it is the trial's own accuracy."""
    phases = trial.phases
    needed: dict[tuple[str, int, bool], bool] = {}
    if len(phases) > 1:
        for other in phases:
            if other.task == phase.task or other.index < phase.index:
                needed[other.task, other.size, False] = False
    if phase is phases[-1]:
        final_size = trial.recipe.eval_size or phases[-1].size
        needed["main", final_size, False] = not augments
        if augments:
            needed["main", final_size, True] = True
    return needed


def _when(trial: PhasedTrial, phase: PhasePlan) -> str:
    """After which phase; "" after the last one."""
    return "" if phase is trial.phases[-1] else f" after phase {phase.index + 1}"
