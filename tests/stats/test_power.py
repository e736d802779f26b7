"""Minimum detectable effects and seeds needed, against statsmodels' power of the paired t test."""

import math
import warnings
from collections.abc import Iterator

import pytest
from scipy.special import ndtr, ndtri
from statsmodels.stats.power import TTestPower

from sota_bench.stats.power import Precision, detectable_by_seeds, minimum_detectable_effect, power_of, seeds_needed


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_power_and_mde_are_those_of_statsmodels(seeds: int, alpha: float) -> None:
    """With the standard deviation of the differences at 1, the standard error is 1 / sqrt(seeds)."""
    se = seeds**-0.5
    for shift in (0.5, 2.0, 4.0):
        effect = shift * se
        expected = TTestPower().power(effect, seeds, alpha, alternative="two-sided")
        assert power_of(effect, se, seeds - 1, alpha) == pytest.approx(expected, abs=1e-6)
    effect = minimum_detectable_effect(se, seeds - 1, alpha)
    assert TTestPower().power(effect, seeds, alpha) == pytest.approx(0.80, abs=1e-6)


@pytest.mark.parametrize("delta", [0.4, 0.8, 1.5, 4.0])
def test_seeds_needed_are_statsmodels_rounded_up(delta: float) -> None:
    needed = seeds_needed(delta, 5**-0.5, 4, 5, 0.05)
    assert needed is not None
    assert TTestPower().power(delta, needed, 0.05) >= 0.80
    assert needed == 2 or TTestPower().power(delta, needed - 1, 0.05) < 0.80


def test_seeds_beyond_reach_are_none() -> None:
    assert seeds_needed(1e-4, 1.0, 2, 3, 0.05) is None


def test_a_tiny_alpha_with_one_degree_of_freedom_still_has_an_answer() -> None:
    shift = minimum_detectable_effect(1.0, 1, 0.05 / 200)
    assert power_of(shift, 1.0, 1, 0.05 / 200) == pytest.approx(0.80, abs=1e-6)


def test_detectable_effects_shrink_with_seeds_as_statsmodels_says() -> None:
    values = detectable_by_seeds(Precision.of_seeds([5**-0.5], [4], [5]), [2, 5, 20], 0.05)
    for effect, seeds in zip(values, [2, 5, 20], strict=True):
        assert TTestPower().power(effect, seeds, 0.05) == pytest.approx(0.80, abs=1e-6)


@pytest.fixture
def strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("df", [1e15, math.inf])
def test_endless_degrees_of_freedom_are_those_of_a_normal(strict: None, df: float) -> None:
    bound = -ndtri(0.025)
    assert power_of(2.0, 1.0, df, 0.05) == pytest.approx(ndtr(2 - bound) + ndtr(-2 - bound), abs=1e-6)
    assert minimum_detectable_effect(1.0, df, 0.05) == pytest.approx(bound + ndtri(0.8), abs=1e-3)


def test_without_variance_the_fewest_seeds_find_any_effect(strict: None) -> None:
    assert power_of(1e-6, 0.0, 2, 0.05) == 1.0
    assert seeds_needed(0.5, 0.0, 2, 3, 0.05) == 2
    assert detectable_by_seeds(Precision.of_seeds([0.0], [2], [3]), [3], 0.05) == [0.0]


@pytest.mark.parametrize("alpha", [0.0, 1e-300])
def test_a_level_near_0_finds_nothing(strict: None, alpha: float) -> None:
    assert power_of(5.0, 1.0, 3, alpha) == pytest.approx(0.0, abs=1e-12)
