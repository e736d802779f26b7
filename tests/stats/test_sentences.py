"""The sentences that users meet: short, with their numbers, and no stronger than the statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sota_bench.stats import VERDICTS, ContrastRow, Overview, analyze, confirmation_sentences, sentences, wording
from sota_bench.stats.result import INTERACTION, LINEAR, QUADRATIC

ROW = ContrastRow(
    kind="main", family="main", factor="mixup", level="0.2", baseline="0.0", error="moderated", estimate=-2.7, se=1.6,
    df=10.0, low=-7.2, high=1.9, p=0.2, p_holm=0.6, p_tost=None, p_tost_holm=None, mde=5.5, seeds_needed=20,
    mde_family=6.3, seeds_needed_family=22, verdict="no detectable effect", reason=None, n=3, seeds={}, headline=True,
    family_size=3,
)  # fmt: skip
OVERVIEW = Overview(response="accuracy", factors={"mixup": ["0.0", "0.2"]}, delta=2.0, unit="pp")


def sentence(overview: Overview = OVERVIEW, **changes: Any) -> str:
    return sentences.sentence(replace(ROW, **changes), overview)


def test_no_detectable_effect_says_what_could_be_detected_and_what_would() -> None:
    assert sentence() == (
        "mixup 0.2 vs 0.0: no detectable effect (-2.7 pp, 95% CI -7.2 to 1.9). This run could detect 6.3 pp; "
        "19 more seeds would detect 2.0 pp."
    )
    assert "; 1 more seed would detect" in sentence(seeds_needed_family=4)
    assert "; more than 10,000 seeds would be needed to detect 2.0 pp." in sentence(seeds_needed_family=None)
    assert sentence(mde_family=1.8).endswith("This run could detect 1.8 pp.")
    few = sentence(mde_family=177.4)  # two seeds: more than accuracies can differ
    assert "With so few seeds no effect can be detected" in few and "177" not in few
    unblocked = replace(OVERVIEW, block=None)
    assert "; 19 more runs per cell would detect" in sentence(unblocked)
    assert "95% CI" in sentence() and "90% CI" in sentence(replace(OVERVIEW, alpha=0.1))


def test_where_images_are_the_limit_more_of_them_are_advised() -> None:
    text = sentence(replace(OVERVIEW, images=77, delta=1.0))
    assert "more seed" in text and "would detect" not in text
    assert text.endswith("One of the 77 images counts 1.3 pp, so more seeds alone cannot detect 1.0 pp; evaluate on "
                         "200 images or more.")  # fmt: skip
    enough = sentence(replace(OVERVIEW, images=1000, delta=1.0))
    assert enough.endswith("19 more seeds would detect 1.0 pp.")
    assert sentences.images_needed(replace(OVERVIEW, images=77, unit="nats")) is None
    crossed = sentence(replace(OVERVIEW, images=1000), images_needed_family=1834, seeds_beside_images=3)
    assert crossed.endswith(". The 1,000 images are the limit: about 840 more images would detect 2.0 pp.")
    both = sentence(replace(OVERVIEW, images=1000), images_needed_family=13510, seeds_beside_images=8)
    assert both.endswith(": about 13,000 more images and 5 more seeds would detect 2.0 pp.")
    assert [wording.round_up(count) for count in (7, 99, 101, 12510)] == [7, 99, 110, 13000]


def test_intervals_say_what_they_cover() -> None:
    narrow = replace(OVERVIEW, images=1000)
    assert sentences.covered(replace(narrow, scope="seeds and images")) == "other seeds and other images like these"
    assert sentences.covered(narrow) == "other seeds on these images"
    assert sentences.covered(replace(OVERVIEW, block=None)) == "other runs per cell"


def test_each_verdict_in_its_words() -> None:
    helps = {"verdict": "helps", "estimate": 4.0, "low": 3.0, "high": 5.0}
    assert sentence(**helps) == "mixup 0.2 vs 0.0: helps (+4.0 pp, 95% CI 3.0 to 5.0)."
    assert "no effect larger than 2.0 pp (" in sentence(verdict="no effect larger than delta")
    assert sentence(verdict="real but negligible").endswith("smaller than 2.0 pp.")
    nothing = {"verdict": "not estimable", "estimate": None, "low": None, "high": None}
    assert sentence(**nothing, reason="there is only one seed") == (
        "mixup 0.2 vs 0.0: not estimable, because there is only one seed."
    )
    for verdict in VERDICTS:
        assert sentence(verdict=verdict, reason="there is only one seed").endswith(".")


def test_comparisons_are_named_for_what_they_compare() -> None:
    assert sentences.comparison(replace(ROW, at_factor="tta", at_level="true")) == "mixup 0.2 vs 0.0 at tta on"
    assert sentences.comparison(replace(ROW, kind=LINEAR)) == "mixup, linear trend from 0.0 to 0.2"
    assert sentences.comparison(replace(ROW, kind=QUADRATIC)) == "mixup, curvature from 0.0 to 0.2"
    crossed = replace(ROW, kind=INTERACTION, factor_b="tta", level_b="true", baseline_b="false", verdict="helps")
    assert sentences.sentence(crossed, OVERVIEW).startswith("mixup 0.2 vs 0.0 x tta on vs off: clear interaction (")


def test_limits_are_stated_with_what_to_do() -> None:
    text = sentence(verdict="helps", demoted_by=("resize", "tta"), part="mitigation = none", after_look=True)
    assert "helps on average (" in text
    assert "It interacts with resize and tta: read the effect at each level of resize and tta." in text
    assert "Compared only where both levels were run (mitigation = none)." in text
    assert "Seeds were added after looking at the results." in text
    assert "not significant after Holm's correction for 3 comparisons." in sentence(p=0.03, p_holm=0.08)
    assert "This average includes lr = 10, where nothing varies; read the effect at the other levels." in sentence(
        diluted_by=("lr = 10",)
    )


@pytest.mark.parametrize(
    ("low", "high", "unit", "shown"),
    [(-0.32, -0.003, "pp", "-0.320 to -0.003"), (-1.9, 1.1, "pp", "-1.9 to 1.1"), (0.11, 0.32, "pp", "0.11 to 0.32"),
     (-0.02, 0.03, "", "-0.020 to 0.030"), (-20.0, 30.0, "s", "-20 to 30")],
)  # fmt: skip
def test_digits_are_those_that_the_interval_is_good_for(low: float, high: float, unit: str, shown: str) -> None:
    text = sentence(replace(OVERVIEW, unit=unit), estimate=(low + high) / 2, low=low, high=high, se=(high - low) / 5)
    assert f"95% CI {shown})" in text


def test_numbers_have_no_negative_zero() -> None:
    assert (wording.number(-0.04, 1), wording.number(0.04, 1, sign=True), wording.number(1234.5, 1, sign=True)) == (
        "0.0", "0.0", "+1,234.5",
    )  # fmt: skip
    assert (wording.short_number(2), wording.short_number(0.5), wording.short_number(1e-7)) == ("2.0", "0.5", "1e-07")


def test_a_level_whose_trials_failed_says_so() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"seed": s, "mitigation": m, "y": rng.normal(), "status": "failed" if m == "ewc" else "done"}
        for s in range(3) for m in ("none", "freeze", "ewc")
    ]  # fmt: skip
    analysis = analyze(pd.DataFrame(rows), response="y", factors={"mitigation": ["none", "freeze", "ewc"]})
    row = next(row for row in analysis.headlines() if row.level == "ewc")
    assert row.words == (
        "mitigation ewc vs none: not estimable, because all 3 trials of mitigation ewc ended without a result "
        "(3 failed)."
    )


def test_a_confirmation_says_which_error_it_uses_and_what_survived() -> None:
    better = {"verdict": "helps", "estimate": 4.0, "low": 3.0, "high": 5.0}
    chosen, confirmed = replace(ROW, **better), replace(ROW, **{**better, "estimate": 3.0})
    texts = {"winner": "c3", "changes": "mixup 0.2", "baseline": "c0", "candidates": 8}
    lines = confirmation_sentences.confirmation(chosen, confirmed, OVERVIEW, **texts, earlier_looks=0)
    assert lines[0] == "c3 (mixup 0.2) vs the baseline c0."
    assert "selected among 8 cells" in lines[1] and "Test images, fresh seeds: helps (+3.0 pp" in lines[2]
    assert lines[3] == "About 75% of the gain was reproduced."
    assert "only the differences between these two cells" in lines[4] and len(lines) == 5
    assert "1 other choice of this grid" in confirmation_sentences.confirmation(
        chosen, confirmed, OVERVIEW, **texts, earlier_looks=1
    )[-1]  # fmt: skip
    assert (
        confirmation_sentences.survival(chosen, ROW, OVERVIEW)
        == "It is still open whether the gain is real; add fresh seeds with --fresh-seeds."
    )
    assert confirmation_sentences.survival(chosen, replace(ROW, high=-0.1), OVERVIEW) == "The gain was not reproduced."


def test_analyze_and_its_rows_use_these_sentences() -> None:
    rng = np.random.default_rng(1)
    rows = [{"seed": s, "a": a, "b": b, "y": rng.normal()} for s in range(4) for a in (0, 1, 2) for b in (0, 1)]
    analysis = analyze(pd.DataFrame(rows), response="y", factors=["a", "b"], delta=0.5)
    for row in [*analysis.contrasts, *analysis.interactions]:
        assert row.words == sentences.sentence(row, analysis.overview)
