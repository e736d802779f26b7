"""What is refused in a user's table, and what is told about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sota_bench.errors import UserError
from sota_bench.stats import Analysis, analyze


def table(**columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = [{"seed": s, "a": a, "y": 50 + a + rng.normal()} for s in range(4) for a in (0, 1, 2)]
    return pd.DataFrame(rows).assign(**columns)


def numbers(analysis: Analysis) -> list[tuple[float | None, ...]]:
    return [(row.estimate, row.se, row.df, row.p_holm) for row in analysis.contrasts]


def warnings_with(analysis: Analysis, words: str) -> list[str]:
    return [warning for warning in analysis.warnings if words in warning]


@pytest.mark.parametrize("block", ["seed", None])
def test_a_table_that_holds_each_row_twice_is_refused(block: str | None) -> None:
    twice = pd.concat([table(), table()], ignore_index=True)
    with pytest.raises(UserError, match="rows 0 and 12 are copies"):
        analyze(twice, response="y", factors=["a"], block=block)


def test_copies_are_refused_with_a_block_even_one_and_under_another_row_number() -> None:
    one = pd.concat([table(), table().iloc[[4]]], ignore_index=True)
    with pytest.raises(UserError, match="rows 4 and 12 are copies"):
        analyze(one, response="y", factors=["a"])
    numbered = pd.concat([table(), table()], ignore_index=True)
    numbered["number"] = numbered.index
    with pytest.raises(UserError, match="copies"):
        analyze(numbered, response="y", factors=["a"])


def test_equal_results_are_no_copies() -> None:
    without_block = pd.DataFrame({"a": [0, 0, 0, 1, 1, 1], "y": [1.0, 1.0, 2.0, 3.0, 3.5, 3.0]})
    assert analyze(without_block, response="y", factors=["a"], block=None).contrasts[0].n == 3
    coarse = table()
    coarse["y"] = coarse["y"].round()
    assert analyze(coarse, response="y", factors=["a"]).contrasts


@pytest.mark.parametrize("column", ["top1", "y", "val_acc", "Top-1 accuracy"])
def test_fractions_with_a_delta_in_points_are_refused_whatever_the_name(column: str) -> None:
    fractions = table().rename(columns={"y": column})
    fractions[column] /= 100
    with pytest.raises(UserError, match="multiply"):
        analyze(fractions, response=column, factors=["a"], delta=1.0)
    named = analyze(fractions, response=column, factors=["a"], delta=1.0, unit="share")
    assert {row.verdict for row in named.headlines()} == {"no effect larger than delta"}


def test_unknown_statuses_are_named_once_and_lose_nothing() -> None:
    status = ["done"] * 12
    odd = pd.concat([table(status=status), table(status="pruned"), table(status="oom")], ignore_index=True)
    analysis = analyze(odd, response="y", factors=["a"])
    (warning,) = warnings_with(analysis, "status")
    assert "'pruned' and 'oom'" in warning and "not_asked" in warning
    assert numbers(analysis) == numbers(analyze(table(), response="y", factors=["a"]))
    with pytest.raises(UserError, match="no row is done; there are completed"):
        analyze(table(status="completed"), response="y", factors=["a"])


def test_seeds_that_are_words_are_told() -> None:
    mixed = pd.concat([table(), table(seed="mean").drop_duplicates("a")], ignore_index=True)
    assert len(warnings_with(analyze(mixed, response="y", factors=["a"]), "words beside numbers ('mean')")) == 1
    words = table()
    words["seed"] = words["seed"].map({0: "one", 1: "two", 2: "three", 3: "four"})
    assert len(warnings_with(analyze(words, response="y", factors=["a"]), "each is taken as one seed")) == 1
    patients = words.rename(columns={"seed": "patient"})
    assert not warnings_with(analyze(patients, response="y", factors=["a"], block="patient"), "words")


def test_seeds_that_one_arm_lacks_are_told() -> None:
    rows = table()
    analysis = analyze(rows[(rows["a"] != 1) | (rows["seed"] < 2)], response="y", factors=["a"])
    (warning,) = warnings_with(analysis, "has no result for seed")
    assert warning.startswith("a 1 has no result for seed 2, 3")
    assert not warnings_with(analysis, "Unbalanced")
    lost_one = rows.drop(index=4)
    assert warnings_with(analyze(lost_one.assign(b=1), response="y", factors=["a"]), "a 1 has no result for seed 1")


def test_arms_that_share_no_seed_say_so() -> None:
    rows = table()
    apart = rows[((rows["a"] == 0) & (rows["seed"] < 2)) | ((rows["a"] == 1) & (rows["seed"] > 1))]
    analysis = analyze(apart, response="y", factors=["a"])
    assert analysis.headlines()[0].verdict == "not estimable"
    assert len(warnings_with(analysis, "has no result for seed")) == 2
