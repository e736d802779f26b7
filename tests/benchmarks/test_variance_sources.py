"""The study of the sources of variance: what it takes from a table of trials, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pandas as pd
import pytest


def test_spreads_of_accuracies_and_of_paired_differences(imported: Callable[[str], ModuleType]) -> None:
    """Seeds move both cells by 2 points and each cell by 0.5: a difference has none of what they share."""
    study, rng = imported("variance_sources"), np.random.default_rng(5)
    shared = rng.normal(0, 2, 400)
    rows = [
        {"seed": seed, "cell": cell, "accuracy": 60 + shift + rng.normal(0, 0.5)}
        for seed, shift in enumerate(shared)
        for cell in ("c0", "c1")
    ]
    varied = study.spreads(pd.DataFrame(rows), ("init",))
    assert varied.seeds == 400
    assert varied.accuracy.sd == pytest.approx((4 + 0.25) ** 0.5, rel=0.1)
    assert varied.difference.sd == pytest.approx(0.5**0.5, rel=0.1)
    assert varied.difference.low < 0.5**0.5 < varied.difference.high


def test_the_interval_of_a_spread_covers(imported: Callable[[str], ModuleType]) -> None:
    study, rng = imported("variance_sources"), np.random.default_rng(6)
    samples = rng.normal(0, 3, (2000, 8))
    spreads = [study.Spread.of(float(row.var(ddof=1)), 7) for row in samples]
    assert np.mean([spread.low <= 3 <= spread.high for spread in spreads]) == pytest.approx(0.95, abs=0.02)


def test_shares_are_of_the_variance_with_all_sources(imported: Callable[[str], ModuleType]) -> None:
    study = imported("variance_sources")
    one, whole = study.Spread(1.0, 0.8, 1.3), study.Spread(2.0, 1.6, 2.6)
    lines = study.page([study.Varied(("order",), 6, one, one), study.Varied(study.ALL, 6, whole, one)])
    assert any("the order of the training images" in line and "25%" in line and "100%" in line for line in lines)
    assert any("all of them" in line for line in lines)
