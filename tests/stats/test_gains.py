"""The mean gain of each cell over the baseline, which winners are chosen by."""

from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from sota_bench.ship.choose import choose, chosen_cell
from sota_bench.stats.gains import mean_gains

SEEDS = {"c0": {0: 50.0, 1: 60.0, 2: 90.0}, "c1": {0: 52.0, 1: 62.0}, "c2": {0: 50.0, 1: 60.0, 2: 91.0}}
"""The third seed is a lucky one for all cells, and the best cell was not asked to run it."""


def trials(**changed: object) -> pd.DataFrame:
    rows = [
        {"trial": f"{cell}-s{seed}", "cell": cell, "seed": seed, "accuracy": accuracy, "status": "done"}
        for cell, values in SEEDS.items()
        for seed, accuracy in values.items()
    ]
    return pd.DataFrame(rows).assign(judged_on="these", **changed)


def test_seeds_that_only_some_cells_have_favour_none() -> None:
    gains = mean_gains(trials(), "accuracy", "c0")
    assert gains.to_dict() == pytest.approx({"c0": 0.0, "c1": 2.0, "c2": 1 / 3})
    assert choose(trials(), "best") == "c1-s1"


def test_a_response_that_is_better_when_lower_gains_by_falling() -> None:
    table = trials().rename(columns={"accuracy": "nll"})
    assert mean_gains(table, "nll", "c0", higher_is_better=False)["c1"] == pytest.approx(-2.0)


def test_unfinished_cells_and_other_images_are_left_out() -> None:
    table = trials()
    table.loc[table["trial"] == "c1-s1", "status"] = "failed"
    table.loc[table["cell"] == "c2", "judged_on"] = "others"
    assert list(mean_gains(table, "accuracy", "c0").index) == ["c0"]
    table.loc[table["trial"] == "c0-s0", "status"] = "failed"
    assert mean_gains(table, "accuracy", "c0").empty


def test_the_promoted_cell_is_the_best_by_the_response_of_the_grid() -> None:
    table = trials(nll=lambda rows: rows["accuracy"])  # so the most accurate cell has the worst one
    tables = cast(Any, SimpleNamespace(trials=table, run=SimpleNamespace(confirmation=None)))
    chosen = {}
    for response in ("accuracy", "nll"):
        grid = cast(
            Any, SimpleNamespace(response=(response,), cells=lambda: [SimpleNamespace(id=cell) for cell in SEEDS])
        )
        chosen[response] = chosen_cell(grid, tables, None).id
    assert chosen == {"accuracy": "c1", "nll": "c0"}
