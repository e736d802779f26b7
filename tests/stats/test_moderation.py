"""The moderated error: limits in which it is another one, references, and its promises in small simulations.

`benchmarks/false_verdicts.py` is the whole study; here are scenarios with small margins, quick enough for CI.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sota_bench.stats import analyze
from sota_bench.stats.kernels import Array, Estimate, paired, pooled_blocks, pooled_least_squares
from sota_bench.stats.moderation import (
    moderated,
    moderated_incomplete,
    moderated_pairs,
    moderated_unpaired,
)
from sota_bench.stats.pools import pool_of
from sota_bench.stats.ranking import best_cells
from sota_bench.stats.verdicts import HELPS, HURTS, judge


def against_first(levels: int) -> Array:
    return np.hstack([-np.ones((levels - 1, 1)), np.eye(levels - 1)])


def tables(scale: Array, seeds: int, repeats: int, stream: int) -> Array:
    rng = np.random.default_rng(stream)
    return scale * rng.normal(size=(repeats, seeds, len(scale))) + 2.0 * rng.normal(size=(repeats, seeds, 1))


def noisy(levels: int, at: int) -> Array:
    scale = np.ones(levels)
    scale[at] = 10.0
    return scale


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("levels", [3, 5])
@pytest.mark.parametrize("at", [None, 0, -1])
def test_families_are_wrong_as_rarely_as_promised(levels: int, seeds: int, at: int | None) -> None:
    """6% (7% with 3 seeds), and three standard errors of 4,000 tables; the pooled error is far beyond."""
    scale = np.ones(levels) if at is None else noisy(levels, at)
    y, weights = tables(scale, seeds, 4000, 10 * levels + seeds), against_first(levels)

    def wrong(found: Estimate) -> float:
        return float(np.isin(judge(found).verdict, [HELPS, HURTS]).any(axis=-1).mean())

    assert wrong(moderated(y, weights)) <= (0.07 if seeds == 3 else 0.06) + 3 * np.sqrt(0.06 * 0.94 / 4000)
    if at is not None:
        assert wrong(pooled_blocks(y, weights)) > 0.075


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_power_beside_the_pooled_error(seeds: int) -> None:
    """80% of it with 3 seeds, 90% from 5 on, at an effect that the pooled error finds in about 80%."""
    y, weights = tables(np.ones(5), seeds, 6000, seeds), against_first(5)
    y[..., 1] += {3: 3.35, 5: 2.25, 10: 1.5}[seeds]
    power = {
        name: float((judge(kernel(y, weights)).verdict[:, 0] == HELPS).mean())
        for name, kernel in (("pooled", pooled_blocks), ("moderated", moderated))
    }
    assert power["pooled"] == pytest.approx(0.80, abs=0.05)
    assert power["moderated"] / power["pooled"] >= (0.78 if seeds == 3 else 0.89)


@pytest.mark.parametrize("at", [0, 2, 4])
def test_the_best_cell_stays_in_the_set(at: int) -> None:
    y = tables(noisy(5, at), 3, 4000, at)
    assert (~best_cells(y)[:, 0]).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_confirmations_hold_with_unequal_variances() -> None:
    """Two cells: the verdict is read from the paired error, which holds whatever the variances are."""
    y = tables(noisy(2, 1), 3, 6000, 5)
    rows = [{"cell": c, "seed": s, "accuracy": 50 + y[0, s, c]} for s in range(3) for c in range(2)]
    (row,) = analyze(pd.DataFrame(rows), response="accuracy", factors=["cell"]).headlines()
    judged = judge(paired(y, against_first(2)))
    assert row.error == "paired" and row.p == pytest.approx(judged.p[0, 0])
    wrong = np.isin(judged.verdict, [HELPS, HURTS]).mean()
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 6000)


def test_it_is_the_pooled_error_where_variances_agree_and_the_own_one_where_they_do_not() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(np.hstack([np.ones((8, 1)), rng.normal(size=(8, 7))]))[0][:, 1:4]
    even = basis @ np.linalg.qr(rng.normal(size=(3, 3)))[0]  # all cells of 4 have about the same residual variance
    y = even @ np.linalg.qr(np.hstack([np.ones((4, 1)), rng.normal(size=(4, 3))]))[0][:, 1:].T * 3
    weights = against_first(4)
    same, pooled = moderated(y, weights), pooled_blocks(y, weights)
    assert same.se == pytest.approx(pooled.se) and same.df == pytest.approx(pooled.df)
    y[:, 3] += np.array([40.0, -40, 40, -40, 40, -40, 40, -40])
    apart, own = moderated(y, weights), paired(y, weights)
    assert apart.se[2] == pytest.approx(own.se[2], rel=1e-6) and apart.df[2] == pytest.approx(7, abs=1e-3)
    assert not pool_of(y).kept[3] and pool_of(y).kept[:3].all()
    assert apart.se[0] == pytest.approx(pooled.se[0], rel=0.3), "the noisy cell is none of their business"


def test_two_cells_are_the_paired_t() -> None:
    y = tables(np.ones(2), 5, 1, 1)[0]
    found = moderated(y, against_first(2))
    reference = stats.ttest_rel(y[:, 1], y[:, 0])
    assert found.value[0] / found.se[0] == pytest.approx(reference.statistic) and found.df[0] == 4


def test_incomplete_tables_agree_with_complete_ones() -> None:
    y, weights = tables(noisy(5, 2), 4, 1, 7)[0], against_first(5)
    seed, cell = np.indices(y.shape).reshape(2, -1)
    pooled = pooled_least_squares(y[seed, cell], cell, seed, weights)
    again = moderated_incomplete(y, weights, pooled, paired(y, weights))
    for part, expected in zip(again, moderated(y, weights), strict=True):
        assert part == pytest.approx(expected)


def test_pairs_are_the_contrasts_of_two_cells() -> None:
    y = tables(noisy(6, 4), 3, 1, 8)[0]
    pairs, weights = (
        moderated_pairs(y),
        np.array([np.eye(6)[i] - np.eye(6)[j] for i in range(6) for j in range(6) if i != j]),
    )
    each = moderated(y, weights)
    off = ~np.eye(6, dtype=bool)
    for part, expected in zip(pairs, each, strict=True):
        assert part[off] == pytest.approx(expected)


def test_without_blocks_two_cells_are_welchs_t_and_more_cells_lend_degrees_of_freedom() -> None:
    rng = np.random.default_rng(9)
    y = rng.normal(size=(6, 8))
    pair = moderated_unpaired(y[:, :2], against_first(2))
    reference = stats.ttest_ind(y[:, 1], y[:, 0], equal_var=False)
    assert pair.value[0] / pair.se[0] == pytest.approx(reference.statistic)
    assert pair.df[0] == pytest.approx(reference.df)
    assert (moderated_unpaired(y, against_first(8)).df > 10).any()
    y[1:, 3] = np.nan
    assert np.isnan(moderated_unpaired(y, against_first(8)).se[2]), "one run has no variance of its own"


def test_sparse_and_dense_weights_are_one() -> None:
    from scipy.sparse import csr_array

    y = tables(noisy(6, 5), 3, 1, 11)[0]
    weights = np.vstack([against_first(6), [[0.5, 0.5, 0, 0, -0.5, -0.5]]])
    for dense, sparse in zip(moderated(y, weights), moderated(y, csr_array(weights)), strict=True):
        assert sparse == pytest.approx(dense)
    for dense, sparse in zip(moderated_unpaired(y, weights), moderated_unpaired(y, csr_array(weights)), strict=True):
        assert sparse == pytest.approx(dense)


def test_the_verdict_is_read_from_it_and_both_others_stay() -> None:
    rng = np.random.default_rng(12)
    rows = [{"seed": s, "a": a, "y": rng.normal() * (10 if a == 2 else 1)} for s in range(3) for a in range(3)]
    analysis = analyze(pd.DataFrame(rows), response="y", factors=["a"])
    by_error = {row.error: row for row in analysis.contrasts if row.level == "2" and row.kind == "main"}
    assert list(by_error) == ["pooled", "paired", "moderated"]
    assert [row.headline for row in by_error.values()] == [False, False, True]
    read = by_error["moderated"]
    assert by_error["paired"].df == 2 <= read.df <= 4 == by_error["pooled"].df
    assert analysis.headlines()[1] == read


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_hold_against_a_baseline_at_chance(seeds: int) -> None:
    """A constant cell does not share what a seed does to the others, so contrasts with it vary more than the rest."""
    y, weights = tables(np.ones(5), seeds, 4000, 20 + seeds), against_first(5)
    y[..., 0] = 1e-3 * np.random.default_rng(1).normal(size=(4000, seeds))
    judged = judge(moderated(y, weights))
    covered = ((judged.low <= 0) & (judged.high >= 0)).mean()
    assert covered == pytest.approx(0.95, abs=0.01)
    assert np.isin(judged.verdict, [HELPS, HURTS]).any(axis=-1).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    one = y[0]
    assert not pool_of(one).kept[0] and pool_of(one).kept[1:].all()
    seed, cell = np.indices(one.shape).reshape(2, -1)
    again = moderated_incomplete(
        one, weights, pooled_least_squares(one[seed, cell], cell, seed, weights), paired(one, weights)
    )
    for part, expected in zip(again, moderated(one, weights), strict=True):
        assert part == pytest.approx(expected)
