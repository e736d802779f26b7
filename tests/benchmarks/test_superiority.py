"""The simulation of the probability of superiority: its truth, and when a scenario misses."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import norm


def test_the_simulated_truth_is_the_share_of_fresh_runs(imported: Callable[[str], ModuleType]) -> None:
    study = imported("superiority")
    table = study.simulate(2, 1, 4000, 1.0, 1.0, np.random.default_rng(2))
    wide = table.pivot(index="seed", columns="a", values="y")
    assert (wide[1] > wide[0]).mean() == pytest.approx(norm.cdf(1 / 3**0.5), abs=0.02)


@pytest.mark.parametrize(
    ("covered", "gain_spread", "missed"), [(0.95, 0.0, False), (0.91, 0.0, True), (0.91, 1.0, False)]
)
def test_a_scenario_misses_beyond_the_error_of_the_simulation(
    imported: Callable[[str], ModuleType], covered: float, gain_spread: float, missed: bool
) -> None:
    scenario = imported("superiority").Scenario(2, 1, 3, 1.0, gain_spread, 0.76, 2000, covered, 0.76)
    assert scenario.missed is missed
