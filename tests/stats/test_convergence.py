"""Comparisons with reference runs: Student's t where it must agree, and the rate of false alarms that is promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sota_bench.stats.convergence import AGREES, ALPHA, TOO_GOOD, TOO_LOW, compare_with_reference, one_sided

REFERENCE = [60.0, 62.0, 58.5, 61.5, 59.0, 60.5]


def test_a_single_run_without_a_margin_is_judged_by_the_prediction_interval() -> None:
    spread, count = float(np.std(REFERENCE, ddof=1)), len(REFERENCE)
    limit = np.mean(REFERENCE) - stats.t.isf(0.05, count - 1) * spread * math.sqrt(1 + 1 / count)
    low, high = one_sided(np.array([limit]), np.array(REFERENCE), 0.0)
    assert low == pytest.approx(0.05) and high == pytest.approx(0.95)


def test_the_margin_shifts_both_limits() -> None:
    reference = np.array(REFERENCE)
    run = reference[:3] - 5
    assert one_sided(run, reference, 2.0)[0] == pytest.approx(one_sided(run + 2, reference, 0.0)[0])
    assert one_sided(run + 10, reference, 2.0)[1] == pytest.approx(one_sided(run + 8, reference, 0.0)[1])


def test_both_sides_and_all_cells_share_the_error() -> None:
    run = [50.0, 51.0, 49.0]
    (alone,) = compare_with_reference([run], [REFERENCE], 1.0)
    first, *others = compare_with_reference([run, *[REFERENCE[:3]] * 4], [REFERENCE] * 5, 1.0)
    assert first.p_low == pytest.approx(5 * alone.p_low)
    assert alone.outcome == TOO_LOW and {other.outcome for other in others} == {AGREES}
    (mirrored,) = compare_with_reference([[120 - value for value in run]], [[120 - x for x in REFERENCE]], 1.0)
    assert mirrored.outcome == TOO_GOOD and mirrored.p_high == pytest.approx(alone.p_low)


def test_references_without_any_spread_forgive_rounding_but_no_loss() -> None:
    same = [10.0] * 6
    assert compare_with_reference([[10.1]], [same], 0.0)[0].outcome == AGREES
    assert compare_with_reference([[8.0]], [same], 0.0)[0].outcome == TOO_LOW


def test_sound_runs_fail_no_more_often_than_promised() -> None:
    """Without a margin both sides together are wrong in just alpha of the runs; with cells that agree, in fewer."""
    rng = np.random.default_rng(0)
    tables, cells = 20_000, 4
    reference, run = rng.normal(60, 2, (tables, cells, 10)), rng.normal(60, 2, (tables, cells, 3))
    smallest = 2 * cells * np.minimum(*one_sided(run, reference, 0.0)).min(axis=1)
    false_alarms = (smallest < ALPHA).mean()
    assert false_alarms == pytest.approx(ALPHA, abs=3 * math.sqrt(ALPHA / tables))
