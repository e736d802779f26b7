"""Fractional designs: published effects, aliases as another library finds them, and claims that are withheld."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection

import numpy as np
import pandas as pd
import pytest
from pyDOE3 import fracfact, fracfact_aliasing

from sota_bench.errors import UserError
from sota_bench.grid.fractions import fraction
from sota_bench.stats import analyze
from sota_bench.stats.aliases import clear_factors
from sota_bench.stats.result import Analysis, ContrastRow
from sota_bench.stats.verdicts import HELPS, HURTS, NOT_ESTIMABLE

Effect = Callable[[tuple[int, ...]], float]


def fractional_table(
    levels: tuple[int, ...], resolution: int, effect: Effect, seeds: int = 4, without: Collection[int] = ()
) -> pd.DataFrame:
    part = fraction(levels, resolution)
    assert part is not None
    rng = np.random.default_rng(0)
    rows = []
    for number, (run, times) in enumerate(part.runs.items()):
        named = dict(zip(string.ascii_uppercase, run, strict=False))
        for seed in range(seeds):
            accuracy = 50 + effect(run) + seed + 0.3 * rng.normal()
            if number not in without:
                rows.append({**named, "seed": seed, "accuracy": accuracy, "fraction_runs": times})
    return pd.DataFrame(rows)


def analysis_of(table: pd.DataFrame, **named) -> Analysis:
    factors = [name for name in table if str(name) in string.ascii_uppercase]
    return analyze(table, response="accuracy", factors=factors, delta=1.0, **named)


def headline(analysis: Analysis, factor: str, other: str = "") -> ContrastRow:
    rows = analysis.interactions if other else analysis.headlines()
    return next(row for row in rows if row.headline and row.factor == factor and (row.factor_b or "") == other)


def test_published_effects_of_a_half_fraction() -> None:
    """Montgomery, Design and Analysis of Experiments, example 8.1: a 2^(4-1) design, filtration rates."""
    rates = {"0000": 45, "1001": 100, "0101": 45, "1100": 65, "0011": 75, "1010": 60, "0110": 80, "1111": 96}
    table = pd.DataFrame(
        [{**dict(zip("ABCD", map(int, run), strict=True)), "seed": seed, "accuracy": rate + seed + 0.1 * noise}
         for number, (run, rate) in enumerate(rates.items())
         for seed, noise in enumerate([(-1) ** number.bit_count(), -(-1) ** number.bit_count()])]
    )  # fmt: skip
    analysis = analysis_of(table, fractional=True)
    found = {row.factor: row.estimate for row in analysis.headlines()}
    assert found == pytest.approx({"A": 19.0, "B": 1.5, "C": 14.0, "D": 16.5}, abs=0.06)
    pairs = {row.factor + str(row.factor_b): row.estimate for row in analysis.interactions if row.headline}
    # A difference of differences is twice the interaction effect that textbooks give.
    assert pairs == pytest.approx({"AB": 2 * -1.0, "AC": 2 * -18.5, "AD": 2 * 19.0}, abs=0.2)


@pytest.mark.parametrize("generators", ["a b c abc", "a b c d abc abd acd", "a b c d abcd"])
def test_aliases_agree_with_pydoe3(generators: str) -> None:
    runs = fracfact(generators)
    names = list(string.ascii_uppercase[: runs.shape[1]])
    table = pd.DataFrame([dict(zip(names, row, strict=True)) | {"seed": seed, "accuracy": seed + row @ row}
                          for row in runs.astype(int) for seed in (0, 1)])  # fmt: skip
    analysis = analysis_of(table, fractional=True)
    sets = [{frozenset(term) for term in line.upper().split(" = ")} for line in fracfact_aliasing(runs)[0]]
    for row in [*analysis.contrasts, *analysis.interactions]:
        own = frozenset({row.factor, *([row.factor_b] if row.factor_b else [])})
        expected = next(terms for terms in sets if own in terms) - {own}
        assert {frozenset(alias.factors) for alias in row.aliases} == {term for term in expected if len(term) <= 3}
        assert all(alias.share == pytest.approx(1) for alias in row.aliases)


def test_a_clear_sum_of_aliased_interactions_gets_no_verdict_and_main_effects_keep_theirs() -> None:
    analysis = analysis_of(fractional_table((2,) * 7, 4, lambda run: 3 * run[0] - 2 * run[1] + 2 * run[2] * run[3]))
    verdicts = {row.factor: row.verdict for row in analysis.headlines()}
    assert (verdicts["A"], verdicts["B"]) == (HELPS, HURTS)
    withheld = [row for row in analysis.interactions if row.headline and row.withheld]
    assert [{*withheld[0].aliases[0].factors}, {*withheld[0].aliases[1].factors}] == [{"C", "D"}, {"E", "F"}]
    assert len(withheld) == 1 and withheld[0].estimate == pytest.approx(2, abs=0.4)
    assert "C x D" in withheld[0].words and not any(row.demoted for row in analysis.headlines())
    assert any("A x G, C x D and E x F are aliased" in warning for warning in analysis.warnings)


def test_the_clear_factors_are_those_of_clear_effects_and_of_sums_that_are_aliased() -> None:
    table = fractional_table((2,) * 7, 4, lambda run: 3 * run[0] - 0.4 * run[1] + 2 * run[4] * run[5])
    # B is real but negligible; E x F is aliased with A x G and C x D
    assert clear_factors(analysis_of(table)) == ["A", "C", "D", "E", "F", "G"]
    assert clear_factors(analysis_of(fractional_table((2,) * 7, 4, lambda run: 0.0))) == []


def test_each_sum_of_aliased_interactions_counts_once_in_its_family() -> None:
    analysis = analysis_of(fractional_table((2,) * 7, 4, lambda run: 0.0))
    sums = [row for row in analysis.interactions if row.headline]
    assert len(sums) == 7 and {row.family_size for row in sums} == {7}


def test_resolution_five_tells_interactions_apart_and_gives_simple_effects() -> None:
    analysis = analysis_of(fractional_table((2,) * 5, 5, lambda run: 2 * run[2] * run[3]))
    assert headline(analysis, "C", "D").flagged and headline(analysis, "C").demoted_by == ("D",)
    simple = {(row.factor, row.at_level): row.estimate for row in analysis.contrasts if row.kind == "simple"}
    assert simple["C", "0"] == pytest.approx(0, abs=0.5) and simple["C", "1"] == pytest.approx(2, abs=0.5)
    assert not any("balanced" in warning for warning in analysis.warnings)


def test_a_missing_cell_leaves_main_effects_free_of_interactions_of_two_factors() -> None:
    table = fractional_table((2,) * 7, 4, lambda run: 3 * run[0] + 4 * run[2] * run[3], without={5})
    analysis = analysis_of(table)
    for row in analysis.headlines():
        assert all(len(alias.factors) == 3 for alias in row.aliases)
        assert row.estimate == pytest.approx({"A": 3, "C": 2, "D": 2}.get(row.factor, 0), abs=0.5)


def test_an_effect_that_is_aliased_in_part_with_a_clear_one_gets_no_verdict() -> None:
    table = fractional_table((2,) * 7, 4, lambda run: 3 * run[0] + 4 * run[2] * run[3], without={3, 5, 6, 9})
    analysis = analysis_of(table)
    partial = [row for row in analysis.headlines() if any(len(alias.factors) == 2 for alias in row.aliases)]
    assert partial and any(row.verdict == NOT_ESTIMABLE and "partly" in row.words for row in partial)
    assert any("balanced" in warning for warning in analysis.warnings)


def test_factors_of_three_levels() -> None:
    def effect(run: tuple[int, ...]) -> float:
        return 3 * (run[0] == 1) - 2 * (run[1] == 2) + (run[4] == 1)

    analysis = analysis_of(fractional_table((3, 3, 2, 2, 2, 2), 4, effect))
    found = {(row.factor, row.level): row.estimate for row in analysis.headlines()}
    expected = {("A", "1"): 3, ("A", "2"): 0, ("B", "1"): 0, ("B", "2"): -2, ("E", "1"): 1}
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=0.5)
    assert {row.kind for row in analysis.contrasts} == {"main", "trend-linear", "trend-quadratic"}


def test_evaluations_inside_a_training_are_crossed_with_the_fraction() -> None:
    table = fractional_table((2,) * 5, 5, lambda run: 2.0 * run[0])
    doubled = pd.concat([table.assign(H=0), table.assign(H=1, accuracy=table["accuracy"] + 1 + 2 * table["B"])])
    analysis = analysis_of(doubled, within=["H"])
    assert headline(analysis, "H").estimate == pytest.approx(2, abs=0.1)
    assert headline(analysis, "A").estimate == pytest.approx(2, abs=0.4)
    assert headline(analysis, "B", "H").estimate == pytest.approx(2, abs=0.01)


def test_the_analysis_of_variance_has_a_term_for_each_sum() -> None:
    analysis = analysis_of(fractional_table((2,) * 7, 4, lambda run: 3.0 * run[0]))
    terms = {row.term: row for row in analysis.anova}
    assert list(terms)[:8] == ["A", "B", "C", "D", "E", "F", "G", "A:B = C:E = D:F"] and len(terms) == 14
    assert {row.df for row in analysis.anova} == {1} and {row.df_error for row in analysis.anova} == {45}


def test_one_seed_is_screened() -> None:
    screening = analysis_of(fractional_table((2,) * 7, 4, lambda run: 6.0 * run[0] - 4 * run[6], seeds=1)).screening
    assert screening is not None
    outside = [effect.term for effect in screening.effects if effect.outside == "simultaneous margin"]
    assert outside == ["A", "G"] and len(screening.effects) == 14


def test_without_saying_so_a_fraction_has_no_comparison() -> None:
    table = fractional_table((2,) * 7, 4, lambda run: 3.0 * run[0]).drop(columns="fraction_runs")
    assert {row.verdict for row in analysis_of(table).headlines()} == {NOT_ESTIMABLE}
    assert headline(analysis_of(table, fractional=True), "A").verdict == HELPS


def test_the_rows_survive_json() -> None:
    analysis = analysis_of(fractional_table((2,) * 7, 4, lambda run: 3.0 * run[0]))
    again = Analysis.from_dict(analysis.to_dict())
    assert again.contrasts == analysis.contrasts and again.overview.fractional
    assert analysis.to_dict()["contrasts"][0]["aliases"][0] == {"factors": ["B", "C", "E"], "share": 1.0}


def test_a_wrong_number_of_runs_is_refused() -> None:
    table = fractional_table((2,) * 7, 4, lambda run: 0.0).assign(fraction_runs="many")
    with pytest.raises(UserError, match="fraction_runs: 'many' is no number of runs"):
        analysis_of(table)
