"""Which cells a question compares: those that get more seeds while it is open."""

from __future__ import annotations

import itertools

import pandas as pd

from sota_bench.stats.compared import compared_cells


def table(cells: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame([
        {"cell": f"{a}{b}{tta}", "a": a, "b": b, "tta": tta, "seed": seed, "status": "done", "accuracy": 50.0 + seed}
        for a, b, tta in cells
        for seed in range(2)
    ])  # fmt: skip


FACTORS = {"a": ["0", "1"], "b": ["0", "1", "2"], "tta": ["off", "on"]}


def test_one_at_a_time_a_question_needs_its_level_and_the_baseline() -> None:
    cells = [("0", "0", "off"), ("1", "0", "off"), ("0", "1", "off"), ("0", "2", "off"), ("0", "0", "on")]
    compared = compared_cells(table(cells), response="accuracy", factors=FACTORS, cell="cell", within=["tta"])
    assert compared["a", "1"] == {"00off", "10off"}
    assert compared["b", "2"] == {"00off", "02off"}
    assert compared["tta", "on"] == {"00off", "00on"}


def test_in_a_full_grid_a_level_needs_the_cells_with_it_and_with_the_baseline() -> None:
    cells = list(itertools.product(*FACTORS.values()))
    compared = compared_cells(table(cells), response="accuracy", factors=FACTORS, cell="cell", within=["tta"])
    assert compared["a", "1"] == {"".join(cell) for cell in cells}
    assert compared["b", "1"] == {"".join(cell) for cell in cells if cell[1] != "2"}


def test_a_level_without_a_partner_compares_nothing() -> None:
    cells = [("0", "0", "off"), ("0", "1", "off"), ("1", "2", "off"), ("0", "0", "on")]
    compared = compared_cells(table(cells), response="accuracy", factors=FACTORS, cell="cell", within=["tta"])
    assert ("a", "1") not in compared and ("b", "2") not in compared and ("b", "1") in compared
