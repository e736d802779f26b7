"""The fewest measurements from which all combinations follow."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sota_bench.forecast.calibration import Calibration, weighted
from sota_bench.forecast.combination import Combination
from sota_bench.forecast.estimate import Estimates, to_measure, weights_of

levels = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def combination(chosen: dict[str, str], group: str = "resnet") -> Combination:
    return Combination("train", {"network": group}, chosen)


def product(counts: list[int], group: str = "resnet") -> list[Combination]:
    """Every combination of so many levels of so many techniques."""
    names = [[(f"t{place}", str(level)) for level in range(count)] for place, count in enumerate(counts)]
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
        (f"t{place}", str(level)): data.draw(seconds) for place, count in enumerate(counts) for level in range(count)
    }

    def true(one: Combination) -> float:
        return 5.0 + sum(cost[pair] for pair in one.features.items())  # far above the least that is believed

    everything = product(counts)
    estimates = Estimates({one: calibration(true(one)) for one in to_measure(everything, [])})
    for one in everything:
        found = estimates.of(one)
        assert found is not None
        assert found.image_s == pytest.approx(true(one), rel=1e-6)


def test_what_is_known_is_not_measured_again() -> None:
    everything = product([2, 3])
    first = to_measure(everything, [])
    assert to_measure(everything, first) == []
    known = everything[-1]
    assert known not in to_measure(everything, [known])


def test_groups_do_not_lend_each_other_times() -> None:
    small, large = combination({"mixup": "0.2"}), combination({"mixup": "0.2"}, "resnet50")
    assert to_measure([small, large], [small]) == [large]
    assert Estimates({small: calibration(1.0)}).of(large) is None


def test_a_technique_that_was_never_measured_is_not_made_up() -> None:
    base, mixed = combination({"normalize": "a"}), combination({"normalize": "a", "mixup": "0.2"})
    assert weights_of(mixed, [base]) is None
    assert weights_of(base, []) is None


def test_a_difference_of_noise_never_becomes_nothing() -> None:
    base, slow = calibration(1.0), calibration(0.3)
    sum_of = weighted([(1.0, slow), (1.0, slow), (-1.0, base)])
    assert sum_of.image_s == 0.15
    assert math.isclose(sum_of.overhead_s, 1.0)
