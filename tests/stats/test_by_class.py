"""Effects on single classes: one family over all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sota_bench.stats import analyze
from sota_bench.stats.by_class import effects_by_class

FACTORS = {"a": ["off", "on"], "b": ["0", "1"]}


def simulated(gain: float, rng: np.random.Generator) -> tuple[pd.DataFrame, dict[str, dict[str, np.ndarray]]]:
    """Recalls of four classes with 60 images each; ``a`` changes that of the last class alone by ``gain`` points."""
    rows, images = [], {f"recall:{name}": {} for name in "wxyz"}
    hard = rng.random((4, 60))
    for seed in range(4):
        for a in FACTORS["a"]:
            for b in FACTORS["b"]:
                name = f"{a}{b}-{seed}"
                row = {"trial": name, "seed": seed, "a": a, "b": b}
                for number, column in enumerate(images):
                    chance = 0.7 + gain / 100 * (a == "on" and number == 3)
                    right = 0.8 * hard[number] + 0.2 * rng.random(60) < chance
                    images[column][name] = 100.0 * right
                    row[column] = 100.0 * right.mean()
                rows.append(row)
    return pd.DataFrame(rows), images


def test_each_row_is_that_of_an_analysis_of_its_class_and_holm_counts_all() -> None:
    table, images = simulated(20.0, np.random.default_rng(0))
    by_class = effects_by_class(table, images, factors=FACTORS)
    assert list(by_class) == list(images)
    p = []
    for column, rows in by_class.items():
        alone = analyze(table, response=column, factors=FACTORS, predictions=images[column], unit="pp").headlines()
        for row, other in zip(rows, alone, strict=True):
            assert (row.estimate, row.low, row.high, row.p) == pytest.approx(
                (other.estimate, other.low, other.high, other.p)
            )
            assert row.family_size == 8
            p.append(row.p)
    smallest = min(p)
    flat = [row for rows in by_class.values() for row in rows]
    assert next(row.p_holm for row in flat if row.p == smallest) == pytest.approx(8 * smallest)
    assert by_class["recall:z"][0].verdict == "helps" and by_class["recall:w"][0].verdict == "no detectable effect"


def test_false_claims_are_rare_over_all_classes() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(60):
        table, images = simulated(0.0, rng)
        by_class = effects_by_class(table, images, factors=FACTORS)
        wrong += any(row.verdict in ("helps", "hurts") for rows in by_class.values() for row in rows)
    assert wrong <= 8, "5% of 60 families are 3; more than 8 come with a probability of 0.4%"
