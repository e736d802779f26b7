"""The study of fractional designs: its truths are what they say, and its committed results reach what was promised."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "fractional.json"


def test_without_noise_every_estimate_is_the_true_effect(imported: Callable[[str], ModuleType]) -> None:
    study = imported("fractional")
    for question in study.questions():
        means = study.true_means(question.runs, study.TRUTHS[1])
        true = question.meant @ study.true_means(question.combinations, study.TRUTHS[1])
        assert np.abs(true).max() > 1
        assert np.allclose(question.weights @ means, true), question.title


def test_the_committed_results_hold_every_scenario_and_reach_its_limits(
    imported: Callable[[str], ModuleType],
) -> None:
    study = imported("fractional")
    scenarios = [study.Scenario(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))["scenarios"]]
    asked = {(q.title, truth, noise, seeds) for q in study.questions() for truth in study.TRUTHS
             for noise in study.NOISES for seeds in study.SEEDS}  # fmt: skip
    told = {(row.design, row.truth, row.noise, row.seeds) for row in scenarios}
    assert asked < told and len(told) == len(asked) + 2 * len(study.NOISES) * len(study.SEEDS)
    assert not [row for row in scenarios if study.misses(row)]
    assert all(row.tables >= 4000 for row in scenarios if not row.design.startswith("second step"))
