"""Advice on a goal: exact against brute force, and each remedy checked in a world whose clock is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from sota_bench.forecast.calibration import Calibration
from sota_bench.forecast.combination import Combinations, recipe_of
from sota_bench.forecast.describe import as_lines
from sota_bench.forecast.goal import Advice, advise, fewest_epochs_lost, largest_fraction
from sota_bench.forecast.predict import Prediction, predict
from sota_bench.forecast.predictor import Predictor
from sota_bench.grid.backbones import small_backbones
from sota_bench.plan.plan import Plan
from sota_bench.stages.stage import Stage

epochs_and_costs = st.lists(st.tuples(st.integers(1, 5), st.floats(0.1, 10)), min_size=1, max_size=3)


@given(st.floats(0.05, 1), st.floats(0.1, 100), st.floats(0, 5), st.floats(0.1, 100))
def test_the_fraction_is_the_largest_percent_that_meets_the_goal(
    fraction: float, training_s: float, fixed_s: float, goal_s: float
) -> None:
    def spent(share: float) -> float:
        return fixed_s + training_s * share / fraction

    result = largest_fraction(fraction, training_s, fixed_s, goal_s)
    meets = [share / 100 for share in range(1, 101) if share / 100 <= fraction + 1e-9 and spent(share / 100) <= goal_s]
    assert (result is None) == (not meets) or abs(spent(max([*meets, 0.01])) - goal_s) < 1e-6
    if result is not None and meets:
        assert result == pytest.approx(max(meets), abs=0.0100001)
        assert spent(result) <= goal_s + 1e-6


@given(epochs_and_costs, st.floats(0, 2), st.floats(0.1, 60))
def test_no_other_choice_loses_fewer_epochs(phases: list[tuple[int, float]], fixed_s: float, goal_s: float) -> None:
    epochs, costs = [count for count, _ in phases], [cost for _, cost in phases]

    def spent(counts: tuple[int, ...] | list[int]) -> float:
        return fixed_s + sum(count * cost for count, cost in zip(counts, costs, strict=True))

    result = fewest_epochs_lost(epochs, costs, fixed_s, goal_s)
    choices = [c for c in itertools.product(*(range(1, count + 1) for count in epochs)) if spent(c) <= goal_s + 1e-9]
    assert (result is None) == (not choices)
    if result is not None:
        assert spent(result) <= goal_s + 1e-6
        assert sum(result) == max(sum(choice) for choice in choices)


class KnownPredictor:
    """Predicts a world in which a backbone's images take what its operations say.

    Args:
        world: with its clock.
        first_s: how many seconds longer the first step of each stage takes.
    """

    def __init__(self, world: World, first_s: float = 0.0) -> None:
        self.world, self.first_s, self.calibrations = world, first_s, 0

    def calibrate(self, plan: Plan, workers: int) -> None:
        self.calibrations += 1

    def predict(self, plan: Plan, workers: int) -> Prediction:
        flops = {row.name: row.flops for row in small_backbones()}

        def calibration_of(stage: Stage) -> Calibration:
            trained = stage if stage.kind == "train" else plan.stages.get(stage.parents.get("checkpoint", ""), stage)
            backbone = str(recipe_of(trained).get("backbone", "test_resnet"))
            image_s = self.world.measure(stage).image_s * flops[backbone] / flops["test_resnet"]
            return Calibration(image_s, self.first_s, 0.0, 1.0, 1.0)

        return predict(plan, Combinations(plan, workers), calibration_of, list(plan.stages), 0.0)


def advice_on(plan: Plan, goal_minutes: float, predictor: KnownPredictor) -> Advice:
    with_goal = replace(plan, grid=plan.grid.model_copy(update={"minutes_per_iteration": goal_minutes}))
    return advise(with_goal, 2, cast(Predictor, predictor), predictor.predict(plan, 2))


def cell_minutes(plan: Plan, predictor: KnownPredictor) -> dict[str, float]:
    return predictor.predict(plan, 2).cell_minutes


@pytest.mark.parametrize("first_s", [0.0, 0.5])
def test_every_remedy_meets_the_goal_and_takes_the_minutes_that_it_says(
    plan_of: Callable[..., Plan], world: World, first_s: float
) -> None:
    schedule, factors = 'resize = "16x4 32x4"', "lr = [0.003]\nmixup = [0.0, 0.2]"
    predictor = KnownPredictor(world, first_s)
    plan = plan_of(schedule, factors, (0,))
    minutes = cell_minutes(plan, predictor)
    goal = 0.6 * max(minutes.values())
    advice = advice_on(plan, goal, predictor)
    assert list(advice.missed.items()) == sorted(minutes.items(), key=lambda item: -item[1])
    assert predictor.calibrations == 1  # all candidates at once
    remedies = {remedy.kind: remedy for remedy in advice.remedies}
    assert set(remedies) == {"fraction", "epochs", "size", "backbone"}
    for kind, remedy in remedies.items():
        table, _, setting = remedy.setting.partition(".")
        assert table == "recipe" and remedy.minutes <= goal, kind
        changed = plan_of(setting if kind in ("epochs", "size") else f"{schedule}\n{setting}", factors, (0,))
        slowest = max(cell_minutes(changed, predictor).values())
        # a fraction is one of whole images of each class
        assert slowest == pytest.approx(remedy.minutes, rel=0.1 if kind == "fraction" else 1e-6), kind


def test_schedules_that_are_a_factor_are_shortened_together(plan_of: Callable[..., Plan], world: World) -> None:
    factors = 'resize = ["32x8", "16x4 32x4"]\nmixup = [0.0, 0.2]'
    plan, predictor = plan_of('resize = "32x8"', factors, (0,)), KnownPredictor(world)
    goal = 0.5 * max(cell_minutes(plan, predictor).values())
    advice = advice_on(plan, goal, predictor)
    remedy = next(remedy for remedy in advice.remedies if remedy.kind == "epochs")
    written = remedy.setting.removeprefix("factors.")
    assert written.startswith("resize = [") and remedy.setting.startswith("factors.")
    changed = plan_of("lr = 0.003", f"{written}\nmixup = [0.0, 0.2]", (0,))
    minutes = cell_minutes(changed, predictor)
    assert max(minutes.values()) <= goal and len(minutes) == 4


def test_what_the_grid_varies_is_no_remedy(plan_of: Callable[..., Plan], world: World) -> None:
    plan = plan_of('resize = "32x4"', 'fraction = [1.0, 0.5]\nbackbone = ["test_resnet", "test_vit"]', (0,))
    predictor = KnownPredictor(world)
    goal = 0.6 * max(cell_minutes(plan, predictor).values())
    assert {remedy.kind for remedy in advice_on(plan, goal, predictor).remedies} == {"epochs", "size"}


def test_images_that_are_limited_in_another_way_are_not_limited_by_a_fraction(
    plan_of: Callable[..., Plan], world: World
) -> None:
    plan, predictor = plan_of('resize = "32x4"\nper_class = 6', "lr = [0.003]", (0,)), KnownPredictor(world)
    goal = 0.6 * max(cell_minutes(plan, predictor).values())
    assert "fraction" not in {remedy.kind for remedy in advice_on(plan, goal, predictor).remedies}


def test_a_goal_that_all_cells_meet_needs_no_advice(plan_of: Callable[..., Plan], world: World) -> None:
    predictor = KnownPredictor(world)
    assert advice_on(plan_of('resize = "32x2"', "lr = [0.003]", (0,)), 100.0, predictor) == Advice({}, ())
    assert predictor.calibrations == 0


def test_where_nothing_meets_the_goal_no_remedy_is_found(plan_of: Callable[..., Plan], world: World) -> None:
    plan, predictor = plan_of('resize = "32x1"', "lr = [0.003]", (0,)), KnownPredictor(world)
    advice = advice_on(plan, 1e-7, predictor)
    assert list(advice.missed) == ["c00"] and advice.remedies == ()
    with_goal = replace(plan, grid=plan.grid.model_copy(update={"minutes_per_iteration": 1e-7}))
    assert as_lines(with_goal, predictor.predict(plan, 2), advice, 2, Path())[-1].startswith("No remedy found: ")
