"""Checks that the levels of a factor that chooses images choose different ones, so that nothing is compared with
itself."""

from __future__ import annotations

from sota_bench.grid.levels import level_text
from sota_bench.grid.recipe import scope_of
from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.stages.params import EvaluateParams


def check_data_factors(plan: Plan) -> None:
    """Checks a plan.

    Raises:
        UserError: two cells that differ in one such factor alone train and are judged on the same images: a fraction of
            0.5 and one of 1 do, where ``per_class`` limits both.
    """
    grid = plan.grid
    for factor in grid.factors:
        if scope_of(type(grid.recipe), factor) != "data":
            continue
        first: dict[tuple[object, ...], TrialPlan] = {}
        for trial in plan.trials:
            if trial.inapplicable is not None:
                continue
            cell = trial.trial.cell
            others = [(name, text) for name, text in cell.text.items() if name != factor]
            other = first.setdefault((trial.trial.seed, *others, *_images(plan, trial)), trial)
            if other is not trial:
                levels = " and ".join(level_text(each.trial.cell.levels[factor]) for each in (other, trial))
                remedy = "leave out what limits both, such as per_class, or write levels that choose different images"
                raise grid.mistake(cell, factor, f"{levels} choose the same images", remedy)


def _images(plan: Plan, trial: TrialPlan) -> list[str]:
    """Digests of the images that a trial trains on and is judged on."""
    judged = plan.stages[trial.final.key].params
    assert isinstance(judged, EvaluateParams)
    return [*plan.training_images(trial), judged.data.digest]
