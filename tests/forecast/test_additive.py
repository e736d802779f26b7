"""The fewest measurements from which all combinations follow, and what follows from them."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sota_bench.forecast.additive import AdditiveModel, to_measure, weights_of
from sota_bench.forecast.calibration import Calibration, weighted_sum
from sota_bench.forecast.combination import Combination

levels = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def combination(chosen: dict[str, str], group: str = "resnet") -> Combination:
    return Combination("train", {"network": group}, chosen)


def product(counts: list[int], group: str = "resnet") -> list[Combination]:
    """Every combination of so many levels of so many techniques."""
    names = [[(f"t{index}", str(level)) for level in range(count)] for index, count in enumerate(counts)]
    return [combination(dict(pairs), group) for pairs in itertools.product(*names)]


def calibration(image_s: float) -> Calibration:
    return Calibration(image_s, 10 * image_s, 1.0, 100.0, 1000.0)


@given(levels)
def test_a_full_grid_takes_one_measurement_and_one_for_each_further_level(counts: list[int]) -> None:
    chosen = to_measure(product(counts), [])
    assert len(chosen) == 1 + sum(count - 1 for count in counts)


@given(levels, st.data())
def test_times_that_add_up_are_found_exactly(counts: list[int], data: st.DataObject) -> None:
    seconds = st.floats(0.01, 1.0)
    cost = {
        (f"t{index}", str(level)): data.draw(seconds) for index, count in enumerate(counts) for level in range(count)
    }

    def true_s(combination: Combination) -> float:
        return 5.0 + sum(cost[setting] for setting in combination.features.items())  # far above the lower limit

    everything = product(counts)
    model = AdditiveModel({measured: calibration(true_s(measured)) for measured in to_measure(everything, [])})
    for each in everything:
        predicted = model.calibration_of(each)
        assert predicted is not None
        assert predicted.image_s == pytest.approx(true_s(each), rel=1e-6)


def test_measured_combinations_are_not_measured_again() -> None:
    everything = product([2, 3])
    first = to_measure(everything, [])
    assert to_measure(everything, first) == []
    measured = everything[-1]
    assert measured not in to_measure(everything, [measured])


def test_nothing_is_inferred_from_another_group() -> None:
    small, large = combination({"mixup": "0.2"}), combination({"mixup": "0.2"}, "resnet50")
    assert to_measure([small, large], [small]) == [large]
    assert AdditiveModel({small: calibration(1.0)}).calibration_of(large) is None


def test_a_technique_that_was_never_measured_is_unknown() -> None:
    base, mixed = combination({"normalize": "a"}), combination({"normalize": "a", "mixup": "0.2"})
    assert weights_of(mixed, [base]) is None
    assert weights_of(base, []) is None


def test_a_difference_of_noisy_times_stays_above_zero() -> None:
    base, slow = calibration(1.0), calibration(0.3)
    total = weighted_sum([(1.0, slow), (1.0, slow), (-1.0, base)])
    assert total.image_s == 0.15
    assert math.isclose(total.overhead_s, 1.0)
