"""Bins of several runs together, and learning curves that have levelled off."""

from __future__ import annotations

import pandas as pd
import pytest

from sota_bench.stats.curves import last_epoch
from sota_bench.stats.reliability import pool_bins


def test_bins_are_weighted_by_their_images() -> None:
    rows = [("a", 0.0, 0.5, 30, 0.4, 0.5), ("a", 0.0, 0.5, 10, 0.2, 0.1), ("a", 0.5, 1.0, 0, 0.0, 0.0),
            ("b", 0.5, 1.0, 5, 0.9, 1.0)]  # fmt: skip
    bins = pd.DataFrame(rows, columns=["level", "low", "high", "count", "confidence", "accuracy"])
    pooled = pool_bins(bins, "level")
    assert pooled[["level", "low", "count"]].to_numpy().tolist() == [["a", 0.0, 40], ["b", 0.5, 5]]
    assert pooled["confidence"].tolist() == pytest.approx([0.35, 0.9])
    assert pooled["accuracy"].tolist() == pytest.approx([0.4, 1.0])


@pytest.mark.parametrize(
    ("losses", "levelled", "falling"),
    [([2.0, 1.1, 1.0], False, True), ([2.0, 1.005, 1.0], True, False), ([2.0, 1.0, 1.2], False, False)],
)
def test_a_loss_has_levelled_off_where_the_last_epoch_brought_next_to_nothing(
    losses: list[float], levelled: bool, falling: bool
) -> None:
    last = last_epoch(pd.DataFrame({"epoch": range(3), "loss": losses}))
    assert last is not None
    assert (last.levelled_off, last.still_falling) == (levelled, falling)
    assert last.percent == pytest.approx(100 * (1 - losses[2] / losses[1]))


def test_two_epochs_or_a_rising_loss_say_nothing() -> None:
    assert last_epoch(pd.DataFrame({"epoch": [0, 1], "loss": [2.0, 1.0]})) is None
    assert last_epoch(pd.DataFrame({"epoch": [0, 1, 2], "loss": [1.0, 1.0, 2.0]})) is None
