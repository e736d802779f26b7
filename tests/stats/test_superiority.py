"""The probability that a level beats its baseline in one more run."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import nct, norm

from sota_bench.stats import analyze, sentences
from sota_bench.stats.superiority import superiority


@pytest.mark.parametrize("seeds", [3, 5, 20])
@pytest.mark.parametrize("mean", [0.2, 1.3, 2.0])
def test_limits_are_those_of_the_noncentral_t(mean: float, seeds: int) -> None:
    """Found here by root search on scipy's distribution function, there by the inverse of cdflib."""
    se, df = 0.7 / math.sqrt(seeds), seeds - 1
    found = superiority(mean, se, df, 0.7)
    assert found is not None
    for share, limit in zip((0.5, 0.975, 0.025), found, strict=True):
        delta = brentq(lambda nc, share=share: nct.cdf(mean / se, df, nc) - share, -60, 60)
        assert limit == pytest.approx(norm.cdf(delta / math.sqrt(seeds)), abs=1e-6)


def test_the_direction_turns_it_around_and_no_difference_is_even() -> None:
    better, worse = superiority(1.0, 0.5, 4, 1.1), superiority(1.0, 0.5, 4, 1.1, higher_is_better=False)
    assert better is not None and worse is not None
    assert worse == pytest.approx((1 - better.probability, 1 - better.high, 1 - better.low))
    even = superiority(0.0, 0.5, 4, 1.1)
    assert even is not None and even.probability == 0.5 and even.low == pytest.approx(1 - even.high)
    assert superiority(1.0, 0.0, 4, 1.0) is None and superiority(math.nan, 1.0, 4, 1.0) is None


@pytest.mark.parametrize("others", [1, 3])
@pytest.mark.parametrize("block", ["seed", None])
def test_it_is_found_again_in_fresh_runs(others: int, block: str | None) -> None:
    """Many seeds: the estimate is the share of fresh pairs of runs in which the level wins, at one other setting."""
    rng = np.random.default_rng(3)
    rows = [
        {"seed": seed, "a": a, "b": b, "y": shift + 1.0 * (a == "on") + 2.0 * b + rng.normal()}
        for seed, shift in enumerate(rng.normal(0, 3 if block else 0, 400))
        for a in ("off", "on")
        for b in range(others)
    ]
    analysis = analyze(pd.DataFrame(rows), response="y", factors=["a", *(["b"] if others > 1 else [])], block=block)
    row = analysis.headlines()[0]
    assert row.p_better == pytest.approx(norm.cdf(1 / math.sqrt(2)), abs=0.03)
    assert row.p_better_low < row.p_better < row.p_better_high


def test_the_interval_holds_one_half_where_that_of_the_difference_holds_zero() -> None:
    rng = np.random.default_rng(8)
    for _ in range(40):
        rows = [
            {"seed": s, "a": a, "b": b, "y": 0.9 * a + rng.normal()} for s in range(4) for a in (0, 1) for b in (0, 1)
        ]
        analysis = analyze(pd.DataFrame(rows), response="y", factors=["a", "b"], unit="points")
        for row in analysis.headlines():
            assert (row.low <= 0 <= row.high) == (row.p_better_low <= 0.5 <= row.p_better_high)


def test_the_sentence_is_in_words_and_never_certain() -> None:
    rows = [
        {"seed": s, "tta": t, "nll": 1 + 0.01 * s - 0.5 * t + 0.001 * (s * t % 3)} for s in range(5) for t in (0, 1)
    ]
    analysis = analyze(pd.DataFrame(rows), response="nll", factors={"tta": ["0", "1"]}, unit="nats")
    row = analysis.headlines()[0]
    assert sentences.one_more_run(row, analysis.overview) == [
        "In one more run, 1 beats 0 with a probability of over 99%."
    ]
    assert row.verdict == "helps" and sentences.one_more_run(row, analysis.overview)[0] in row.words
