"""Means that stand beside verdicts: like with like, also where a grid is nested or varies one factor at a time."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from synthetic import synthetic

from sota_bench.report.balance import alike
from sota_bench.report.output import analysis_of
from sota_bench.report.sections import forgetting, learning, resolution
from sota_bench.report.view import View

FACTORS = {"lr": ["0.1", "0.01"], "resize": ["128x5", "64x3 128x2"]}


def view_of(rows: list[tuple[str, str, float]], seeds: int = 2) -> View:
    """A view of cells given as (lr, resize, accuracy), the same for each seed."""
    trials = pd.DataFrame(
        [
            {
                "cell": f"c{place}",
                "lr": lr,
                "resize": resize,
                "seed": seed,
                "status": "done",
                "accuracy": accuracy + seed,
            }
            for (place, (lr, resize, accuracy)), seed in itertools.product(enumerate(rows), range(seeds))
        ]
    )
    tables: Any = synthetic(seeds=2, factors={"mixup": ["0.0", "0.2"]})
    run = {**tables.run, "grid": {**tables.run["grid"], "factors": FACTORS}, "within": []}
    return View(replace(tables, run=run, trials=trials), None)


def test_a_nested_level_is_compared_where_it_exists() -> None:
    """The low rate exists on the rising schedule alone, which costs 10 points: it gains 2 there, not loses 3."""
    view = view_of([("0.1", "128x5", 80.0), ("0.1", "64x3 128x2", 70.0), ("0.01", "64x3 128x2", 72.0)])
    kept = alike(view, view.done, ["lr"], ["lr"])
    means = kept.rows.groupby("lr")["accuracy"].mean()
    assert means["0.01"] - means["0.1"] == pytest.approx(2.0)
    assert kept.partial
    assert kept.words == "Mean over settings with resize 64x3 128x2, where all the levels compared were measured."


def test_one_factor_at_a_time_is_compared_at_the_baseline() -> None:
    view = view_of([("0.1", "128x5", 80.0), ("0.1", "64x3 128x2", 70.0), ("0.01", "128x5", 81.0)])
    kept = alike(view, view.done, ["lr"], ["lr"])
    assert set(kept.rows["resize"]) == {"128x5"}
    assert "with resize at its baseline" in kept.words


def test_a_full_factorial_keeps_all_and_a_gap_leaves_its_pair_out() -> None:
    cells = [(lr, resize, 70.0) for lr in FACTORS["lr"] for resize in FACTORS["resize"]]
    view = view_of(cells)
    assert len(alike(view, view.done, ["lr"], ["lr"]).rows) == 8
    gap = view.done.drop(index=0)
    assert len(alike(view, gap, ["lr"], ["lr"]).rows) == 6


def test_levels_without_a_common_setting_are_named() -> None:
    view = view_of([("0.1", "128x5", 80.0), ("0.01", "64x3 128x2", 70.0)])
    kept = alike(view, view.done, ["lr"], ["lr"])
    assert set(kept.rows["lr"]) == {"0.1"}
    assert kept.words.endswith("not shown, because no setting has them beside the others: 0.01.")


def test_views_are_told_apart_by_name() -> None:
    tables = synthetic(seeds=2, factors={"resize": FACTORS["resize"], "tta": ["false", "true"]})
    view = View(tables, analysis_of(tables))
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


def test_no_loss_is_not_called_a_change_for_the_worse() -> None:
    gained = pd.DataFrame({"64 px": [50.0, 55.3], "128 px": [40.0, 60.0]}, index=["phase 1", "phase 2"])
    lost = pd.DataFrame({"64 px": [50.0, 48.0], "128 px": [40.0, 60.0]}, index=["phase 1", "phase 2"])
    only = forgetting._matrix_finding([("all trials", gained)])
    assert only.endswith("no resolution lost accuracy; the smallest gain was +5.3 pp at 64 px.")
    both = forgetting._matrix_finding([("none", lost), ("ewc", gained)])
    assert both.endswith("the largest loss: none −2.0 pp at 64 px; nothing was lost with ewc.")


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ([2.0, 1.1, 1.0], "still fell by 9.1% in the last epoch"),
        ([2.0, 1.005, 1.0], "has levelled off in the cell shown"),
        ([2.0, 1.0, 1.2], "it rose in the last epoch of baseline"),
    ],
)
def test_a_loss_has_levelled_off_only_where_the_last_epoch_brought_next_to_nothing(
    losses: list[float], says: str
) -> None:
    part = pd.DataFrame({"epoch": range(3), "loss": losses, "seed": 0})
    assert says in learning._finding([("baseline", part)])
