"""The comparison that ``confirm`` makes: which error its interval has, and how much of a gain survived."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sota_bench.plan.plan import Plan
from sota_bench.runs.confirmation import ERROR, Confirmation, compare, trials_digest


def trials(gains: list[float], first_seed: int = 0) -> pd.DataFrame:
    """Trials of a baseline whose accuracy drifts from seed to seed, and of a winner that is better by these gains."""
    rows = [
        {"trial": f"{cell}-s{seed}", "cell": cell, "seed": seed, "status": "done", "accuracy": 60.0 + 5 * seed + gain}
        for seed, by in enumerate(gains, start=first_seed)
        for cell, gain in (("c00", 0.0), ("c01", by))
    ]
    return pd.DataFrame(rows)


def outcome(plan: Plan, chosen: list[float], tested: list[float], looks: int = 0) -> Confirmation:
    correct = {
        f"{cell}-s{seed}": np.arange(100) < 60 + 2 * (cell == "c01") for cell in ("c00", "c01") for seed in (2, 3)
    }
    return compare(plan, trials(chosen), trials(tested, first_seed=2), "c00", "c01", correct, looks)


def test_a_gain_that_is_clear_on_both_sides_survives_in_part(plan: Plan) -> None:
    confirmation = outcome(plan, [4.0, 4.1], [2.0, 2.1])
    assert confirmation.survived == pytest.approx(2.05 / 4.05)
    assert confirmation.levels == {"lr": "0.002"} and confirmation.chosen_from == trials_digest(plan)
    assert confirmation.over_images is not None and confirmation.over_images.estimate == pytest.approx(2.0)
    assert not confirmation.select.verdict and confirmation.test.verdict == "helps"


def test_the_interval_is_that_of_differences_within_seeds(plan: Plan) -> None:
    confirmation = outcome(plan, [4.0, 4.1], [2.0, 2.2])
    differences = np.array([2.0, 2.2])
    assert confirmation.test.se == pytest.approx(differences.std(ddof=1) / np.sqrt(2)), "seeds 5 pp apart do not matter"
    assert confirmation.to_json()["error"] == ERROR


def test_what_is_not_clear_is_not_settled_and_a_loss_is_no_gain(plan: Plan) -> None:
    assert outcome(plan, [4.0, -2.0], [2.0, 2.1]).survived is None
    assert outcome(plan, [4.0, 4.1], [3.0, -2.0]).survived is None
    assert outcome(plan, [4.0, 4.1], [-3.0, -3.1]).survived is None


def test_test_images_that_judged_before_are_named(plan: Plan) -> None:
    fresh, used = (outcome(plan, [4.0, 4.1], [2.0, 2.1], looks=looks) for looks in (0, 2))
    assert (fresh.looks_before, used.looks_before) == (0, 2) and used.words[:-1] == fresh.words
