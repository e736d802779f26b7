"""The analysis gives the numbers of published worked examples."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from sota_bench.stats import analyze
from sota_bench.stats.screening import lenth
from sota_bench.stats.verdicts import holm

# R's data set "sleep" (Cushny and Peebles, 1905; Student, 1908): extra hours of sleep under two drugs, ten patients.
SLEEP = ([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])

# Rutherford's repeated-measures data, as statsmodels ships them with its tests of AnovaRM: id 1..8, A x B, DV.
REPEATED = {
    ("a", "a"): [7, 3, 6, 6, 5, 8, 6, 7],
    ("a", "b"): [7, 11, 9, 11, 10, 10, 11, 11],
    ("a", "c"): [8, 14, 10, 11, 12, 10, 11, 12],
    ("b", "a"): [16, 7, 11, 9, 10, 11, 8, 8],
    ("b", "b"): [16, 10, 13, 10, 10, 14, 11, 12],
    ("b", "c"): [24, 29, 10, 22, 25, 28, 22, 24],
}

# Montgomery, Design and Analysis of Experiments: pilot plant filtration rate, 2^4, in standard order, one replicate.
FILTRATION = [45, 71, 48, 65, 68, 60, 80, 65, 43, 100, 45, 104, 75, 86, 70, 96]
FILTRATION_EFFECTS = {
    "A": 21.625, "B": 3.125, "C": 9.875, "D": 14.625, "A:B": 0.125, "A:C": -18.125, "A:D": 16.625, "B:C": 2.375,
    "B:D": -0.375, "C:D": -1.125, "A:B:C": 1.875, "A:B:D": 4.125, "A:C:D": -1.625, "B:C:D": -2.625, "A:B:C:D": 1.375,
}  # fmt: skip


def sleep() -> pd.DataFrame:
    return pd.DataFrame(
        [{"patient": i, "group": g + 1, "extra": v} for g, values in enumerate(SLEEP) for i, v in enumerate(values)]
    )


def repeated(cells: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame([{"id": i, "A": a, "B": b, "DV": v} for (a, b) in cells for i, v in enumerate(REPEATED[a, b])])


@pytest.mark.parametrize("error", ["pooled", "paired"])
def test_sleep_is_the_paired_t_test_of_r(error: str) -> None:
    """R: t.test(extra ~ group, paired = TRUE): t = -4.0621, df = 9, p = 0.002833, interval 0.7001142 2.4598858."""
    analysed = analyze(sleep(), response="extra", factors=["group"], block="patient")
    (row,) = [row for row in analysed.contrasts if row["error"] == error]
    assert row["estimate"] == pytest.approx(1.58)
    assert row["df"] == 9
    assert row["estimate"] / row["se"] == pytest.approx(4.0621, abs=5e-5)
    assert row["p"] == row["p_holm"] == pytest.approx(0.002833, abs=5e-7)
    assert (row["low"], row["high"]) == (pytest.approx(0.7001142, abs=5e-8), pytest.approx(2.4598858, abs=5e-8))
    assert row["verdict"] == "helps"


def test_unpaired_sleep_is_students_and_welchs_t_test_of_r() -> None:
    """R: t.test(extra ~ group, var.equal = TRUE): t = -1.8608, df = 18, p = 0.07919; var.equal = FALSE: the same t,
    df = 17.776, p = 0.07939."""
    pooled, moderated = analyze(sleep(), response="extra", factors=["group"], block=None).contrasts
    for row in (pooled, moderated):
        assert row["estimate"] / row["se"] == pytest.approx(1.8608, abs=5e-5)
    assert (pooled["df"], pooled["error"], pooled["headline"]) == (18, "pooled", False)
    assert pooled["p"] == pytest.approx(0.07919, abs=5e-6)
    assert (moderated["error"], moderated["headline"]) == ("moderated", True)
    assert moderated["df"] == pytest.approx(17.776, abs=5e-4)
    assert moderated["p"] == pytest.approx(0.07939, abs=5e-6)


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0, 3.0])
def test_equivalence_of_sleep(delta: float) -> None:
    """The example of R's TOSTER (t_TOST on paired sleep, bounds of 0.5) and wider bounds, against statsmodels."""
    from statsmodels.stats.weightstats import ttost_paired

    p, lower, upper = ttost_paired(np.array(SLEEP[1]), np.array(SLEEP[0]), -delta, delta)
    if delta == 0.5:  # TOSTER's two one-sided statistics, in the other direction of the difference
        assert (-upper[0], -lower[0]) == (pytest.approx(-2.777, abs=5e-4), pytest.approx(-5.348, abs=5e-4))
    analysed = analyze(sleep(), response="extra", factors=["group"], block="patient", delta=delta)
    row = analysed.headlines()[0]
    assert row["p_tost"] == pytest.approx(p)
    assert row["verdict"] == ("real but negligible" if p < 0.05 else "helps")


