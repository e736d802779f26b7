"""Sentences: short, with their numbers, and no stronger than the statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from sota_bench.report.tables import RunTables
from sota_bench.report.text import minutes, number, p_value, signed
from sota_bench.report.verdicts import (
    HEADS,
    as_effect,
    changed_images,
    detectable,
    effects,
    family_size,
    interactions,
    over_images,
)
from sota_bench.report.view import View, block_means, pooled_means
from sota_bench.stats import VERDICTS

ROW: dict[str, Any] = {
    "kind": "main", "factor": "mixup", "level": "0.2", "baseline": "0.0", "estimate": -0.4, "low": -1.9, "high": 1.1,
    "se": 0.7, "df": 12.0, "p": 0.57, "p_holm": 0.9, "mde": 1.9, "mde_family": 2.1, "seeds_needed_family": 9, "n": 3,
    "verdict": "no detectable effect", "demoted": False, "demoted_by": [], "diluted_by": [], "part": "", "reason": None,
    "seeds": {},
    "after_look": False, "at_factor": None, "at_level": None,
}  # fmt: skip


@pytest.fixture(scope="session")
def view(tables: RunTables, analysis: Any) -> View:
    return View(tables, analysis)


def sentence(**changes: Any) -> str:
    return as_effect({**ROW, **changes}, 1.0).sentence


def test_no_detectable_effect_says_what_could_be_detected() -> None:
    assert sentence() == (
        "mixup 0.2 vs 0.0: no detectable effect (−0.4 pp, 95% interval −1.9 to 1.1); this run could detect 2.1 pp; "
        "about 6 more seeds for 1.0 pp."
    )


def test_other_verdicts() -> None:
    assert (
        sentence(verdict="helps", estimate=4, low=3, high=5)
        == "mixup 0.2 vs 0.0: helps (+4.0 pp, 95% interval 3.0 to 5.0)."
    )
    assert sentence(verdict="not estimable", low=None, high=None, estimate=None, reason="one seed") == (
        "mixup 0.2 vs 0.0: not estimable: one seed."
    )
    assert "no effect larger than 1.0 pp (" in sentence(verdict="no effect larger than delta")
    assert "smaller than the 1.0 pp that matter" in sentence(verdict="real but negligible")


def test_limits_are_stated() -> None:
    text = sentence(
        verdict="helps", demoted=True, demoted_by=["resize", "tta"], part="mitigation = none", after_look=True
    )
    assert "helps on average (" in text
    assert "It interacts with resize and tta" in text
    assert "Compared only where both exist (mitigation = none)" in text
    assert "Seeds were added after a look." in text
    assert "not after Holm's correction" in sentence(p=0.03, p_holm=0.08)


def test_a_limit_close_to_zero_shows_its_side() -> None:
    assert "−0.320 to −0.003" in sentence(verdict="real but negligible", estimate=-0.161, low=-0.32, high=-0.003)


def test_every_verdict_of_the_statistics_can_be_said() -> None:
    assert set(VERDICTS) <= set(HEADS)
    for verdict in VERDICTS:
        assert sentence(verdict=verdict, reason="one seed").endswith(".")


def test_marks_tell_verdicts_apart_without_colour() -> None:
    tones = {tone: sign for tone, sign, _ in HEADS.values()}
    assert len({HEADS["helps"][1], HEADS["hurts"][1], HEADS["no detectable effect"][1], HEADS["not estimable"][1]}) == 4
    assert set(tones) == {"good", "bad", "flat", "unknown", "none"}


def test_known_effects_are_found(view: View) -> None:
    found = {effect.name: effect for effect in effects(view)}
    assert found["normalize dataset vs none"].head == "Helps"
    assert found["resize 64x3 128x2 vs 128x5"].head == "Hurts"
    assert found["normalize dataset vs none"].estimate == pytest.approx(4.0, abs=0.3)
    assert next(iter(found)) == "normalize dataset vs none"
    assert all(not effect.flagged for effect in interactions(view))


def test_dots_average_to_the_paired_estimate(view: View) -> None:
    for effect in effects(view, error="paired"):
        assert np.mean([value for _, value in effect.dots]) == pytest.approx(effect.estimate)


def test_detectable_meets_the_rows_own_and_shrinks(view: View) -> None:
    effect = effects(view)[0]
    values = detectable(effect.row, [2, int(effect.n), 20])
    assert values[1] == pytest.approx(effect.mde)
    assert values[0] > values[1] > values[2]


def test_interval_over_images_is_that_of_the_paired_difference(view: View) -> None:
    """Against the normal interval of the mean per-image difference, computed here from the pairs."""
    effect = next(effect for effect in effects(view) if effect.factor == "mixup")
    done, images = view.done, view.tables.predictions
    others = ["seed", "normalize", "resize", "mitigation", "tta"]
    wide = done.pivot(index=others, columns="mixup", values="trial").dropna()
    pairs = list(zip(wide["0.0"], wide["0.2"], strict=True))
    change = np.mean([images[b].astype(float) - images[a] for a, b in pairs], axis=0)
    margin = 1.96 * change.std(ddof=1) / np.sqrt(len(change))
    found = over_images(view, effect)
    assert found is not None
    assert found == pytest.approx((100 * (change.mean() - margin), 100 * (change.mean() + margin)), abs=0.5)


def test_means_and_intervals_against_scipy(view: View) -> None:
    from scipy import stats

    done = view.done
    one = block_means(done, ["mixup"], "accuracy").loc["0.2"]
    seeds = done[done["mixup"] == "0.2"].groupby("seed")["accuracy"].mean()
    low, high = stats.t.interval(0.95, len(seeds) - 1, seeds.mean(), stats.sem(seeds))
    assert (one["mean"], one["low"], one["high"]) == pytest.approx((seeds.mean(), low, high))
    two = done[done["cell"].isin(["c00", "c12"])]
    mean, low_, high_ = pooled_means(two, "cell", "accuracy")
    a, b = (two.loc[two["cell"] == cell, "accuracy"] for cell in ("c00", "c12"))
    pooled = np.sqrt((a.var() + b.var()) / 2)
    margin = stats.t.ppf(0.975, 6) * pooled / 2
    assert mean["c00"] == pytest.approx(a.mean())
    assert (high_["c00"] - low_["c00"]) / 2 == pytest.approx(margin)


def test_the_detectable_effect_is_that_of_the_verdict(view: View) -> None:
    for effect in effects(view):
        family = family_size(view, effect.row)
        assert detectable(effect.row, [int(effect.n)], family)[0] == pytest.approx(effect.mde_family)


def test_evaluations_of_one_training_count_once(view: View) -> None:
    """Twins with the same noise, as test-time augmentation makes them: the interval of one of them alone."""
    one = view.done[["cell", "seed", "accuracy", *view.factors]]
    one = one[one["tta"] == "false"]
    twin = one.assign(cell="t" + one["cell"], accuracy=one["accuracy"] + 0.6, tta="true")
    between = [name for name in view.factors if name not in view.within]
    _, low, high = pooled_means(pd.concat([one, twin]), "cell", "accuracy", between)
    _, alone_low, alone_high = pooled_means(one, "cell", "accuracy")
    assert (high - low)[alone_low.index].to_numpy() == pytest.approx((alone_high - alone_low).to_numpy())


def test_numbers_as_people_read_them() -> None:
    assert (number(-0.42), number(-0.04), number(None), number(float("nan"))) == ("−0.4", "0.0", "–", "–")
    assert (signed(0.04), signed(1234.5), signed(-1)) == ("0.0", "+1,234.5", "−1.0")
    assert (minutes(0.4234), minutes(38.2), minutes(186), minutes(5 * 1440)) == (
        "0.42 min",
        "38 min",
        "3.1 h",
        "5.0 days",
    )
    assert (p_value(0.0004), p_value(0.04), p_value(None)) == ("< 0.001", "0.040", "–")


def test_mcnemar_is_of_two_predictions_by_one_training(view: View) -> None:
    by_name = {effect.factor: effect for effect in effects(view)}
    found = dict(changed_images(view, by_name["tta"]))
    assert len(found) >= 3 and set(found) <= {str(seed) for seed in view.done["seed"]}
    base = {name: levels[0] for name, levels in view.factors.items()}
    for seed, changed in found.items():
        alike = [view.done[name] == level for name, level in base.items() if name != "tta"]
        at = view.done[np.logical_and.reduce([view.done["seed"].astype(str) == seed, *alike])].set_index("tta")["trial"]
        levels = (by_name["tta"].baseline, by_name["tta"].level)
        a, b = (view.tables.predictions[at[level]] for level in levels)
        lost, gained = int((a & ~b).sum()), int((~a & b).sum())
        assert (changed.lost, changed.gained) == (lost, gained)
        assert changed.p == pytest.approx(binomtest(min(lost, gained), lost + gained).pvalue)
    assert changed_images(view, by_name["mixup"]) == []
