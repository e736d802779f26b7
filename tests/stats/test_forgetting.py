"""Forgetting, backward transfer and plasticity, by hand and beside another library's numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sota_bench.stats import forgetting

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "references" / "avalanche_forgetting.json").read_text()
)["matrices"]

MATRIX = [[92.0, 10.0, 12.0, 9.0], [80.0, 90.0, 15.0, 11.0], [84.0, 70.0, 88.0, 20.0], [60.0, 75.0, 81.0, 85.0]]


def test_four_tasks_by_hand() -> None:
    scores = forgetting(MATRIX)
    assert scores.average == pytest.approx((60 + 75 + 81 + 85) / 4)
    assert scores.backward_transfer == pytest.approx(((60 - 92) + (75 - 90) + (81 - 88)) / 3)
    assert scores.forgetting == pytest.approx((32 + 15 + 7) / 3)
    assert scores.stability == pytest.approx((60 + 75 + 81) / 3)
    assert scores.learning_accuracy == pytest.approx((92 + 90 + 88 + 85) / 4)
    assert scores.plasticity == 85
    assert scores.by_task == pytest.approx((32, 15, 7, None))


@pytest.mark.parametrize("name", REFERENCE)
def test_the_same_matrices_in_avalanche(name: str) -> None:
    """Its forgetting is the first value minus the last, as backward transfer counts; Chaudhry's is the best minus the
    last, which is the same where every task is at its best when just learned."""
    theirs = REFERENCE[name]
    scores = forgetting(theirs["matrix"])
    assert scores.backward_transfer == pytest.approx(np.mean(theirs["backward_transfer"]))
    assert np.mean(theirs["forgetting"]) == pytest.approx(-np.mean(theirs["backward_transfer"]))
    tasks = range(len(theirs["forgetting"]))
    for task in tasks:
        column = [row[task] for row in theirs["matrix"]]
        later = max(column[task:-1]) - column[task]  # what a task gained after it was learned
        assert scores.by_task[task] == pytest.approx(theirs["forgetting"][task] + later)


def test_forgetting_counts_from_the_best_and_backward_transfer_from_the_first() -> None:
    scores = forgetting([[50.0, 0.0, 0.0], [70.0, 60.0, 0.0], [65.0, 62.0, 40.0]])
    assert scores.by_task == pytest.approx((5.0, -2.0, None))
    assert scores.backward_transfer == pytest.approx((15 + 2) / 2)


def test_two_phases_measured_at_two_resolutions() -> None:
    scores = forgetting([[80.0, 55.0], [72.0, 84.0]])
    assert (scores.forgetting, scores.plasticity, scores.stability) == (8.0, 84.0, 72.0)


def test_tasks_and_phases_may_differ_in_number() -> None:
    """Three phases at 64, 64 and 128 pixels, two evaluation sizes; the large one is not measured before its phase."""
    scores = forgetting([[70.0, np.nan], [75.0, np.nan], [60.0, 80.0]], learned=[0, 2])
    assert scores.by_task == (15.0, None)
    assert scores.backward_transfer == -10.0


def test_one_phase_forgets_nothing_and_says_so() -> None:
    scores = forgetting([[70.0]])
    assert (scores.forgetting, scores.backward_transfer, scores.stability) == (None, None, None)


@pytest.mark.parametrize(
    ("matrix", "learned"),
    [([70.0], None), ([[1.0, 2.0]], None), ([[1.0]], [1]), ([[1.0, 0.0], [np.nan, 2.0]], None), ([[1.0]], [0, 0])],
)
def test_matrices_that_do_not_fit(matrix: list[list[float]], learned: list[int] | None) -> None:
    with pytest.raises(ValueError, match=r"accuracy|learned"):
        forgetting(matrix, learned)
