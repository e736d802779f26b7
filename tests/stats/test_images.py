"""Uncertainty over images, against McNemar's published example, hand computation and simulated coverage."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from sota_bench.stats import image_uncertainty, mcnemar


def pair(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def test_mcnemar_is_the_binomial_test_on_changed_images() -> None:
    """Agresti's approval ratings (R: mcnemar.test, 794, 150, 86, 570): the exact version of a p of 3.8e-05."""
    p = mcnemar(*pair(794, 150, 86, 570))
    assert p == pytest.approx(binomtest(86, 236).pvalue)
    assert p == pytest.approx(3.7e-05, rel=0.1)
    assert mcnemar(*pair(10, 0, 0, 5)) == 1.0


def test_one_run_is_agresti_and_mins_interval() -> None:
    """Wald + 2: half a count in each cell, then the Wald interval; computed here from the four counts."""
    both, only_a, only_b, neither = 794, 150, 86, 570
    uncertainty = image_uncertainty(*pair(both, only_a, only_b, neither))
    n, lost, gained = both + only_a + only_b + neither + 2, only_a + 0.5, only_b + 0.5
    centre = (gained - lost) / n
    half = norm.ppf(0.975) * np.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
    assert (uncertainty.low, uncertainty.high) == (
        pytest.approx(100 * (centre - half)),
        pytest.approx(100 * (centre + half)),
    )
    assert uncertainty.estimate == pytest.approx(-4.0)
    assert (uncertainty.gained, uncertainty.lost, uncertainty.images, uncertainty.runs) == (86, 150, 1600, 1)
    assert uncertainty.p == mcnemar(*pair(both, only_a, only_b, neither))


def test_unchanged_predictions_keep_a_width() -> None:
    uncertainty = image_uncertainty(*pair(90, 0, 0, 10))
    assert uncertainty.estimate == 0 and uncertainty.low < 0 < uncertainty.high


def test_several_runs_are_averaged_per_image() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 500)) < 0.6, rng.random((3, 500)) < 0.65
    uncertainty = image_uncertainty(a, b)
    assert uncertainty.estimate == pytest.approx(100 * (b.mean() - a.mean()))
    assert (uncertainty.runs, uncertainty.p) == (3, None)
    assert uncertainty.se == pytest.approx(100 * (b.astype(float) - a).mean(0).std() / np.sqrt(500), rel=0.02)


@pytest.mark.parametrize("runs", [1, 3])
def test_coverage_over_images(runs: int) -> None:
    """Images have their own difficulty and their own gain; the truth is the mean over all images."""
    rng = np.random.default_rng(runs)
    covered = 0
    for _ in range(1500):
        p = rng.beta(2, 1, size=300)
        a, b = rng.random((runs, 300)) < p, rng.random((runs, 300)) < np.clip(p + 0.03 * p * (1 - p) * 6, 0, 1)
        uncertainty = image_uncertainty(a, b)
        covered += uncertainty.low <= 100 * 0.03 * 6 * (2 / 3 - 1 / 2) <= uncertainty.high
    assert 0.935 <= covered / 1500 <= 0.968


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        image_uncertainty(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="one shape"):
        image_uncertainty(np.ones(0, bool), np.ones(0, bool))
