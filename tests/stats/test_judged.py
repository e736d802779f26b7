"""Accuracies on different images are not compared: other classes are another task."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

from sota_bench.stats import analyze

FACTORS = {"classes": ["10", "5"], "mixup": ["0.0", "0.2"]}


def table(**judged: str) -> pd.DataFrame:
    """Mixup helps by 1 pp with 10 classes and by 3 pp with 5, which are 20 pp easier."""
    rows = []
    for classes, mixup, seed in itertools.product(*FACTORS.values(), range(4)):
        noise = (7 * seed + 3 * (mixup == "0.2") + 5 * (classes == "5")) % 11 / 50
        gain = (mixup == "0.2") * (3.0 if classes == "5" else 1.0)
        accuracy = 60 + 20 * (classes == "5") + gain + noise
        rows.append({"classes": classes, "mixup": mixup, "seed": seed, "accuracy": accuracy,
                     "judged_on": judged.get(f"c{classes}", "all")})  # fmt: skip
    return pd.DataFrame(rows)


def headline(analysis: object, factor: str) -> dict[str, object]:
    return next(row for row in analysis.headlines() if row["factor"] == factor)  # type: ignore[attr-defined]


def test_levels_that_are_judged_on_other_images_are_not_compared() -> None:
    analysis = analyze(table(c5="half"), response="accuracy", factors=FACTORS, judged="judged_on")
    row = headline(analysis, "classes")
    assert (row["verdict"], row["estimate"], row["p"]) == ("not estimable", None, None)
    assert "judged on different images" in str(row["reason"])
    assert any("2 different sets of images" in warning for warning in analysis.warnings)


def test_what_is_compared_inside_each_set_stays() -> None:
    apart = analyze(table(c5="half"), response="accuracy", factors=FACTORS, judged="judged_on")
    alike = analyze(table(), response="accuracy", factors=FACTORS, judged="judged_on")
    for name in ("estimate", "se", "df", "low", "high", "p", "verdict"):
        assert headline(apart, "mixup")[name] == pytest.approx(headline(alike, "mixup")[name])
    for one, other in zip(apart.interactions, alike.interactions, strict=True):
        assert one["estimate"] == pytest.approx(other["estimate"])
    assert headline(alike, "classes")["verdict"] == "helps"


def test_images_of_a_seed_of_their_own_are_compared_within_the_seed() -> None:
    """A seed may draw the images for all cells alike, also where a cell lacks a seed."""
    rows = table()
    rows["judged_on"] = "seed " + rows["seed"].astype(str)
    short = rows[~((rows["seed"] == 3) & (rows["mixup"] == "0.2"))]
    for given in (rows, short):
        analysis = analyze(given, response="accuracy", factors=FACTORS, judged="judged_on")
        assert headline(analysis, "mixup")["verdict"] == "helps"
        assert not any("sets of images" in warning for warning in analysis.warnings)
    other = rows.assign(judged_on=rows["judged_on"] + " " + rows["classes"])
    apart = analyze(other, response="accuracy", factors=FACTORS, judged="judged_on")
    assert headline(apart, "classes")["verdict"] == "not estimable"