def test_single_factor_repeated_measures() -> None:
    """statsmodels' documented example (R's ezANOVA): F(1, 7) = 22.4, p = 0.002125452."""
    analysed = analyze(repeated([("a", "a"), ("a", "b")]), response="DV", factors=["B"], block="id")
    (term,) = analysed.anova
    assert (term.term, term.df, term.df_error) == ("B", 1, 7)
    assert pytest.approx(22.4) == term.F
    assert term.p == pytest.approx(0.002125452, abs=5e-10)
    for row in analysed.contrasts:
        assert (row["estimate"] / row["se"]) ** 2 == pytest.approx(22.4)


def test_two_factor_repeated_measures() -> None:
    """ezANOVA tests A with its own error: F(1, 7) = 40.14159, the square of the paired t; pooled F as anova_lm's."""
    import statsmodels.formula.api as smf
    from statsmodels.stats.anova import anova_lm

    table = repeated(list(REPEATED))
    analysed = analyze(table, response="DV", factors={"A": ["a", "b"], "B": ["a", "b", "c"]}, block="id")
    row = next(row for row in analysed.contrasts if row["factor"] == "A" and row["error"] == "paired")
    assert (row["estimate"] / row["se"]) ** 2 == pytest.approx(40.14159, abs=5e-6)
    assert row["p"] == pytest.approx(3.905263e-04, abs=5e-10)
    reference = anova_lm(smf.ols("DV ~ C(id) + C(A) * C(B)", table).fit(), typ=2)
    names = {"A": "C(A)", "B": "C(B)", "A:B": "C(A):C(B)"}
    assert [term.term for term in analysed.anova] == list(names)
    for term in analysed.anova:
        expected = reference.loc[names[term.term]]
        assert pytest.approx(expected["F"]) == term.F
        assert term.p == pytest.approx(expected["PR(>F)"])
        assert term.df_error == reference.loc["Residual", "df"] == 35


def test_filtration_rate_is_screened_as_in_montgomery() -> None:
    """Effects, Lenth's PSE 2.625, margin of error 6.748 and simultaneous margin 13.699."""
    rows = [
        {"seed": 0, **{name: 1 if run >> bit & 1 else -1 for bit, name in enumerate("ABCD")}, "rate": value}
        for run, value in enumerate(FILTRATION)
    ]
    levels = {name: [-1, 1] for name in "ABCD"}
    analysed = analyze(pd.DataFrame(rows), response="rate", factors=levels)
    assert analysed.screening is not None
    effects = {row.term: row for row in analysed.screening.effects}
    assert {term: row.estimate for term, row in effects.items()} == pytest.approx(FILTRATION_EFFECTS)
    assert analysed.screening.strata[0].pse == pytest.approx(2.625)
    assert analysed.screening.strata[0].margin == pytest.approx(6.748, abs=5e-4)
    assert analysed.screening.strata[0].simultaneous_margin == pytest.approx(13.699, abs=5e-4)
    large = {term for term, row in effects.items() if row.outside == "simultaneous margin"}
    assert large == {"A", "D", "A:C", "A:D"}
    assert effects["C"].outside == "margin"
    assert {row["verdict"] for row in analysed.contrasts} == {"not estimable"}
    assert all(row["p"] is None and row["reason"] == "there is only one seed" for row in analysed.contrasts)


