"""Residuals of cell and seed, against statsmodels' least squares; the normal plot, against SciPy's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from sota_bench.stats.residuals import cell_seed_residuals, normal_plot


def trials(seeds: int) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    rows = [
        {"trial": f"c{cell}-s{seed}", "cell": f"c{cell}", "seed": seed, "accuracy": 60 + cell + seed + rng.normal()}
        for cell in range(5)
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("missing", [[], [3, 7]])
def test_they_are_those_of_least_squares(missing: list[int]) -> None:
    frame = trials(4).drop(index=missing)
    table = cell_seed_residuals(frame)
    fit = ols("accuracy ~ C(cell) + C(seed)", frame).fit()
    assert table["residual"].to_numpy() == pytest.approx(fit.resid.to_numpy(), abs=1e-8)
    assert table["fitted"].to_numpy() == pytest.approx(fit.fittedvalues.to_numpy(), abs=1e-8)
    assert table["scaled"].to_numpy() == pytest.approx((fit.resid / np.sqrt(fit.mse_resid)).to_numpy(), abs=1e-8)


def test_there_are_none_where_nothing_is_left() -> None:
    assert cell_seed_residuals(trials(1)).empty
    exact = trials(3)
    exact["accuracy"] = 60.0 + exact["seed"]
    assert cell_seed_residuals(exact).empty


def test_the_normal_plot_is_that_of_scipy() -> None:
    values = np.random.default_rng(2).normal(size=40)
    plot = normal_plot(values)
    (_, ordered), (_, _, correlation) = stats.probplot(values)
    assert plot.values * values.std(ddof=1) == pytest.approx(ordered)
    assert plot.correlation == pytest.approx(correlation, abs=0.002), "its plotting positions differ in the ends"
    assert normal_plot(np.exp(3 * values)).correlation < 0.8
