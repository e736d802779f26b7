"""Screening of a single seed: each kind of effect against its own spread, and only where the table is complete."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sota_bench.stats import analyze
from sota_bench.stats.design import read_design
from sota_bench.stats.screening import lenth, screen


def one_seed(rng: np.random.Generator, factors: int = 3, inside: float = 0.05) -> pd.DataFrame:
    """A 2^k of runs without any effect and noise 1, each evaluated without and with TTA, whose noise is ``inside``."""
    rows: list[dict[str, Any]] = []
    for levels in product((0, 1), repeat=factors):
        run = rng.normal()
        cell = {"seed": 0, **dict(zip("abcdef", levels, strict=False))}
        rows += [{**cell, "tta": tta, "y": run + inside * rng.normal()} for tta in ("off", "flip")]
    return pd.DataFrame(rows)


def test_effects_inside_runs_are_screened_among_themselves() -> None:
    table = one_seed(np.random.default_rng(1))
    screened = analyze(table, response="y", factors=["a", "b", "c", "tta"], within=["tta"]).screening
    assert screened is not None
    assert [(one.stratum, one.effects) for one in screened.strata] == [("between runs", 7), ("within run", 8)]
    for one in screened.strata:
        sizes = [abs(e.estimate) for e in screened.effects if e.stratum == one.stratum]
        assert (one.pse, one.margin, one.simultaneous_margin) == pytest.approx(lenth(np.array(sizes)))
    wide = table.set_index(["a", "b", "c", "tta"])["y"]
    effects = {e.term: e for e in screened.effects}
    assert effects["a"].estimate == pytest.approx(wide.loc[1].mean() - wide.loc[0].mean())
    gains = wide.unstack()["flip"] - wide.unstack()["off"]
    assert effects["tta"].estimate == pytest.approx(gains.mean())
    assert effects["b:tta"].estimate == pytest.approx((gains.xs(1, level="b") - gains.xs(0, level="b")).mean() / 2)
    assert {e.stratum for term, e in effects.items() if "tta" in term} == {"within run"}


def test_quiet_evaluations_do_not_make_runs_look_different() -> None:
    """Among evaluations whose noise is 20 times smaller, every effect between runs would lie far outside."""
    rng = np.random.default_rng(2)
    outside, together, repeats = 0, 0, 300
    for _ in range(repeats):
        table = one_seed(rng)
        design = read_design(table, response="y", factors=["a", "b", "c", "tta"], block="seed", within=["tta"])
        screened = screen(design)
        assert screened is not None
        between = [e for e in screened.effects if e.stratum == "between runs"]
        outside += any(e.outside == "simultaneous margin" for e in between)
        one = lenth(np.array([e.estimate for e in screened.effects]))[2]
        together += any(abs(e.estimate) > one for e in between)
    assert outside / repeats < 0.10
    assert together / repeats > 0.5, "what happens when all effects are taken for alike"


def test_missing_cells_leave_the_largest_full_factorial() -> None:
    """A mitigation needs a rise in resolution, so its factor is held at its baseline."""
    rng = np.random.default_rng(3)
    rows = [
        {"seed": 0, "a": a, "resize": r, "mitigation": m, "tta": t, "y": rng.normal()}
        for a, r, m, t in product((0, 1), ("64", "32 64"), ("none", "ewc"), ("off", "flip"))
        if r != "64" or m == "none"
    ]
    screened = analyze(pd.DataFrame(rows), response="y", factors=["a", "resize", "mitigation", "tta"], within=["tta"])
    assert screened.screening is not None and screened.screening.part == "mitigation = none"
    assert [one.effects for one in screened.screening.strata] == [3, 4]
    assert not any("mitigation" in e.term for e in screened.screening.effects)
    kept = pd.DataFrame(rows).query("mitigation == 'none'")
    alone = analyze(kept, response="y", factors=["a", "resize", "tta"], within=["tta"])
    assert alone.screening is not None
    assert [e.estimate for e in alone.screening.effects] == pytest.approx(
        [e.estimate for e in screened.screening.effects]
    )


def test_trainings_that_share_a_stage_are_screened_apart() -> None:
    rng = np.random.default_rng(4)
    rows = [
        {"seed": 0, "a": a, "b": b, "c": c, "d": d, "stage": f"{a}{b}", "y": rng.normal()}
        for a, b, c, d in product((0, 1), repeat=4)
    ]
    screened = analyze(pd.DataFrame(rows), response="y", factors=list("abcd"), shares="stage").screening
    assert screened is not None
    between = {e.term for e in screened.effects if e.stratum == "between runs"}
    assert between == {"a", "b", "a:b"}
    assert [one.effects for one in screened.strata] == [3, 12]


def test_too_few_effects_are_no_screening() -> None:
    rows = [{"seed": 0, "a": a, "b": b, "y": a + b} for a, b in ((0, 0), (0, 1), (1, 0))]
    screened = analyze(pd.DataFrame(rows), response="y", factors=["a", "b"])
    assert screened.screening is None


def test_places_on_the_half_normal_plot_are_quantiles_of_its_stratum() -> None:
    table = one_seed(np.random.default_rng(5))
    screened = analyze(table, response="y", factors=["a", "b", "c", "tta"], within=["tta"]).screening
    assert screened is not None
    for one in screened.strata:
        effects = sorted((e for e in screened.effects if e.stratum == one.stratum), key=lambda e: abs(e.estimate))
        shares = (np.arange(len(effects)) + 0.5) / len(effects)
        assert [e.quantile for e in effects] == pytest.approx(stats.halfnorm.ppf(shares))
