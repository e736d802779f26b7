"""Planned looks: boundaries against published tables, p-values and intervals at a look, and what a look decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from sota_bench.stats import analyze
from sota_bench.stats.fixed_design import fixed_seeds, narrowed
from sota_bench.stats.kernels import Estimate, paired
from sota_bench.stats.power import Precision, power_of
from sota_bench.stats.result import ContrastRow
from sota_bench.stats.sequential import (
    Look,
    LookPlan,
    Settled,
    boundaries,
    error_after_second_look,
    exit_probabilities,
    plan_looks,
    spent,
)
from sota_bench.stats.verdicts import EQUIVALENT, HELPS, NEGLIGIBLE, UNDETECTED, judge

POCOCK = {2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413, 10: 2.555}
OBRIEN_FLEMING = {2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040, 10: 2.087}
"""Constants of two-sided tests at 5% with equal groups: Jennison and Turnbull (2000), tables 2.1 and 2.3."""

LAN_DEMETS = (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)
"""Two-sided boundaries at 5% with the spending function of O'Brien and Fleming's type, five equal looks: Reboussin,
DeMets, Kim and Lan (2000), Controlled Clinical Trials 21(3)."""


@pytest.mark.parametrize("looks", POCOCK)
def test_published_tests_err_in_five_percent(looks: int) -> None:
    fractions = np.arange(1, looks + 1) / looks
    pocock = exit_probabilities(list(fractions), np.full(looks, POCOCK[looks]))
    o_brien = exit_probabilities(list(fractions), OBRIEN_FLEMING[looks] / np.sqrt(fractions))
    assert pocock.sum() == pytest.approx(0.05, abs=1e-4)
    assert o_brien.sum() == pytest.approx(0.05, abs=1e-4)


def test_published_spending_boundaries_spend_what_they_say() -> None:
    fractions = np.arange(1, 6) / 5
    spending = 4 * norm.sf(norm.isf(0.0125) / np.sqrt(fractions))
    exits = exit_probabilities(list(fractions), np.array(LAN_DEMETS))
    assert np.cumsum(exits) == pytest.approx(spending, rel=0.01, abs=2e-6)


def test_boundaries_are_those_of_the_multivariate_normal() -> None:
    fractions = (0.3, 1.0)
    (bounds,) = boundaries(fractions, np.array([0.05]))
    within = multivariate_normal(cov=[[1, 0.3**0.5], [0.3**0.5, 1]]).cdf(bounds, lower_limit=-bounds)
    assert 1 - within == pytest.approx(0.05, abs=1e-5)
    assert norm.sf(bounds[0]) * 2 == pytest.approx(0.05 * spent(fractions)[0], rel=1e-6)


def test_power_is_that_of_simulated_looks() -> None:
    plan, shift = LookPlan((3, 6, 12)), 3.0
    rng = np.random.default_rng(0)
    fractions = np.array(plan.fractions)
    steps = np.diff(fractions, prepend=0.0)
    z = (np.cumsum(shift * steps + rng.normal(size=(100_000, 3)) * np.sqrt(steps), axis=1)) / np.sqrt(fractions)
    (bounds,) = boundaries(plan.fractions, np.array([0.05]))
    assert plan.power(shift, 0.05) == pytest.approx((np.abs(z) >= bounds).any(axis=1).mean(), abs=0.005)
    assert plan.power(0.0, 0.05) == pytest.approx(0.05, abs=1e-6)


def test_looks_grow_by_half_at_most_and_end_at_the_maximum() -> None:
    assert plan_looks(3, 20).seeds == (3, 4, 6, 9, 14, 20)
    assert plan_looks(3, 3).seeds == (3,)
    assert plan_looks(1, 4).seeds[0] == 2  # one seed shows nothing
    for first, most in ((2, 7), (5, 100), (10, 11)):
        seeds = np.array(plan_looks(first, most).seeds)
        assert seeds[0] == first and seeds[-1] == most
        assert (seeds[1:] <= np.ceil(1.5 * seeds[:-1])).all()


@pytest.mark.parametrize("look", [1, 3, 6])
def test_a_repeated_p_value_is_the_level_at_which_its_look_claims(look: int) -> None:
    plan = plan_looks(3, 20)
    for alpha in (1e-6, 0.004, 0.05, 0.4):
        assert plan.repeated(plan.nominal(alpha, look), look) == pytest.approx(alpha, rel=1e-6)
    exact = 2 * norm.sf(boundaries(plan.fractions, np.array([0.017]))[0, look - 1])  # between two tabulated levels
    assert plan.nominal(0.017, look) == pytest.approx(exact, rel=0.002)
    assert np.isnan(plan.repeated(np.nan, look))


def test_a_single_look_is_no_look() -> None:
    look = Look(LookPlan((5,)), 1)
    p = np.array([1e-9, 0.03, 0.7])
    assert look.repeated(p) == pytest.approx(p, rel=1e-9) and look.is_last


def test_paired_t_tests_of_three_seeds_and_more_keep_the_error() -> None:
    plan, tables = plan_looks(3, 12), 20_000
    y = np.random.default_rng(5).normal(size=(tables, plan.most, 2))
    claimed = np.zeros(tables, dtype=bool)
    covered = np.ones(tables, dtype=bool)
    for number, seeds in enumerate(plan.seeds, 1):
        judged = judge(paired(y[:, :seeds], np.array([[-1.0, 1.0]])), look=Look(plan, number))
        claimed |= judged.p_holm[:, 0] < 0.05
        covered &= (judged.low[:, 0] <= 0) & (judged.high[:, 0] >= 0)
    assert 0.045 < claimed.mean() < 0.06  # 5% and what small samples add
    assert covered.mean() == pytest.approx(1 - claimed.mean(), abs=1e-9)


def test_looking_without_a_plan_errs_more_often() -> None:
    error = error_after_second_look(3, 6)
    assert error is not None and 0.07 < error < 0.09  # Armitage, McPherson and Rowe (1969): 8.3% for two equal groups
    assert error_after_second_look(1, 6) is None and error_after_second_look(6, 6) is None


@pytest.mark.parametrize("se", [0.7, 0.9, 1.2])
def test_the_fixed_design_finds_delta_as_often(se: float) -> None:
    plan, precision = plan_looks(3, 20), Precision.of_seeds([se], [10.0], [3.0])
    seeds, power = fixed_seeds(plan, 1.0, precision, 0.05)
    assert seeds is not None and 3 < seeds <= plan.most
    enough, less = (float(power_of(1.0, *precision.at(total), 0.05)[0]) for total in (seeds, seeds - 1))
    assert less < power <= enough
    normal = plan.power(1.0 / (se * (3 / 20) ** 0.5), 0.05)
    assert normal - 0.02 < power < normal  # Student's t with many degrees of freedom


def test_seeds_narrow_what_seeds_leave_open_and_not_what_images_do() -> None:
    seeds_alone = Precision.of_seeds([0.5], [10.0], [5.0])
    mostly_images = seeds_alone._replace(images=np.array([4.0]), spread=np.array([0.1]))
    assert narrowed(seeds_alone) == 0
    endless, now = (float(mostly_images.at(seeds)[0][0]) for seeds in (1e9, 5))
    assert narrowed(mostly_images) == pytest.approx(endless / now, rel=1e-4) and narrowed(mostly_images) > 0.95


def test_equivalence_asks_for_the_repeated_interval_within_delta() -> None:
    look = Look(LookPlan((3, 20)), 2)
    half = norm.isf(float(look.nominal(0.05)) / 2)
    inside, outside = (
        judge(Estimate(np.zeros(1), np.ones(1), np.full(1, 1e7)), delta=half * factor, look=look)
        for factor in (1.01, 0.99)
    )
    assert inside.verdict[0] == EQUIVALENT and outside.verdict[0] == UNDETECTED
    assert inside.high[0] == pytest.approx(half, rel=1e-4)


def test_what_was_claimed_is_rejected_in_holms_procedure_and_stays_in_the_family() -> None:
    look = Look(LookPlan((3,)), 1)
    estimate = Estimate(np.array([2.3, 0.0, 0.0]), np.ones(3), np.full(3, 1e7))
    alone = judge(estimate, look=look)
    real = judge(estimate, look=look, settled=[None, Settled(True, False), Settled(True, False)])
    small = judge(estimate, look=look, settled=[None, Settled(False, True), Settled(False, True)])
    assert real.p_holm[0] == pytest.approx(alone.p[0]) and real.verdict[0] == HELPS
    assert small.p_holm[0] == pytest.approx(3 * alone.p[0]) and small.verdict[0] == UNDETECTED


def test_a_contrast_that_cannot_be_estimated_yet_counts_in_the_family() -> None:
    estimate = Estimate(np.array([2.3, np.nan]), np.array([1.0, np.nan]), np.full(2, 1e7))
    judged = judge(estimate, look=Look(LookPlan((3,)), 1))
    assert judged.p_holm[0] == pytest.approx(2 * judged.p[0]) and np.isnan(judged.p_holm[1])


def trials(runs: dict[str, int], effects: dict[str, float], noise: float = 0.5) -> pd.DataFrame:
    """One factor; each level with its number of seeds."""
    y = np.random.default_rng(8).normal(0, noise, (20, len(effects))) + 70
    return pd.DataFrame([
        {"level": level, "seed": seed, "status": "done", "accuracy": y[seed, number] + effects[level]}
        for number, level in enumerate(effects)
        for seed in range(runs[level])
    ])  # fmt: skip


def analyzed(table: pd.DataFrame, look: Look, decided: Any = ()) -> Any:
    return analyze(
        table, response="accuracy", factors={"level": ["a", "b", "c", "d"]}, delta=1.0, unit="pp", look=look,
        decided=decided,
    )  # fmt: skip


def test_looks_decide_one_question_after_the_other_and_decided_rows_stay() -> None:
    effects, plan = {"a": 0.0, "b": 8.0, "c": 1.0, "d": 0.0}, plan_looks(3, 20)
    first = analyzed(trials(dict.fromkeys(effects, 3), effects), Look(plan, 1))
    rows = {row.level: row for row in first.headlines()}
    assert rows["b"].decided and (rows["b"].look, rows["b"].seeds_used) == (1, 3) and rows["b"].verdict == HELPS
    assert not rows["c"].decided and "Undecided at look 1 of 6, with 3 seeds." in rows["c"].words
    decided = [row for row in first.contrasts if row.decided]
    last = analyzed(trials({"a": 20, "b": 3, "c": 20, "d": 20}, effects), Look(plan, 6), decided)
    again = {row.level: row for row in last.headlines()}
    assert again["b"].p == rows["b"].p and again["b"].look == 1
    assert again["d"].verdict == EQUIVALENT and again["d"].seeds_used == 20
    assert again["c"].verdict in (HELPS, NEGLIGIBLE)
    assert not last.warnings  # cells have fewer seeds on purpose
    assert {row.error for row in last.contrasts if row.level == "b"} == {row.error for row in decided}


def test_rows_of_a_look_survive_json() -> None:
    effects = {"a": 0.0, "b": 8.0, "c": 1.0, "d": 0.0}
    analysis = analyzed(trials(dict.fromkeys(effects, 3), effects), Look(plan_looks(3, 20), 1))
    assert type(analysis).from_dict(analysis.to_dict()) == analysis
    row = analysis.headlines()[0]
    assert ContrastRow.from_dict(row.to_dict()) == row
    assert {"decided", "look", "seeds_used"} <= set(analysis.table().columns)
