"""What sections ask of a run: cells, the best of them, the front, and means of like with like."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import FACTORS, synthetic

from sota_bench.report.answers import answers_of
from sota_bench.report.rows import TrialRow, to_frame
from sota_bench.report.sections import resolution
from sota_bench.report.tables import RunTables
from sota_bench.report.view import View

NESTED = {"lr": ["0.1", "0.01"], "resize": ["128x5", "64x3 128x2"]}


def view_of(cells: list[tuple[str, str, float]], seeds: int = 2) -> View:
    """A view of cells given as (lr, resize, accuracy), the same for each seed."""
    rows = [
        TrialRow(
            trial=f"c{index}-s{seed}",
            cell=f"c{index}",
            levels={"lr": lr, "resize": resize},
            seed=seed,
            status="done",
            accuracy=accuracy + seed,
        )
        for (index, (lr, resize, accuracy)), seed in itertools.product(enumerate(cells), range(seeds))
    ]
    tables = synthetic(seeds=2, factors={"mixup": ["0.0", "0.2"]})
    run = replace(tables.run, grid=replace(tables.run.grid, factors=NESTED), within=[])
    tables = replace(tables, run=run, trials=to_frame(rows, TrialRow))
    return View(tables, answers_of(tables))


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (
            [("0.1", "128x5", 80.0), ("0.1", "64x3 128x2", 70.0), ("0.01", "64x3 128x2", 72.0)],
            "Mean over settings with resize 64x3 128x2, where all compared levels were measured.",
        ),
        (
            [("0.1", "128x5", 80.0), ("0.1", "64x3 128x2", 70.0), ("0.01", "128x5", 81.0)],
            "Mean with resize at its baseline, where all compared levels were measured.",
        ),
        ([(lr, resize, 70.0) for lr in NESTED["lr"] for resize in NESTED["resize"]],
         "Mean over the other factors and seeds."),
        (
            [("0.1", "128x5", 80.0), ("0.01", "64x3 128x2", 70.0)],
            "Mean with resize at its baseline, where all compared levels were measured. Not shown, because no setting "
            "has it beside the others: 0.01.",
        ),
    ],
)  # fmt: skip
def test_a_caption_says_over_what_a_mean_is_taken(cells: list[tuple[str, str, float]], says: str) -> None:
    view = view_of(cells)
    assert view.averaged_over(view.balanced(view.done, ["lr"], ["lr"])) == says


def test_minutes_are_a_range_over_seeds_and_never_below_zero(tables: RunTables) -> None:
    """Two seeds of which one took far longer: an interval around their mean would begin below 0."""
    trials = tables.trials.copy()
    cell = trials["cell"] == "c00"
    trials.loc[cell, "minutes"] = np.linspace(0.1, 9.0, int(cell.sum()))
    changed = replace(tables, trials=trials)
    row = View(changed, answers_of(changed)).cells.loc["c00"]
    assert (row["minutes_low"], row["minutes_high"]) == (0.1, 9.0)
    assert (View(changed, answers_of(changed)).cells["minutes_low"] > 0).all()


def test_the_front_is_beaten_by_no_cell(tables: RunTables, analysis: Any) -> None:
    view = View(tables, analysis)
    front = view.cells.loc[view.front]
    assert front["minutes"].is_monotonic_increasing and front["accuracy"].is_monotonic_increasing
    for _, cell in view.cells.drop(front.index).iterrows():
        assert ((front["minutes"] <= cell["minutes"]) & (front["accuracy"] >= cell["accuracy"])).any()


def test_accuracies_on_other_images_are_not_ranked(tables: RunTables) -> None:
    trials = tables.trials.copy()
    best = View(tables, answers_of(tables)).cells.index[0]
    trials.loc[trials["cell"] == best, "judged_on"] = "fedcba987654"
    changed = replace(tables, trials=trials)
    view = View(changed, answers_of(changed))
    assert best in view.cells.index
    assert best not in view.comparable_cells.index and best not in view.front and best not in view.best


def test_evaluations_with_and_without_augmentation_are_told_apart() -> None:
    tables = synthetic(seeds=2, factors={"resize": FACTORS["resize"], "tta": ["false", "true"]})
    view = View(tables, answers_of(tables))
    section = resolution.section(view)
    assert section is not None
    table: Any = section.blocks[0]
    shown = {(row[0], row[1], row[2]): row[3].order for row in table.table.rows}
    assert {views for _, views, _ in shown} == {"off", "flip"}
    done = tables.evaluations.merge(tables.trials[["trial", "resize", "seed", "tta"]], on="trial", suffixes=("", "_of"))
    part = done[
        (done["tta"] == "off") & (done["size"] == 64) & (done["resize"] == "128x5") & (done["tta_of"] == "false")
    ]
    assert shown["128x5", "off", "64 px"] == pytest.approx(part["accuracy"].mean())


def test_two_seeds_get_no_interval_of_one_degree_of_freedom() -> None:
    """With one training cell and two seeds t is 12.7: such an interval would be wider than all accuracies."""
    tables = synthetic(seeds=2, factors={"tta": ["false", "true"]})
    cells = View(tables, answers_of(tables)).cells
    assert cells[["value_low", "value_high"]].isna().all(axis=None)
    frame = pd.DataFrame(View(tables, answers_of(tables)).done)
    assert frame["seed"].nunique() == 2
