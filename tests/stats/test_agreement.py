"""Agreement of two settings on the order of cells: exact cases, and the coverage of its interval by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sota_bench.stats.agreement import agreement


def concordance(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau by counting pairs, without ties."""
    pairs = itertools.combinations(range(len(first)), 2)
    signs = [np.sign(first[i] - first[j]) * np.sign(second[i] - second[j]) for i, j in pairs]
    return float(np.mean(signs))


def table(means: np.ndarray, noise: float, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Responses with an effect of each seed, which pairing takes out."""
    return means[:, None] + 5 * rng.standard_normal(seeds) + noise * rng.standard_normal((len(means), seeds))


def test_tau_is_the_share_of_pairs_in_order_less_those_out_of_order() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((7, 3)), rng.standard_normal((7, 3))
    comparison = agreement(first, second)
    assert comparison.tau == pytest.approx(concordance(first.mean(axis=1), second.mean(axis=1)))


def test_without_noise_the_interval_is_the_value() -> None:
    means = np.array([1.0, 2.0, 3.0, 4.0])
    rng = np.random.default_rng(1)
    reference = table(means, 1e-6, 3, rng)
    same = agreement(reference, table(means, 1e-6, 3, rng))
    assert (same.tau, same.low, same.high, same.clear, same.reversed) == (1.0, 1.0, 1.0, 6, 0)
    assert same.keeps_order
    swapped = agreement(reference, table(means[[1, 0, 2, 3]], 1e-6, 3, rng))
    assert [swapped.tau, swapped.low, swapped.high] == pytest.approx([4 / 6] * 3)
    assert (swapped.clear, swapped.reversed, swapped.keeps_order) == (6, 1, False)


def test_where_seeds_order_nothing_nothing_is_claimed() -> None:
    rng = np.random.default_rng(2)
    comparison = agreement(rng.standard_normal((4, 2)) * 0.01, rng.standard_normal((4, 2)) * 0.01)
    assert (comparison.low, comparison.high) == (-1.0, 1.0) or comparison.clear > 0
    assert not agreement(np.ones((3, 3)), np.ones((3, 3))).keeps_order


def test_a_setting_where_no_cell_learns_turns_nothing_and_keeps_nothing() -> None:
    reference = table(np.array([1.0, 2.0, 3.0]), 0.01, 3, np.random.default_rng(3))
    comparison = agreement(reference, np.full((3, 3), 10.0))
    assert (comparison.clear, comparison.kept, comparison.reversed, comparison.keeps_order, comparison.word) == (
        3,
        0,
        0,
        False,
        "undecided",
    )


@pytest.mark.parametrize("cells", [2, 4])
def test_noise_is_not_taken_for_an_order(cells: int) -> None:
    rng = np.random.default_rng(4)
    reference = table(np.where(np.arange(cells) == 0, 9.0, 0.0), 0.01, 3, rng)
    tries = [agreement(reference, rng.standard_normal((cells, 3))) for _ in range(400)]
    assert all(one.clear >= cells - 1 for one in tries)
    assert np.mean([one.keeps_order for one in tries]) <= 0.02


def test_one_seed_gives_no_interval_and_one_cell_no_order() -> None:
    comparison = agreement(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]]))
    assert (comparison.tau, comparison.low, comparison.high, comparison.keeps_order) == (1.0, None, None, False)
    assert agreement(np.ones((1, 3)), np.ones((1, 3))).tau is None


def test_incomplete_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="missing"):
        agreement(np.array([[1.0, np.nan], [1.0, 2.0]]), np.ones((2, 2)))
    with pytest.raises(ValueError, match="same cells"):
        agreement(np.ones((2, 2)), np.ones((3, 2)))


@pytest.mark.parametrize("cells", [4, 16])
@pytest.mark.parametrize("spread", [0.5, 5.0])
@pytest.mark.parametrize("correlation", [1.0, 0.7, 0.0])
def test_the_interval_covers_the_true_agreement(cells: int, spread: float, correlation: float) -> None:
    rng = np.random.default_rng([cells, int(10 * spread), int(10 * correlation)])
    covered, tries = 0, 300
    for _ in range(tries):
        first = spread * rng.standard_normal(cells)
        second = correlation * first + np.sqrt(1 - correlation**2) * spread * rng.standard_normal(cells)
        comparison = agreement(table(first, 1.0, 3, rng), table(second, 1.0, 3, rng))
        assert comparison.low is not None and comparison.high is not None
        covered += comparison.low - 1e-9 <= concordance(first, second) <= comparison.high + 1e-9
    assert covered / tries >= 0.95


def test_the_interval_narrows_with_the_signal() -> None:
    rng = np.random.default_rng(5)
    means = rng.standard_normal(8)

    def width(spread: float) -> float:
        comparison = [
            agreement(table(spread * means, 1.0, 3, rng), table(spread * means, 1.0, 3, rng)) for _ in range(40)
        ]
        return float(np.mean([(one.high or 0.0) - (one.low or 0.0) for one in comparison]))

    assert width(10.0) < 0.7 * width(3.0) < width(1.0)
