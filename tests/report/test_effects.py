"""Contrasts on the page: which stand where, how they look, and the images behind them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from synthetic import FACTORS, synthetic

from sota_bench.report.answers import answers_of
from sota_bench.report.effects import (
    LOOKS,
    changed_images,
    effects,
    effects_on,
    interactions,
    level_by_level,
    typeset,
)
from sota_bench.report.tables import RunTables
from sota_bench.report.view import View
from sota_bench.stats.verdicts import INTERACTION_VERDICTS, VERDICTS


@pytest.fixture(scope="session")
def view(tables: RunTables, analysis: Any) -> View:
    return View(tables, analysis)


def test_every_verdict_has_a_look_of_its_own_without_colour() -> None:
    assert set(LOOKS) == {*VERDICTS, *INTERACTION_VERDICTS}
    by_mark: dict[str, set[str]] = {}
    for tone, mark in LOOKS.values():
        by_mark.setdefault(mark, set()).add(tone)
    assert all(len(tones) == 1 for tones in by_mark.values()), "no mark stands for two tones"


def test_known_effects_are_found_in_the_order_of_the_grid(view: View) -> None:
    shown = effects(view)
    verdicts = {effect.row.factor: effect.row.verdict for effect in shown if effect.row.level != "ewc"}
    assert (verdicts["normalize"], verdicts["resize"]) == ("helps", "hurts")
    assert shown[0].row.estimate == pytest.approx(4.0, abs=0.3)
    assert list(dict.fromkeys(effect.row.factor for effect in shown)) == list(FACTORS)
    assert all(not effect.row.flagged for effect in interactions(view))


def test_the_line_of_the_page_is_the_sentence_of_the_statistics(view: View) -> None:
    for effect in effects(view):
        line = effect.line()
        head = line.head[0].lower() + line.head[1:]
        assert f"{line.comparison}: {head}{line.details}" == effect.sentence == typeset(effect.row.words)


def test_seeds_average_to_the_paired_estimate(view: View) -> None:
    for effect in effects(view, error="paired"):
        assert np.mean(effect.by_seed) == pytest.approx(effect.row.estimate)


def test_simple_effects_stand_under_their_average() -> None:
    tables = synthetic(seeds=3, factors={name: FACTORS[name] for name in ("normalize", "mixup")})
    both = (tables.trials["normalize"] == "dataset") & (tables.trials["mixup"] == "0.2")
    tables.trials["accuracy"] += 3.0 * both
    tables = replace(tables, predictions={})  # they are those of the accuracies before
    view = View(tables, answers_of(tables))
    below = level_by_level(view, next(effect for effect in effects(view) if effect.row.factor == "mixup"))
    assert {(simple.row.factor, simple.row.at_factor, simple.row.at_level) for simple in below} == {
        ("mixup", "normalize", "none"),
        ("mixup", "normalize", "dataset"),
    }


def test_mcnemar_is_of_two_predictions_by_one_training(view: View) -> None:
    by_factor = {effect.row.factor: effect for effect in effects(view)}
    tta = by_factor["tta"]
    by_seed = dict(changed_images(view, tta))
    assert len(by_seed) >= 3 and set(by_seed) <= {str(seed) for seed in view.done["seed"]}
    base = {name: levels[0] for name, levels in view.factors.items()}
    for seed, changed in by_seed.items():
        at_baseline = [view.done[name] == level for name, level in base.items() if name != "tta"]
        rows = view.done[np.logical_and.reduce([view.done["seed"].astype(str) == seed, *at_baseline])]
        trials = rows.set_index("tta")["trial"]
        a, b = (view.tables.predictions[trials[level]].correct for level in (tta.row.baseline, tta.row.level))
        lost, gained = int((a & ~b).sum()), int((~a & b).sum())
        assert (changed.lost, changed.gained) == (lost, gained)
        assert changed.p == pytest.approx(binomtest(min(lost, gained), lost + gained).pvalue)
    assert changed_images(view, by_factor["mixup"]) == []


def test_other_responses_are_judged_lower_is_better(view: View) -> None:
    nll = {effect.row.factor: effect for effect in effects_on(view, "nll", "nats")}
    assert nll["mixup"].row.verdict == "helps" and (nll["mixup"].row.estimate or 0) < 0


def test_signs_are_typeset_and_names_are_not() -> None:
    assert typeset("a x b: helps (-2.7 pp, 95% CI -7.2 to 1.9)") == "a × b: helps (−2.7 pp, 95% CI −7.2 to 1.9)"
    assert typeset("lr 1e-3 vs resnet-18") == "lr 1e-3 vs resnet-18"
