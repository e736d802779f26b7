"""Rows that are averaged side by side: like with like, also where a grid is nested or varies one factor at a time."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

from sota_bench.stats.balance import balanced_rows

FACTORS = {"lr": ["0.1", "0.01"], "resize": ["128x5", "64x3 128x2"]}


def trials(cells: list[tuple[str, str, float]], seeds: int = 2) -> pd.DataFrame:
    """Trials of cells given as (lr, resize, accuracy); each seed adds its own number of points."""
    return pd.DataFrame(
        [
            {"lr": lr, "resize": resize, "seed": seed, "accuracy": accuracy + seed}
            for (lr, resize, accuracy), seed in itertools.product(cells, range(seeds))
        ]
    )


def test_a_nested_level_is_compared_where_it_exists() -> None:
    """The low rate exists on the rising schedule alone, which costs 10 points: it gains 2 there, not loses 3."""
    frame = trials([("0.1", "128x5", 80.0), ("0.1", "64x3 128x2", 70.0), ("0.01", "64x3 128x2", 72.0)])
    balanced = balanced_rows(frame, ["lr"], FACTORS, ["lr"])
    means = balanced.rows.groupby("lr")["accuracy"].mean()
    assert means["0.01"] - means["0.1"] == pytest.approx(2.0)
    assert balanced.averaged == ("resize",)
    assert balanced.restricted == {"resize": ("64x3 128x2",)}
    assert balanced.lost_levels and not balanced.complete


def test_one_factor_at_a_time_is_compared_at_the_baseline() -> None:
    frame = trials([("0.1", "128x5", 80.0), ("0.1", "64x3 128x2", 70.0), ("0.01", "128x5", 81.0)])
    balanced = balanced_rows(frame, ["lr"], FACTORS, ["lr"])
    assert balanced.restricted == {"resize": ("128x5",)}


def test_a_full_factorial_keeps_all_and_a_gap_leaves_its_pair_out() -> None:
    frame = trials([(lr, resize, 70.0) for lr in FACTORS["lr"] for resize in FACTORS["resize"]])
    balanced = balanced_rows(frame, ["lr"], FACTORS, ["lr"])
    assert len(balanced.rows) == 8 and balanced.complete and not balanced.lost_levels
    gap = balanced_rows(frame.drop(index=0), ["lr"], FACTORS, ["lr"])
    assert len(gap.rows) == 6 and not gap.complete and not gap.lost_levels


def test_levels_without_a_common_setting_are_named() -> None:
    frame = trials([("0.1", "128x5", 80.0), ("0.01", "64x3 128x2", 70.0)])
    balanced = balanced_rows(frame, ["lr"], FACTORS, ["lr"])
    assert set(balanced.rows["lr"]) == {"0.1"}
    assert balanced.left_out == (("0.01",),)
