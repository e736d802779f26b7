"""Trials whose batches were computed in parts are counted; cells that differ in it are named beside the verdicts."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from synthetic import synthetic

from sota_bench.report.accumulated import difference, micro_batch, notes
from sota_bench.report.output import analysis_of
from sota_bench.report.page import render
from sota_bench.stages.results import StageResult


def result(**values: Any) -> StageResult:
    return StageResult(values, {}, 0.0, 1, {})


def trials(*micro_batches: float) -> pd.DataFrame:
    """Two cells of two seeds, and a trial that failed."""
    cells = ["c00", "c00", "c01", "c01", "c01"]
    status = ["done"] * 4 + ["failed"]
    return pd.DataFrame({"cell": cells, "status": status, "micro_batch": [*micro_batches, 2.0]})


def test_the_smallest_part_of_a_trial() -> None:
    assert math.isnan(micro_batch([result(), result()]))
    assert micro_batch([result(), result(accumulated={"micro_batch": 8, "steps": 3})]) == 8


@pytest.mark.parametrize("parts", [(math.nan,) * 4, (8.0,) * 4])
def test_cells_alike_need_no_warning(parts: tuple[float, ...]) -> None:
    assert difference(trials(*parts)) == []
    said = notes(trials(*parts))
    assert len(said) == (0 if math.isnan(parts[0]) else 1)
    assert all("in 4 trials" in line and "at most 8 images" in line for line in said)


def test_cells_that_differ_are_named() -> None:
    table = trials(math.nan, math.nan, 8.0, 4.0)
    assert "2 trials" in notes(table)[0] and "4 to 8 images" in notes(table)[0]
    assert "in parts: c01)" in difference(table)[0]


def test_the_page_says_so_beside_the_verdicts_and_in_the_diagnostics() -> None:
    tables = synthetic(seeds=3)
    plain = render(tables, analysis_of(tables))
    cell = tables.trials["cell"].iloc[-1]
    tables.trials["micro_batch"] = [16.0 if name == cell else math.nan for name in tables.trials["cell"]]
    page = render(tables, analysis_of(tables))
    for words in ("Cells differ in gradient accumulation", "computed in parts, since memory ran out"):
        assert words in page and words not in plain
