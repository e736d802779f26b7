"""Means with intervals: against SciPy, and without intervals that say nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sota_bench.stats.means import PERCENT, block_differences, block_means, pooled_means


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    """Two levels x two test-time views x four seeds."""
    rng = np.random.default_rng(5)
    rows = [
        {"mixup": mixup, "tta": tta, "seed": seed, "cell": f"{mixup}{tta}", "accuracy": 70 + rng.normal()}
        for mixup in ("0.0", "0.2")
        for tta in ("false", "true")
        for seed in range(4)
    ]
    return pd.DataFrame(rows)


def test_block_means_are_those_of_scipy(trials: pd.DataFrame) -> None:
    row = block_means(trials, ["mixup"], "accuracy").loc["0.2"]
    seeds = trials[trials["mixup"] == "0.2"].groupby("seed")["accuracy"].mean()
    low, high = stats.t.interval(0.95, len(seeds) - 1, seeds.mean(), stats.sem(seeds))
    assert (row["mean"], row["low"], row["high"], row["n"]) == pytest.approx((seeds.mean(), low, high, 4))


def test_pooled_means_share_one_standard_deviation(trials: pd.DataFrame) -> None:
    two = trials[trials["cell"].isin(["0.0false", "0.2true"])]
    table = pooled_means(two, "cell", "accuracy")
    a, b = (two.loc[two["cell"] == cell, "accuracy"] for cell in ("0.0false", "0.2true"))
    margin = stats.t.ppf(0.975, 6) * np.sqrt((a.var() + b.var()) / 2) / 2
    assert table.loc["0.0false", "mean"] == pytest.approx(a.mean())
    assert (table["high"] - table["low"]).to_numpy() / 2 == pytest.approx([margin, margin])


def test_evaluations_of_one_training_count_once(trials: pd.DataFrame) -> None:
    """Twins with the same noise, as test-time augmentation makes them: the interval of one of them alone."""
    single = trials[trials["tta"] == "false"]
    twin = single.assign(cell="t" + single["cell"], accuracy=single["accuracy"] + 0.6, tta="true")
    both = pooled_means(pd.concat([single, twin]), "cell", "accuracy", ["mixup"])
    alone = pooled_means(single, "cell", "accuracy")
    width = (both["high"] - both["low"])[alone.index]
    assert width.to_numpy() == pytest.approx((alone["high"] - alone["low"]).to_numpy())


def test_differences_are_paired_by_seed(trials: pd.DataFrame) -> None:
    """A shift of a seed that all groups share cancels."""
    shifted = trials.assign(accuracy=trials["accuracy"] + 30.0 * trials["seed"])
    row = block_differences(shifted, "mixup", "accuracy", "0.0").loc["0.2"]
    by_seed = trials.groupby(["mixup", "seed"])["accuracy"].mean()
    differences = by_seed.loc["0.2"] - by_seed.loc["0.0"]
    low, high = stats.t.interval(0.95, 3, differences.mean(), stats.sem(differences))
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((differences.mean(), low, high))


def test_two_seeds_give_no_interval(trials: pd.DataFrame) -> None:
    """With one degree of freedom the interval of an accuracy would be wider than 0 to 100."""
    two = trials[trials["seed"] < 2]
    assert block_means(two, ["mixup"], "accuracy")[["low", "high"]].isna().all(axis=None)
    assert block_differences(two, "mixup", "accuracy", "0.0")[["low", "high"]].isna().all(axis=None)
    alone = two[two["mixup"] == "0.0"]
    assert pooled_means(alone, "cell", "accuracy", ["mixup"])[["low", "high"]].isna().all(axis=None)
    assert pooled_means(two, "cell", "accuracy", ["mixup"])["low"].notna().all()


def test_no_interval_leaves_what_is_possible() -> None:
    frame = pd.DataFrame({"level": "a", "seed": range(3), "accuracy": [98.0, 99.0, 80.0]})
    row = block_means(frame, ["level"], "accuracy", limits=PERCENT).loc["a"]
    assert row["high"] == 100.0
    assert row["low"] == pytest.approx(block_means(frame, ["level"], "accuracy").loc["a", "low"])
