"""The gate's statistics: the arithmetic of a block, and by simulation how often it is wrong and what it detects."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from sota_bench.regression.decide import Round, alpha_of, control_moved, half_log_ratio, judge, order_of


def simulated(rng: np.random.Generator, slower: float, noise: float, blocks: int, drift: float = 0.0) -> Round:
    """A round whose processes' times have log-normal noise, a linear drift and a known slow-down of B."""
    estimates = []
    for block in range(blocks):
        order = order_of(block)
        times = [
            math.exp(rng.normal(0, noise) + drift * (4 * block + position)) * (1 + slower * (side == "B"))
            for position, side in enumerate(order)
        ]
        estimates.append(half_log_ratio(order, times))
    return Round(tuple(estimates))


def decided(rng: np.random.Generator, slower: float, noise: float, blocks: int = 4, alpha: float = 0.05) -> str:
    """The verdict on one workload, with a second round where the first calls for it."""
    first = simulated(rng, slower, noise, blocks)
    again = first.passes_as_slower(0.05, alpha)
    return judge(first, simulated(rng, slower, noise, blocks) if again else None, 0.05, alpha).kind


def test_a_block_is_half_the_log_ratio() -> None:
    assert half_log_ratio("ABBA", [2.0, 3.0, 5.0, 7.0]) == pytest.approx(0.5 * math.log(3 * 5 / (2 * 7)))
    assert half_log_ratio("BAAB", [2.0, 3.0, 5.0, 7.0]) == pytest.approx(0.5 * math.log(2 * 7 / (3 * 5)))


def test_a_linear_drift_cancels_within_each_block() -> None:
    simulated_round = simulated(np.random.default_rng(0), slower=0.1, noise=0.0, blocks=4, drift=0.05)
    assert simulated_round.estimates == pytest.approx([math.log(1.1)] * 4)


@pytest.mark.parametrize("seconds", [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0], [1.0, math.nan, 1.0, 1.0]])
def test_a_block_with_impossible_times_is_refused(seconds: list[float]) -> None:
    with pytest.raises(ValueError):
        half_log_ratio("ABBA", seconds)


def test_the_bound_is_that_of_scipy() -> None:
    estimates = (0.02, 0.05, 0.01, 0.04, 0.03)
    expected = ttest_1samp(estimates, 0, alternative="greater").confidence_interval(0.95)
    assert Round(estimates).bound(0.05) == pytest.approx(expected.low)
    assert Round(estimates).mean == pytest.approx(statistics.fmean(estimates))


def test_one_block_decides_nothing() -> None:
    verdict = judge(Round((0.5,)), None, 0.05, 0.05)
    assert verdict.kind == "inconclusive" and math.isinf(verdict.detectable)
    assert not Round((0.5,)).passes_as_slower(0.05, 0.05)
    assert judge(Round(()), None, 0.05, 0.05).kind == "inconclusive"


def test_a_slow_down_needs_both_rounds_and_both_conditions() -> None:
    clear, small, unsure = Round((0.10, 0.11, 0.10)), Round((0.03, 0.031, 0.03)), Round((0.4, -0.2, 0.2))
    assert judge(clear, clear, 0.05, 0.05).kind == "slower"
    assert judge(clear, None, 0.05, 0.05).kind == "inconclusive"
    not_repeated = judge(clear, small, 0.05, 0.05)
    assert not_repeated.kind == "inconclusive" and not_repeated.note and not_repeated.blocks == (3, 3)
    assert not_repeated.change == pytest.approx(math.expm1(small.mean)), "the first round's number is biased"
    assert judge(clear, unsure, 0.05, 0.05).kind == "inconclusive"
    assert judge(small, clear, 0.05, 0.05).kind == "pass", "significant, and below the threshold"
    assert judge(unsure, clear, 0.05, 0.05).kind == "inconclusive", "above the threshold, and not significant"


def test_the_same_revision_hardly_ever_fails() -> None:
    rng = np.random.default_rng(1)
    failures = sum(decided(rng, 0.0, noise=0.08) == "slower" for _ in range(4000))
    # At most alpha^2 = 0.0025 each: 10 expected at most; 22 has probability under 1e-3.
    assert failures <= 22


def test_over_many_workloads_the_whole_gate_keeps_its_level() -> None:
    rng, workloads = np.random.default_rng(2), 60
    alpha = alpha_of(workloads)
    assert workloads * alpha**2 <= 0.05 + 1e-12 and alpha_of(20) == 0.05
    runs = 100
    failed = sum(
        any(decided(rng, 0.0, noise=0.2, alpha=alpha) == "slower" for _ in range(workloads)) for _ in range(runs)
    )
    assert failed <= 14, "5 of 100 expected at most; 14 has probability under 1e-3"


def test_the_detectable_slow_down_is_found_with_the_stated_power() -> None:
    rng, noise = np.random.default_rng(3), 0.03
    detectable = statistics.median(simulated(rng, 0.0, noise, 6).detectable(0.05, 0.05) for _ in range(200))
    power = sum(decided(rng, detectable, noise, blocks=6) == "slower" for _ in range(400)) / 400
    assert 0.7 < power < 0.97


def test_passing_excludes_the_threshold() -> None:
    rng = np.random.default_rng(4)
    passed = sum(decided(rng, 0.05, noise=0.02) == "pass" for _ in range(2000)) / 2000
    assert passed < 0.07, "a slow-down of the threshold passes with probability 5%"


def test_a_control_moves_only_if_it_moves_clearly_and_by_half_the_threshold() -> None:
    assert control_moved(Round((0.06, 0.07, 0.065)), 0.05) and control_moved(Round((-0.06, -0.07, -0.065)), 0.05)
    assert not control_moved(Round((0.01, 0.011, 0.0105)), 0.05), "less than half the threshold"
    assert not control_moved(Round((0.2, -0.1, 0.1)), 0.05) and not control_moved(Round((0.3,)), 0.05)
