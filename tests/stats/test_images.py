"""Images that change, against McNemar's published example and the binomial test."""

import numpy as np
import pytest
from scipy.stats import binomtest

from sota_bench.stats.images import changed_images


def pair(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def test_mcnemar_is_the_binomial_test_on_changed_images() -> None:
    """Agresti's approval ratings (R: mcnemar.test, 794, 150, 86, 570): the exact version of a p of 3.8e-05."""
    changed = changed_images(*pair(794, 150, 86, 570))
    assert (changed.gained, changed.lost) == (86, 150)
    assert changed.p == pytest.approx(binomtest(86, 236).pvalue)
    assert changed.p == pytest.approx(3.7e-05, rel=0.1)
    assert changed_images(*pair(10, 0, 0, 5)) == (0, 0, 1.0)


def test_shapes_must_agree() -> None:
    for sizes in ((3, 4), (0, 0)):
        with pytest.raises(ValueError, match="one shape"):
            changed_images(*(np.ones(size, bool) for size in sizes))
