"""What would meet the goal: exact against brute force, and each remedy checked in a world whose clock is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from sota_bench.forecast.calibration import Calibration
from sota_bench.forecast.combination import Combinations
from sota_bench.forecast.forecast import Forecast
from sota_bench.forecast.goal import Advisor, Miss, fewest_epochs_lost, largest_fraction
from sota_bench.forecast.predict import Prediction, predict
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

    found = largest_fraction(fraction, training_s, fixed_s, goal_s)
    meets = [share / 100 for share in range(1, 101) if share / 100 <= fraction + 1e-9 and spent(share / 100) <= goal_s]
    assert (found is None) == (not meets) or abs(spent(max([*meets, 0.01])) - goal_s) < 1e-6
    if found is not None and meets:
        assert found == pytest.approx(max(meets), abs=0.0100001)
        assert spent(found) <= goal_s + 1e-6


@given(epochs_and_costs, st.floats(0, 2), st.floats(0.1, 60))
def test_no_other_choice_loses_fewer_epochs(phases: list[tuple[int, float]], fixed_s: float, goal_s: float) -> None:
    epochs, costs = [count for count, _ in phases], [cost for _, cost in phases]

    def spent(counts: tuple[int, ...] | list[int]) -> float:
        return fixed_s + sum(count * cost for count, cost in zip(counts, costs, strict=True))

    found = fewest_epochs_lost(epochs, costs, fixed_s, goal_s)
    choices = [c for c in itertools.product(*(range(1, count + 1) for count in epochs)) if spent(c) <= goal_s + 1e-9]
    assert (found is None) == (not choices)
    if found is not None:
        assert spent(found) <= goal_s + 1e-6
        assert sum(found) == max(sum(choice) for choice in choices)


class KnownForecast:
    """Forecasts of a world in which a backbone's images take what its operations say.

    Args:
        world: with its clock.
        first_s: seconds that the first step of each stage takes longer.
    """

    def __init__(self, world: World, first_s: float = 0.0) -> None:
        self.world, self.first_s, self.measured = world, first_s, 0

    def calibrate(self, plan: Plan, workers: int) -> None:
        self.measured += 1

    def predict(self, plan: Plan, workers: int) -> Prediction:
        flops = {row.name: row.flops for row in small_backbones()}
        own = flops["test_resnet"]

        def calibration_of(stage: Stage) -> Calibration:
            trained = stage if stage.kind == "train" else plan.stages.get(stage.parents.get("checkpoint", ""), stage)
            backbone = trained.params.get("recipe", {}).get("backbone", "test_resnet")
            found = self.world.measure(stage)
            return Calibration(found.image_s * flops[backbone] / own, self.first_s, 0.0, 1.0, 1.0)

        return predict(plan, Combinations(plan, workers), calibration_of, list(plan.stages), 0.0)


def misses(plan: Plan, goal_minutes: float, world: World, first_s: float = 0.0) -> tuple[list[Miss], KnownForecast]:
    known = KnownForecast(world, first_s)
    asked = plan.grid.model_copy(update={"minutes_per_iteration": goal_minutes})
    plan = cast(Plan, SimpleNamespace(**{**vars(plan), "grid": asked}))
    prediction = known.predict(plan, 2)
    return Advisor(plan, 2, cast(Forecast, known), prediction).misses(), known


def minutes_with(plan_of: Callable[..., Plan], world: World, recipe: str, factors: str, first_s: float = 0.0) -> float:
    found = KnownForecast(world, first_s).predict(plan_of(recipe, factors, (0,)), 2)
    assert found.slowest is not None
    return found.slowest[1]


@pytest.mark.parametrize("first_s", [0.0, 0.5])
def test_every_remedy_meets_the_goal_and_says_what_it_takes(
    plan_of: Callable[..., Plan], world: World, first_s: float
) -> None:
    factors = "lr = [0.003]\nmixup = [0.0, 0.2]"
    plan = plan_of('resize = "16x4 32x4"', factors, (0,))
    slowest = KnownForecast(world, first_s).predict(plan, 2).slowest
    assert slowest is not None
    goal = 0.6 * slowest[1]
    found, known = misses(plan, goal, world, first_s)
    assert [miss.minutes for miss in found] == sorted((miss.minutes for miss in found), reverse=True)
    assert found[0].cell.text["mixup"] == "0.2"
    assert known.measured == 1  # all candidates at once
    remedies = {remedy.kind: remedy for remedy in found[0].remedies}
    assert set(remedies) == {"fraction", "epochs", "size", "backbone"}
    for kind, remedy in remedies.items():
        assert remedy.minutes <= goal, kind
    for kind in ("epochs", "size"):
        told = minutes_with(plan_of, world, remedies[kind].setting, factors, first_s)
        assert told == pytest.approx(remedies[kind].minutes, rel=1e-6), kind
    fraction = remedies["fraction"].setting
    told = minutes_with(plan_of, world, f'resize = "16x4 32x4"\n{fraction}', factors, first_s)
    assert told == pytest.approx(remedies["fraction"].minutes, rel=0.1)  # whole images of each class
    assert remedies["epochs"].lost == "4 of 8 epochs" or "of 8 epochs" in remedies["epochs"].lost


def test_a_goal_that_all_cells_meet_needs_no_advice(plan_of: Callable[..., Plan], world: World) -> None:
    found, known = misses(plan_of('resize = "32x2"', "lr = [0.003]", (0,)), 100.0, world)
    assert found == [] and known.measured == 0


def test_where_nothing_helps_nothing_is_promised(plan_of: Callable[..., Plan], world: World) -> None:
    found, _ = misses(plan_of('resize = "32x1"', "lr = [0.003]", (0,)), 1e-7, world)
    assert [miss.remedies for miss in found] == [()]


def test_other_cells_get_the_same_change_scaled(plan_of: Callable[..., Plan], world: World) -> None:
    plan = plan_of('resize = "32x4"', 'resize = ["32x4", "16x2 32x2"]', (0,))
    found, _ = misses(plan, 1e-2, world)
    assert len(found) == 2
    by_cell: dict[str, dict[str, Any]] = {m.cell.id: {r.kind: r for r in m.remedies} for m in found}
    assert set(by_cell["c00"]) >= {"size", "backbone"} and set(by_cell["c01"]) >= {"size", "backbone"}
    assert by_cell["c01"]["size"].setting == by_cell["c00"]["size"].setting == 'resize = "16x4"'
    assert by_cell["c01"]["size"].minutes == pytest.approx(by_cell["c00"]["size"].minutes, rel=0.1)
    assert by_cell["c01"]["backbone"].minutes < by_cell["c00"]["backbone"].minutes


def test_other_cells_keep_their_own_first_steps(plan_of: Callable[..., Plan], world: World) -> None:
    factors = 'resize = ["32x8", "16x4 32x4"]'
    found, _ = misses(plan_of('resize = "32x8"', factors, (0,)), 0.03, world, first_s=0.3)
    slowest, other = ({remedy.kind: remedy for remedy in miss.remedies}["backbone"] for miss in found)
    lighter = f'resize = "16x4 32x4"\n{slowest.setting}'
    assert other.setting == slowest.setting
    assert other.minutes == pytest.approx(minutes_with(plan_of, world, lighter, "lr = [0.003]", 0.3), rel=0.02)
