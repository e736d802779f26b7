"""The study of false verdicts: its scenarios are what they say, and its committed results reach what was promised."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "false_verdicts.json"


def test_contrasts_compare_and_noises_are_as_named(imported: Callable[[str], ModuleType]) -> None:
    study = imported("false_verdicts")
    rng = np.random.default_rng(0)
    for design in study.designs():
        assert np.allclose(design.weights.sum(axis=1), 0)
        for noise in design.noises:
            y, means = study.draw(design, noise, 5, 400, rng)
            y = y - y.mean(axis=2, keepdims=True) if noise.endswith("noisy") else y
            spread = (y - y.mean(axis=1, keepdims=True)).std(axis=(0, 1))
            last = int(design.level.max())
            at = design.level == {"first": 0, "middle": (last + 1) // 2}.get(noise.split()[0], last)
            if noise.endswith("noisy") and last > 1:
                assert spread[at].min() > 1.5 * spread[~at].max()
            elif noise.endswith("chance"):
                assert spread[at].max() < 0.01 < spread[~at].min()
            elif noise == "grows with the mean":
                assert np.corrcoef(means, spread)[0, 1] > 0.9
            elif not noise.endswith("noisy"):
                assert spread.max() < 1.3 * spread.min() and not means.any()


def test_the_committed_results_hold_every_scenario_and_its_limits(imported: Callable[[str], ModuleType]) -> None:
    study = imported("false_verdicts")
    scenarios = [study.Scenario(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))["scenarios"]]
    expected = {(d.title, noise, seeds) for d in study.designs() for noise in d.noises for seeds in study.SEEDS}
    assert {(row.design, row.noise, row.seeds) for row in scenarios} == expected
    for row in scenarios:
        assert row.tables >= 4000
        assert not {"wrong", "power"} & set(study.misses(row)), row
