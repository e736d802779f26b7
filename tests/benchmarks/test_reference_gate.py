"""The simulation of the comparison with reference runs: it uses what `verify` uses, and its committed results hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sota_bench.stats.convergence import AGREES, compare_with_reference

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "reference_gate.json"


@pytest.mark.parametrize("shift", [0.0, -11.0, 11.0])
def test_it_decides_as_verify_does(imported: Callable[[str], ModuleType], shift: float) -> None:
    study, rng = imported("reference_gate"), np.random.default_rng(1)
    reference, run = (study.accuracies("normal", 60, 3, seeds, rng) for seeds in (8, 3))
    run[:, 0] += shift
    decided = [
        any(
            comparison.outcome != AGREES
            for comparison in compare_with_reference(
                [*cells, cells.mean(axis=0)], [*known, known.mean(axis=0)], study.MARGIN_PP
            )
        )
        for cells, known in zip(run, reference, strict=True)
    ]
    assert list(study.fails(run, reference, study.MARGIN_PP)) == decided
    assert 0 < sum(decided) < 60 if shift else not any(decided)


@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_noises_have_the_spread_that_is_stated(imported: Callable[[str], ModuleType], noise: str) -> None:
    study = imported("reference_gate")
    values = study.accuracies(noise, 20_000, 2, 3, np.random.default_rng(0))
    assert abs(values.mean()) < 0.05 and abs(values.std() - study.SPREAD_PP) < 0.05
    assert abs(np.corrcoef(values[:, 0, 0], values[:, 1, 0])[0, 1] - 0.5) < 0.05


def test_the_committed_results_hold_every_scenario_and_its_promise(imported: Callable[[str], ModuleType]) -> None:
    study = imported("reference_gate")
    scenarios = [study.Scenario(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))["scenarios"]]
    assert len(scenarios) == 3 * len(study.CELLS) * len(study.REFERENCES) * len(study.SEEDS) * len(study.NOISES)
    for scenario in scenarios:
        assert scenario.runs >= 10_000
        assert study.reached(scenario) or not study.must_hold(scenario), scenario
