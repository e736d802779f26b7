"""The recipe of a teacher: a network that a technique learns from, trained or loaded in stages of its own."""

from __future__ import annotations

from sota_bench import registry
from sota_bench.grid.grid import Grid
from sota_bench.grid.recipe import CoreRecipe
from sota_bench.plan.phases import PhasePlan, phases_of
from sota_bench.technique import Teacher, Technique


def teacher_recipe(grid: Grid, recipe: CoreRecipe, teacher: Teacher) -> CoreRecipe:
    """The recipe that a teacher is trained with: the trial's core settings, without any technique that can be switched
    off, so that all trials that agree on the core share their teacher.

    Args:
        grid: its local technique files count.
        recipe: of the trial.
        teacher: its backbone, weights and resize schedule.
    """
    values = {name: getattr(recipe, name) for name in type(recipe).model_fields}
    values |= {"backbone": teacher.backbone, "weights": teacher.weights, "resize": teacher.resize or recipe.resize}
    for technique in registry.techniques(grid.techniques).values():
        if teacher.weights and technique.with_weights is not None:
            values[technique.field] = technique.with_weights
        elif _can_be_switched_off(technique):
            default = type(recipe).model_fields[technique.field].default
            values[technique.field] = default if technique.level is not None else technique.off
    return type(recipe).model_validate(values)


def _can_be_switched_off(technique: type[Technique]) -> bool:
    return not technique.always and technique.applies_to != "data" and technique.field not in CoreRecipe.model_fields


def teacher_phases(recipe: CoreRecipe, teacher: Teacher) -> tuple[PhasePlan, ...]:
    """The phases of a teacher; one of no epochs, at the last size, where its weights are used as they are.

    Args:
        recipe: the teacher's own.
        teacher: whether it is trained.
    """
    if teacher.trained:
        return phases_of(recipe, ())
    return (PhasePlan(0, "main", recipe.phases[-1].size, 0, 0, (), False),)
