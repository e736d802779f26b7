"""Least squares with the cells eliminated equals a regression on all columns, also where trials are missing."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from sota_bench.stats.kernels import pairwise_least_squares, pooled_least_squares
from sota_bench.stats.ranking import best_set


def table(missing: float, seed: int, cells: int = 7, blocks: int = 4):
    rng = np.random.default_rng(seed)
    cell, block = (part.ravel() for part in np.indices((cells, blocks)))
    kept = rng.random(len(cell)) >= missing
    kept[:: blocks + 1] = True
    cell, block = cell[kept], block[kept]
    values = 80 + cell + rng.normal(size=blocks)[block] + rng.normal(size=len(cell))
    return values, np.unique(cell, return_inverse=True)[1], np.unique(block, return_inverse=True)[1]


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_contrasts_equal_a_regression_on_dummy_variables(missing, seed):
    values, cell, block = table(missing, seed)
    cells = int(cell.max()) + 1
    blocks = np.eye(int(block.max()) + 1)[block][:, 1:]
    reference = sm.OLS(values, np.hstack([np.eye(cells)[cell], blocks - blocks.mean(axis=0)])).fit()
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(5, cells))
    weights[:3] -= weights[:3].mean(axis=1, keepdims=True)
    found = pooled_least_squares(values, cell, block, weights)
    wide = np.hstack([weights, np.zeros((5, blocks.shape[1]))])
    for k in range(5):
        if np.isnan(found.value[k]):
            continue  # not estimable: the reference gives one of many answers
        said = reference.t_test(wide[k])
        assert found.value[k] == pytest.approx(float(said.effect[0]))
        assert found.se[k] == pytest.approx(float(said.sd.squeeze()))
        assert found.df[k] == reference.df_resid

    ahead, se, df = pairwise_least_squares(values, cell, block)
    first, second = np.triu_indices(cells, k=1)
    pairs = pooled_least_squares(values, cell, block, np.eye(cells)[first] - np.eye(cells)[second])
    np.testing.assert_allclose(ahead[first, second], pairs.value, atol=1e-9)
    np.testing.assert_allclose(se[first, second], pairs.se, atol=1e-9)
    assert df == pairs.df[0]


def test_cells_that_share_no_seed_are_not_compared():
    cell, block = np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array([0, 1, 0, 1, 2, 3, 2, 3])
    values = np.array([1.0, 2.1, 3.0, 3.9, 7.0, 8.2, 9.1, 9.9])
    ahead, se, _ = pairwise_least_squares(values, cell, block)
    apart = np.ix_([0, 1], [2, 3])
    assert np.isnan(ahead[apart]).all() and np.isnan(se[apart]).all()
    assert ahead[1, 0] == pytest.approx(1.9) and np.isfinite(se[1, 0])
    among = pooled_least_squares(values, cell, block, np.array([[1.0, 0, -1, 0], [1.0, -1, 0, 0]]))
    assert np.isnan(among.value[0]) and np.isfinite(among.value[1])


def test_a_thousand_cells_are_ranked_at_once():
    import pandas as pd

    rng = np.random.default_rng(0)
    rows = pd.DataFrame([{"cell": f"c{c}", "seed": s} for c in range(1000) for s in range(2)])
    rows["accuracy"] = rng.normal(size=len(rows)) + np.repeat(np.linspace(0, 20, 1000), 2)
    found = best_set(rows, response="accuracy", cell="cell")
    assert found["cell"].iloc[0] == f"c{rows.groupby('cell')['accuracy'].mean().idxmax()[1:]}"
    assert found["in_best_set"].iloc[0] and 0 < found["in_best_set"].sum() < 500
