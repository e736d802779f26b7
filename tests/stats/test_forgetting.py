"""Forgetting, backward transfer and plasticity, by hand and beside another library's numbers."""

import numpy as np
import pytest

from sota_bench.stats import forgetting

MATRIX = [[92.0, 10.0, 12.0, 9.0], [80.0, 90.0, 15.0, 11.0], [84.0, 70.0, 88.0, 20.0], [60.0, 75.0, 81.0, 85.0]]


def test_four_tasks_by_hand() -> None:
    found = forgetting(MATRIX)
    assert found.average == pytest.approx((60 + 75 + 81 + 85) / 4)
    assert found.backward_transfer == pytest.approx(((60 - 92) + (75 - 90) + (81 - 88)) / 3)
    assert found.forgetting == pytest.approx((32 + 15 + 7) / 3)
    assert found.stability == pytest.approx((60 + 75 + 81) / 3)
    assert found.learning_accuracy == pytest.approx((92 + 90 + 88 + 85) / 4)
    assert found.plasticity == 85
    assert found.by_task == pytest.approx((32, 15, 7, None))


def test_the_same_matrix_in_avalanche() -> None:
    """avalanche-lib 0.6.0 on MATRIX gave forgetting {0: 32, 1: 15, 2: 7} and BWT {0: -32, 1: -15, 2: -7}.

    Command: ``m = Forgetting()`` (and ``BWT()``) of avalanche.evaluation.metrics.forgetting_bwt, then
    ``m.update(k, R[k][k], initial=True)`` for every k, ``m.update(k, R[3][k])`` for k < 3, ``m.result()``. Its
    forgetting is the first value minus the last one; here every task is at its best when just learned, so that the
    two definitions agree.
    """
    found = forgetting(MATRIX)
    assert found.by_task[:3] == pytest.approx((32.0, 15.0, 7.0))
    assert found.backward_transfer == pytest.approx(np.mean([-32.0, -15.0, -7.0]))


def test_forgetting_counts_from_the_best_and_backward_transfer_from_the_first() -> None:
    found = forgetting([[50.0, 0.0, 0.0], [70.0, 60.0, 0.0], [65.0, 62.0, 40.0]])
    assert found.by_task == pytest.approx((5.0, -2.0, None))
    assert found.backward_transfer == pytest.approx((15 + 2) / 2)


def test_two_phases_measured_at_two_resolutions() -> None:
    found = forgetting([[80.0, 55.0], [72.0, 84.0]])
    assert (found.forgetting, found.plasticity, found.stability) == (8.0, 84.0, 72.0)


def test_tasks_and_phases_may_differ_in_number() -> None:
    """Three phases at 64, 64 and 128 pixels, two evaluation sizes; the large one is not measured before its phase."""
    found = forgetting([[70.0, np.nan], [75.0, np.nan], [60.0, 80.0]], learned=[0, 2])
    assert found.by_task == (15.0, None)
    assert found.backward_transfer == -10.0


def test_one_phase_forgets_nothing_and_says_so() -> None:
    found = forgetting([[70.0]])
    assert (found.forgetting, found.backward_transfer, found.stability) == (None, None, None)


@pytest.mark.parametrize(
    ("matrix", "learned"),
    [([70.0], None), ([[1.0, 2.0]], None), ([[1.0]], [1]), ([[1.0, 0.0], [np.nan, 2.0]], None), ([[1.0]], [0, 0])],
)
def test_matrices_that_do_not_fit(matrix: list[list[float]], learned: list[int] | None) -> None:
    with pytest.raises(ValueError, match=r"accuracy|learned"):
        forgetting(matrix, learned)
