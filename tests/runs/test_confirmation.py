"""The comparison that ``confirm`` makes: which error its interval has, and how much of a gain survived."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

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


def nothing(response: str) -> dict[str, NDArray[np.bool_]]:
    """No predictions of any response."""
    return {}


def outcome(plan: Plan, chosen: list[float], tested: list[float], looks: int = 0) -> Confirmation:
    return compare(plan, trials(chosen), trials(tested, first_seed=2), "c00", "c01", nothing, nothing, looks)


def test_a_gain_that_is_clear_on_both_sides_survives_in_part(plan: Plan) -> None:
    confirmation = outcome(plan, [4.0, 4.1], [2.0, 2.1])
    assert confirmation.survived == pytest.approx(2.05 / 4.05)
    assert confirmation.levels == {"lr": "0.002"} and confirmation.chosen_from == trials_digest(plan)
    assert not confirmation.select.verdict and confirmation.test.verdict == "helps"


def test_the_interval_is_that_of_differences_within_seeds(plan: Plan) -> None:
    confirmation = outcome(plan, [4.0, 4.1], [2.0, 2.2])
    differences = np.array([2.0, 2.2])
    assert confirmation.test.se == pytest.approx(differences.std(ddof=1) / np.sqrt(2)), "seeds 5 pp apart do not matter"
    assert confirmation.to_json()["error"] == ERROR


def test_the_interval_covers_the_images_of_both_splits(plan: Plan) -> None:
    """Both seeds agree on the 20 of 1,000 images that the winner alone has right, so that almost all of the uncertainty
    is about other images."""
    hard = np.arange(1000) < 600
    images = {f"c00-s{seed}": hard for seed in range(4)} | {f"c01-s{seed}": np.arange(1000) < 620 for seed in range(4)}
    images["c01-s1"], images["c01-s3"] = (np.arange(1000) < 621 for _ in range(2))
    accuracy = [
        60.0 if cell == "c00" else 62.0 + 0.1 * (seed in (1, 3)) for seed in range(4) for cell in ("c00", "c01")
    ]
    both = trials([0.0] * 4).assign(accuracy=accuracy)
    chosen, tested = both[both["seed"] < 2], both[both["seed"] >= 2]

    def of_images(response: str) -> dict[str, NDArray[np.bool_]]:
        return images

    wide = compare(plan, chosen, tested, "c00", "c01", of_images, of_images, 0)
    narrow = compare(replace_scope(plan), chosen, tested, "c00", "c01", of_images, of_images, 0)
    spread = np.sqrt(0.0205 * (1 - 0.0205) / 999) * 100
    for difference in (wide.select, wide.test):
        assert difference.scope == "seeds and images" and difference.se_images == pytest.approx(spread, rel=0.02)
    assert narrow.test.scope == "these images" and narrow.test.se == narrow.test.se_seeds == wide.test.se_seeds


def replace_scope(plan: Plan) -> Plan:
    return replace(plan, grid=plan.grid.model_copy(update={"scope": "these images"}))


def test_what_is_not_clear_is_not_settled_and_a_loss_is_no_gain(plan: Plan) -> None:
    assert outcome(plan, [4.0, -2.0], [2.0, 2.1]).survived is None
    assert outcome(plan, [4.0, 4.1], [3.0, -2.0]).survived is None
    assert outcome(plan, [4.0, 4.1], [-3.0, -3.1]).survived is None


def test_test_images_that_judged_before_are_named(plan: Plan) -> None:
    fresh, used = (outcome(plan, [4.0, 4.1], [2.0, 2.1], looks=looks) for looks in (0, 2))
    assert (fresh.looks_before, used.looks_before) == (0, 2) and used.words[:-1] == fresh.words


def test_a_response_of_which_less_is_better_gains_by_falling(plan: Plan) -> None:
    grid = plan.grid.model_copy(update={"response": ("nll", "accuracy"), "smallest_effects": {"nll": 0.02}})
    asking = replace(plan, grid=grid)

    def falling(gains: list[float], first_seed: int = 0) -> pd.DataFrame:
        table = trials(gains, first_seed)
        return table.assign(nll=2 - table["accuracy"] / 100)

    found = compare(asking, falling([4.0, 4.1]), falling([2.0, 2.1], first_seed=2), "c00", "c01", nothing, nothing, 0)
    assert found.response == "nll" and found.test.verdict == "helps" and (found.test.estimate or 0.0) < 0
    assert found.survived == pytest.approx(2.05 / 4.05)
    assert found.further["accuracy"].estimate == pytest.approx(2.05)
    assert " in NLL." in found.words[0] and any(
        line.startswith("Accuracy on the test images: ") for line in found.words
    )
    assert Confirmation.from_json(found.to_json()) == found
