"""Data sets as fixed blocks: one verdict over them, each effect on each of them, and never one against another."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from sota_bench.errors import UserError
from sota_bench.stats import Analysis, analyze, warning_sentences
from sota_bench.stats.verdicts import EQUIVALENT, HELPS, HURTS

LEVEL = {"cats": 60.0, "dogs": 90.0}


def table(on_dogs: float, seeds: int = 5) -> pd.DataFrame:
    """Mixup gains 3 points on cats and ``on_dogs`` on dogs; lr does nothing."""
    rng = np.random.default_rng(1)
    return pd.DataFrame([
        {
            "trial": f"{source}/{mixup}-{lr}-{seed}", "source": source, "mixup": mixup, "lr": lr, "seed": seed,
            "judged_on": f"images of {source}",
            "accuracy": LEVEL[source] + (3 if source == "cats" else on_dogs) * (mixup > 0) + rng.normal() * 0.4,
        }
        for source, mixup, lr, seed in product(LEVEL, (0.0, 0.2), (0.1, 0.3), range(seeds))
    ])  # fmt: skip


def over_sources(trials: pd.DataFrame, **named) -> Analysis:
    return analyze(trials, response="accuracy", factors=["mixup", "lr"], sources="source", delta=1.0, **named)


def test_an_effect_that_holds_is_averaged_and_given_on_each_data_set() -> None:
    analysis = over_sources(table(on_dogs=3.0), judged="judged_on")
    verdicts = {row.factor: row for row in analysis.headlines()}
    assert verdicts["mixup"].verdict == HELPS and verdicts["mixup"].estimate == pytest.approx(3, abs=0.4)
    on_each = {(row.factor, row.at_level): row for row in analysis.contrasts if row.kind == "simple" and row.headline}
    assert on_each["mixup", "cats"].verdict == on_each["mixup", "dogs"].verdict == HELPS
    assert ("lr", "dogs") in on_each and not verdicts["mixup"].demoted
    assert analysis.notes[0] == warning_sentences.over_sources(["cats", "dogs"])


def test_an_effect_that_turns_round_is_told_by_its_interaction() -> None:
    analysis = over_sources(table(on_dogs=-3.0))
    crossed = {(row.factor, row.factor_b): row for row in analysis.interactions if row.headline}
    assert crossed["mixup", "source"].flagged and not crossed["lr", "source"].flagged
    assert crossed["mixup", "source"].estimate == pytest.approx(-6, abs=0.8)
    mixup = next(row for row in analysis.headlines() if row.factor == "mixup")
    assert mixup.demoted_by == ("source",) and mixup.verdict == EQUIVALENT and "on average" in mixup.words
    on_each = {row.at_level: row.verdict for row in analysis.contrasts if row.kind == "simple" and row.headline
               and row.factor == "mixup" and row.at_factor == "source"}  # fmt: skip
    assert on_each == {"cats": HELPS, "dogs": HURTS}


def test_data_sets_are_never_compared() -> None:
    analysis = over_sources(table(on_dogs=3.0))
    assert {row.factor for row in analysis.contrasts} == {"mixup", "lr"}
    terms = {row.term for row in analysis.anova}
    assert "source" not in terms and "mixup:source" in terms
    assert not any("different sets of images" in warning for warning in analysis.warnings)


def test_how_hard_a_data_set_is_moves_nothing() -> None:
    trials = table(on_dogs=2.0)
    easier = trials.assign(accuracy=trials["accuracy"] + 7.0 * (trials["source"] == "dogs"))
    for one, other in zip(over_sources(trials).contrasts, over_sources(easier).contrasts, strict=True):
        assert one.estimate == pytest.approx(other.estimate) and one.se == pytest.approx(other.se)


def test_images_of_each_data_set_count() -> None:
    trials = table(on_dogs=3.0)
    rng = np.random.default_rng(0)
    difficulty = {"cats": rng.permutation(100), "dogs": rng.permutation(400)}
    predictions = {row.trial: difficulty[row.source] < row.accuracy / 100 * len(difficulty[row.source])
                   for row in trials.itertuples()}  # fmt: skip
    trials["accuracy"] = [100 * predictions[trial].mean() for trial in trials["trial"]]
    wide = over_sources(trials, judged="judged_on", predictions=predictions)
    narrow = over_sources(trials, judged="judged_on", predictions=predictions, scope="these images")
    assert wide.overview.scope == "seeds and images"
    mixup, narrower = (next(row for row in found.headlines() if row.factor == "mixup") for found in (wide, narrow))
    assert mixup.se > narrower.se and mixup.estimate == pytest.approx(narrower.estimate)


def test_a_data_set_that_lacks_a_level_leaves_the_average_to_the_others() -> None:
    trials = table(on_dogs=3.0)
    lacking = trials[(trials["source"] == "cats") | (trials["mixup"] == 0)]
    mixup = next(row for row in over_sources(lacking).headlines() if row.factor == "mixup")
    assert mixup.part == "source = cats" and mixup.verdict == HELPS


def test_a_data_set_alone_is_no_factor() -> None:
    with pytest.raises(UserError, match="no factor is named"):
        analyze(table(3.0), response="accuracy", factors=[], sources="source")
