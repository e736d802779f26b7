"""The comparison of arithmetics: its intervals are paired by seed; the committed ones lie within the margin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from scipy import stats

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "numerics.json"


def test_a_difference_is_that_of_the_means_over_cells(imported: Callable[[str], ModuleType]) -> None:
    numerics = imported("numerics")
    first = pd.DataFrame({0: [60.0, 70.0], 1: [62.0, 74.0], 2: [61.0, 69.0]}, index=["a", "b"])
    other = first + pd.DataFrame({0: [1.0, 2.0], 1: [-1.0, 0.0], 2: [0.0, 2.0]}, index=["a", "b"])
    row = numerics.difference(other, first)
    assert row["difference_pp"] == pytest.approx(4 / 6)
    assert row["same_seed_apart_pp"] == pytest.approx(1.0)
    paired = stats.ttest_rel(other.mean(), first.mean()).confidence_interval()
    assert (row["low_pp"], row["high_pp"]) == pytest.approx((paired.low, paired.high))
    text = "\n".join(numerics.page({"one": first, "two": other}, {"two": row}, 3.0))
    assert "| a | 61.0 ± 1.0 | 61.0 ± 0.0 |" in text and "+0.67 pp" in text


def test_the_commands_name_cells_of_the_quick_start(imported: Callable[[str], ModuleType]) -> None:
    from sota_bench.grid import load

    numerics = imported("numerics")
    trials = load(numerics.GRID).only(numerics.CELLS)
    assert {trial.cell.recipe.resize for trial in trials} == {"64x3", "32x2 64x2"}


def test_the_committed_differences_lie_within_the_margin() -> None:
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert len(content["differences"]) == 2
    for row in content["differences"].values():
        assert -content["margin_pp"] < row["low_pp"] < row["high_pp"] < content["margin_pp"]