def test_lenth_of_few_large_effects_is_not_inflated() -> None:
    values = np.array(list(FILTRATION_EFFECTS.values()))
    assert lenth(np.append(values, 1e6))[0] < 3.5


def test_plain_factorial_matches_least_squares_by_formula() -> None:
    import statsmodels.formula.api as smf

    rng = np.random.default_rng(0)
    rows = [
        {"x": x, "z": z, "y": x + 0.5 * x * z + rng.normal()}
        for x in (0, 1) for z in (0, 1) for _ in range(3 + x)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    analysed = analyze(table, response="y", factors=["x", "z"], block=None)
    fit = smf.ols("y ~ x * z", table).fit()
    effect = fit.t_test("x + 0.5 * x:z = 0")
    (row,) = [row for row in analysed.contrasts if row["factor"] == "x" and row["error"] == "pooled"]
    assert row["estimate"] == pytest.approx(effect.effect.item())
    assert row["se"] == pytest.approx(effect.sd.item())
    assert row["df"] == fit.df_resid
    assert row["p"] == pytest.approx(effect.pvalue.item())
    (row,) = [row for row in analysed.interactions if row["error"] == "pooled"]
    assert row["estimate"] == pytest.approx(fit.params["x:z"])
    assert row["p"] == pytest.approx(fit.pvalues["x:z"])


def test_holm_as_in_r_multtest() -> None:
    """The example that statsmodels' own tests took from R's package multtest, column Holm."""
    p = [0.838541367553, 0.642193923795, 0.680845947633, 0.967833824309, 0.71626938238, 0.177096952723,
         5.23656777208e-05, 0.0202732688798, 0.00028140506198, 0.0149877310796]  # fmt: skip
    expected = [1, 1, 1, 1, 1, 1, 5.23656777208e-04, 0.1419128821586, 0.00253264555782, 0.1199018486368]
    assert holm(np.array(p)) == pytest.approx(expected)


def test_holm_by_hand_and_missing_tests_do_not_count() -> None:
    assert holm(np.array([0.01, np.nan, 0.04, 0.03, 0.005])) == pytest.approx(
        [0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True
    )


def test_holm_of_many_families_is_statsmodels_for_each() -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(1).uniform(size=(6, 6)) ** 3
    p[::5, 2] = p[::5, 4]
    assert holm(p) == pytest.approx(np.array([multipletests(row, method="holm")[1] for row in p]))


def test_type_two_sums_of_squares_of_an_unbalanced_table() -> None:
    import statsmodels.formula.api as smf
    from statsmodels.stats.anova import anova_lm

    rng = np.random.default_rng(5)
    rows = [
        {"seed": s, "a": a, "b": b, "c": c, "y": 0.3 * s + a + 0.4 * a * b + rng.normal()}
        for s in range(4) for a in range(2) for b in range(3) for c in range(2)
    ]  # fmt: skip
    table = pd.DataFrame(rows).drop([3, 17, 30])
    analysed = analyze(table, response="y", factors=["a", "b", "c"])
    reference = anova_lm(smf.ols("y ~ C(seed) + C(a, Sum) * C(b, Sum) * C(c, Sum)", table).fit(), typ=2)
    for size in (1, 2, 3):
        for term in combinations("abc", size):
            row = next(row for row in analysed.anova if row.term == ":".join(term))
            expected = reference.loc[":".join(f"C({name}, Sum)" for name in term)]
            assert pytest.approx(expected["F"]) == row.F
            assert row.p == pytest.approx(expected["PR(>F)"])
