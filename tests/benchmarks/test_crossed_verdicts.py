"""Simulated tables of seeds and images have the components that their scenarios name, and the study counts right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sota_bench.stats.crossed import ImageScores, image_error

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "crossed_verdicts.json"


@pytest.fixture
def study(imported: Callable[[str], ModuleType]) -> ModuleType:
    return imported("crossed_verdicts")


@pytest.mark.parametrize("component", [0.0, 0.6])
def test_images_add_what_the_scenario_says(study: ModuleType, component: float) -> None:
    design = study.DESIGNS[0]
    spread = study.spread_of_margins(component)
    values, accuracy = study.draw(design, spread, 0.0, 5, np.random.default_rng(0))
    found = image_error(ImageScores(values, np.ones(values.shape[1:3], dtype=bool)), design.weights)
    assert np.sqrt(max(found.variance.mean(), 0)) == pytest.approx(component, abs=0.08)
    assert np.ptp(accuracy) == pytest.approx(0, abs=1e-6), "no cell is better over all images"


def test_the_true_accuracies_are_those_of_the_tables(study: ModuleType) -> None:
    for design in study.DESIGNS:
        rng = np.random.default_rng(1)
        values, accuracy = study.draw(design, study.spread_of_margins(0.3), study.EFFECT, 5, rng)
        off = values.mean(axis=(0, 1, 3), dtype=float) - accuracy
        assert np.abs(off).max() < (4 if design.noisy is not None else 1.5), design.title


def test_intervals_over_seeds_alone_are_wrong_where_images_decide(study: ModuleType) -> None:
    """20 seeds, images that add 0.6 points: many families are wrong over seeds alone, few over seeds and images."""
    sums, rng = study._Sums(), np.random.default_rng(2)
    design, spread = study.DESIGNS[5], study.spread_of_margins(0.6)
    for _ in range(4):
        sums.add(design, *study.draw(design, spread, 0.0, 20, rng))
    scenario = study._scenario(design, 0.6, 20, 0.0, sums, 4)
    assert scenario.wrong_these_images > 0.15 > scenario.wrong and scenario.coverage > 0.88
    assert scenario.tables == 4 * study.AT_ONCE and scenario.wrong_low <= scenario.wrong <= scenario.wrong_high
    assert not study.missed(scenario)


def test_the_committed_results_hold_every_scenario_and_its_limit(study: ModuleType) -> None:
    scenarios = [study.Scenario(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))["scenarios"]]
    found = {(row.design, row.component, row.seeds, row.effect) for row in scenarios}
    assert found == {
        (design.title, component, seeds, effect)
        for design in study.DESIGNS
        for component in study.COMPONENTS
        for seeds in study.SEEDS
        for effect in (0.0, study.EFFECT)
    }
    assert not [row for row in scenarios if study.missed(row) or row.tables < 1000]
