"""Families of a hundred and of ten thousand comparisons: every number exists, and it does not take minutes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import nct, t

from sota_bench.stats import analyze
from sota_bench.stats.anova import MOST_COLUMNS
from sota_bench.stats.power import detectable_shifts, power_of, upper_tail


def table(*levels: int, seeds: int = 3) -> pd.DataFrame:
    cells = np.array(list(product(*(range(size) for size in levels))))
    rows = np.tile(cells, (seeds, 1))
    columns = {f"f{i}": [f"l{code}" for code in column] for i, column in enumerate(rows.T)}
    rng = np.random.default_rng(len(rows))
    return pd.DataFrame({"seed": np.repeat(range(seeds), len(cells)), **columns, "y": rng.normal(size=len(rows))})


@pytest.mark.parametrize("levels", [(120,), (12, 12)])
def test_large_families_have_every_number(levels: tuple[int, ...]) -> None:
    analysis = analyze(table(*levels), response="y", factors=[f"f{i}" for i in range(len(levels))], delta=0.5)
    for row in [*analysis.contrasts, *analysis.interactions]:
        assert row.mde_family is not None and row.mde_family > row.mde > 0
        assert row.family_size >= sum(level - 1 for level in levels) or row.kind == "interaction"
    assert len(analysis.interactions) == (0 if len(levels) == 1 else 3 * 121)


@pytest.mark.parametrize("levels", [(10_001,), (101, 101)])
def test_ten_thousand_comparisons(levels: tuple[int, ...]) -> None:
    analysis = analyze(table(*levels), response="y", factors=[f"f{i}" for i in range(len(levels))], delta=0.5)
    family = analysis.headlines() if len(levels) == 1 else [row for row in analysis.interactions if row.headline]
    assert len(family) == 10_000 and {row.family_size for row in family} == {10_000}
    assert all(row.mde_family for row in family)
    assert [row.term for row in analysis.anova] == (["f0"] if len(levels) == 1 else ["f0", "f1", "f0:f1"])
    assert sum(row.p_holm < 0.05 for row in family) <= 1


def test_a_large_unbalanced_table_goes_without_an_analysis_of_variance_and_says_so() -> None:
    analysis = analyze(table(MOST_COLUMNS + 10).drop(index=5), response="y", factors=["f0"])
    assert analysis.anova == () and any("analysis of variance" in note for note in analysis.notes)
    assert len(analysis.headlines()) == MOST_COLUMNS + 9


@pytest.mark.parametrize("df", [1, 2, 4.3, 20, 238, 5000])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 119])
def test_the_noncentral_t_is_scipys_where_that_exists(df: float, alpha: float) -> None:
    critical = t.isf(alpha / 2, df)
    for shift in (0.0, 0.3, 2.0, critical, 1.2 * critical):
        expected = nct.sf(critical, df, shift) if shift else alpha / 2
        assert upper_tail(critical, df, shift) == pytest.approx(expected, abs=2e-6)


def test_detectable_shifts_have_their_power_at_any_level() -> None:
    df, alpha = (part.ravel() for part in np.meshgrid([1, 2, 3.7, 60, 1e4], [0.05, 1e-3, 5e-6]))
    assert power_of(detectable_shifts(df, alpha), 1.0, df, alpha) == pytest.approx(np.full(len(df), 0.80), abs=1e-6)
