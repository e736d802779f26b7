"""The set not distinguishable from the best, and the Pareto front."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from sota_bench.errors import UserError
from sota_bench.stats import best_set, pareto


def table(means: list[float], seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for seed in range(seeds):
        shift = 3 * rng.normal()
        rows += [{"cell": f"c{i}", "seed": seed, "accuracy": m + shift + rng.normal()} for i, m in enumerate(means)]
    return pd.DataFrame(rows)


def test_the_set_is_bonferronis_bound_with_the_pooled_error() -> None:
    data = table([60, 60.5, 55, 61], 4, np.random.default_rng(0))
    ranking = best_set(data, response="accuracy", cell="cell")
    wide = data.pivot(index="seed", columns="cell", values="accuracy").to_numpy()
    residual = wide - wide.mean(0) - wide.mean(1, keepdims=True) + wide.mean()
    allowance = t.isf(0.05 / 3, 9) * np.sqrt((residual**2).sum() / 9 * 2 / 4)
    expected = {f"c{i}" for i, m in enumerate(wide.mean(0)) if m > wide.mean(0).max() - allowance}
    assert set(ranking.loc[ranking["in_best_set"], "cell"]) == expected
    assert ranking["cell"].iloc[0] == f"c{wide.mean(0).argmax()}"
    assert ranking["behind"].iloc[0] == 0 and ranking["mean"].is_monotonic_decreasing


def test_the_true_best_is_in_the_set_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(150):
        ranking = best_set(table([50.0, 50.0, 50.0, 50.0], 3, rng), response="accuracy", cell="cell")
        inside += bool(ranking.set_index("cell").loc["c0", "in_best_set"])
    assert inside / 150 >= 0.92


def twins(rng: np.random.Generator, own: float) -> pd.DataFrame:
    """Four equal cells, each evaluated in two ways whose noise is the same but for a part ``own``."""
    data = table([50.0] * 4, 3, rng)
    both = [data.assign(tta=name, cell=data["cell"] + name) for name in ("off", "on")]
    for part in both:
        part["accuracy"] += own * rng.normal(size=len(part))
    return pd.concat(both, ignore_index=True)


def test_evaluations_of_one_run_are_no_more_trainings() -> None:
    rng = np.random.default_rng(4)
    data = twins(rng, 0.0)  # copies: each against the other trainings as if it stood alone
    ranking = best_set(data, response="accuracy", cell="cell", within=["tta"]).set_index("cell")
    alone = best_set(data[data["tta"] == "off"], response="accuracy", cell="cell").set_index("cell")
    for name, p in alone["p"].items():  # Bonferroni's factors: 8 cells, 4 cells
        assert ranking.loc[name, "p"] == pytest.approx(min(7 / 3 * p, 1)) or p == 1
    inside = sum(
        bool(best_set(twins(rng, 0.1), response="accuracy", cell="cell", within=["tta"])["in_best_set"].iloc[-1])
        for _ in range(100)
    )
    naive = sum(
        bool(best_set(twins(rng, 0.1), response="accuracy", cell="cell")["in_best_set"].iloc[-1]) for _ in range(100)
    )
    assert naive < inside >= 88, "of equal cells the last is left out too often where twins count as trainings"


def test_lower_is_better_and_missing_trials() -> None:
    data = table([1.0, 9.0, 1.0], 3, np.random.default_rng(2)).drop([4])
    ranking = best_set(data, response="accuracy", cell=["cell"], higher_is_better=False)
    assert ranking.set_index("cell")["in_best_set"].to_dict() == {"c0": True, "c1": False, "c2": True}
    assert sorted(ranking["n"]) == [2, 3, 3]


def test_one_seed_excludes_nobody_and_an_empty_table_nothing() -> None:
    data = table([1.0, 90.0], 1, np.random.default_rng(3))
    assert best_set(data, response="accuracy", cell="cell")["in_best_set"].all()
    assert best_set(data.assign(status="failed"), response="accuracy", cell="cell").empty
    with pytest.raises(UserError, match="no such column"):
        best_set(data, response="acc", cell="cell")


def test_pareto_front_by_hand() -> None:
    minutes = [1.0, 2.0, 2.0, 3.0, 4.0, np.nan, 1.0]
    accuracy = [50.0, 60.0, 58.0, 60.0, 70.0, 99.0, 50.0]
    assert pareto(minutes, accuracy).tolist() == [True, True, False, False, True, False, True]
