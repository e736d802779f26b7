"""What `analyze` says of balanced, unbalanced, nested and split-plot tables, against references computed apart."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sota_bench.errors import UserError
from sota_bench.stats import VERDICTS, Analysis, analyze
from sota_bench.stats.verdicts import INTERACTION_VERDICTS

CONTRACT = {
    "factor", "level", "baseline", "error", "estimate", "se", "df", "low", "high", "p", "p_holm", "mde", "seeds_needed",
    "verdict",
}  # fmt: skip


def grid(seeds: int = 4, noise: float = 0.3, stream: int = 0, tta: bool = False) -> pd.DataFrame:
    """mixup 0 / 0.2 / 0.4 (-2 points each) by resize (+3), seed effects, optional TTA (+1, noise of its own)."""
    rng = np.random.default_rng(stream)
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        shift = rng.normal()
        for mixup in (0.0, 0.2, 0.4):
            for resize in ("128x5", "64x3 128x2"):
                run = 60 + shift - 10 * mixup + 3 * (resize != "128x5") + noise * rng.normal()
                cell = {"seed": seed, "mixup": mixup, "resize": resize}
                if tta:
                    rows += [
                        {**cell, "tta": on, "accuracy": run + on * 1.0 + 0.05 * rng.normal()} for on in (False, True)
                    ]
                else:
                    rows.append({**cell, "accuracy": run})
    return pd.DataFrame(rows)


def pick(analysis: Analysis, error: str, kind: str = "main", **wanted: object) -> dict[str, Any]:
    rows = [
        row
        for row in analysis.contrasts
        if row["error"] == error and row["kind"] == kind and all(row[name] == value for name, value in wanted.items())
    ]
    assert len(rows) == 1, rows
    return rows[0]


def test_json_follows_the_contract() -> None:
    analysis = json.loads(analyze(grid(), response="accuracy", factors=["mixup", "resize"], delta=0.5).to_json())
    assert {"anova", "contrasts", "interactions", "warnings"} <= set(analysis)
    assert {row["error"] for row in analysis["contrasts"]} == {"pooled", "paired", "moderated"}
    assert all(row["headline"] for row in analysis["contrasts"] if row["error"] == "moderated")
    for row in [*analysis["contrasts"], *analysis["interactions"]]:
        assert set(row) >= CONTRACT
        assert row["verdict"] in (INTERACTION_VERDICTS if row["kind"] == "interaction" else VERDICTS)
        assert row["words"].endswith(".")
    for row in analysis["anova"]:
        assert set(row) >= {"term", "df", "df_error", "F", "p"}
        assert row["df_error"] == (4 - 1) * (6 - 1)


def test_paired_rows_are_scipys_paired_t_over_seed_means() -> None:
    table = grid()
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"])
    means = table.groupby(["seed", "mixup"])["accuracy"].mean().unstack()
    for level in (0.2, 0.4):
        row = pick(analysis, "paired", factor="mixup", level=str(level))
        reference = stats.ttest_rel(means[level], means[0.0])
        interval = reference.confidence_interval()
        assert row["p"] == pytest.approx(reference.pvalue)
        assert (row["low"], row["high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))
        assert list(row["seeds"].values()) == pytest.approx((means[level] - means[0.0]).to_list())


def test_pooled_rows_are_least_squares_with_seed_as_block() -> None:
    import statsmodels.formula.api as smf

    table = grid()
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"])
    fit = smf.ols("accuracy ~ C(seed) + C(mixup) * C(resize)", table).fit()
    effect = fit.t_test("C(mixup)[T.0.2] + 0.5 * C(mixup)[T.0.2]:C(resize)[T.64x3 128x2] = 0")
    row = pick(analysis, "pooled", factor="mixup", level="0.2")
    assert row["df"] == fit.df_resid == (4 - 1) * (6 - 1)
    assert (row["estimate"], row["se"]) == (pytest.approx(effect.effect.item()), pytest.approx(effect.sd.item()))
    assert row["p"] == pytest.approx(effect.pvalue.item())


def test_missing_trials_are_least_squares_and_are_told() -> None:
    import statsmodels.formula.api as smf

    table = grid()
    table["status"] = "done"
    table.loc[[3, 10], "status"] = ["failed", "blocked"]
    table.loc[[3, 10], "accuracy"] = np.nan
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"])
    fit = smf.ols("accuracy ~ C(seed) + C(mixup) * C(resize)", table[table.status == "done"]).fit()
    effect = fit.t_test("C(mixup)[T.0.2] + 0.5 * C(mixup)[T.0.2]:C(resize)[T.64x3 128x2] = 0")
    row = pick(analysis, "pooled", factor="mixup", level="0.2")
    assert row["df"] == fit.df_resid == 13
    assert (row["estimate"], row["se"]) == (pytest.approx(effect.effect.item()), pytest.approx(effect.sd.item()))
    assert analysis.overview.rows == {"done": 22, "failed": 1, "blocked": 1}
    text = " ".join(analysis.warnings)
    assert "1 row with status failed" in text and "1 row with status blocked" in text
    assert "2 of 24 results are missing" in text
    assert pick(analysis, "paired", factor="resize")["n"] == 4


def test_a_missing_pair_is_filled_by_the_additive_model() -> None:
    """Yates' formula for one missing value in an S x O table of differences: (S B + O T - G) / ((S - 1)(O - 1))."""
    table = grid()
    lost = table.index[(table.seed == 1) & (table.mixup == 0.2) & (table.resize == "128x5")]
    analysis = analyze(table.drop(lost), response="accuracy", factors=["mixup", "resize"])
    wide = table.set_index(["seed", "mixup", "resize"])["accuracy"].unstack()
    d = (wide.xs(0.2, level="mixup") - wide.xs(0.0, level="mixup")).to_numpy(copy=True)
    d[1, 0] = 0.0
    d[1, 0] = (4 * d[1].sum() + 2 * d[:, 0].sum() - d.sum()) / (3 * 1)
    row = pick(analysis, "paired", factor="mixup", level="0.2")
    assert list(row["seeds"].values()) == pytest.approx(d.mean(axis=1).tolist())


def test_simple_effects_use_their_own_cells() -> None:
    table = grid(stream=3)
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"], simple="all")
    part = table[table["resize"] == "128x5"].set_index(["seed", "mixup"])["accuracy"].unstack()
    row = pick(analysis, "paired", "simple", factor="mixup", level="0.4", at_level="128x5")
    assert row["p"] == pytest.approx(stats.ttest_rel(part[0.4], part[0.0]).pvalue)
    pooled = pick(analysis, "pooled", "simple", factor="mixup", level="0.4", at_level="128x5")
    alone = analyze(table[table["resize"] == "128x5"], response="accuracy", factors=["mixup"])
    assert pooled["se"] == pytest.approx(pick(alone, "pooled", factor="mixup", level="0.4")["se"])
    assert pooled["df"] == 6


def test_within_run_factors_are_compared_inside_runs_only() -> None:
    table = grid(noise=3.0, tta=True)
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"], within=["tta"])
    wide = table.set_index(["seed", "mixup", "resize", "tta"])["accuracy"].unstack()
    gains = (wide[True] - wide[False]).unstack(["mixup", "resize"])
    row = pick(analysis, "pooled", factor="tta")
    assert row["estimate"] == pytest.approx(gains.to_numpy().mean())
    variance = ((gains - gains.mean()) ** 2).to_numpy().sum() / (6 * 3)
    assert row["se"] == pytest.approx(np.sqrt(variance / 24))
    assert row["df"] == 18
    paired = pick(analysis, "paired", factor="tta")
    assert paired["headline"] and not row["headline"], "gains may differ between seeds"
    assert paired["p"] == pytest.approx(stats.ttest_1samp(gains.mean(axis=1), 0).pvalue)
    # Noise between runs (3 points) must not reach the comparison inside runs (0.05 points).
    assert row["se"] < 0.1 < 0.5 < pick(analysis, "pooled", factor="resize")["se"]
    assert next(term for term in analysis.anova if term.term == "tta").stratum == "within run"


def test_within_run_anova_with_two_levels_is_the_square_of_the_t() -> None:
    analysis = analyze(grid(tta=True), response="accuracy", factors=["mixup", "resize"], within=["tta"])
    row = pick(analysis, "pooled", factor="tta")
    term = next(term for term in analysis.anova if term.term == "tta")
    assert pytest.approx((row["estimate"] / row["se"]) ** 2) == term.F
    assert term.df_error == row["df"]


def test_evaluations_that_only_some_runs_have_are_compared_where_they_exist() -> None:
    table = grid(tta=True).rename(columns={"tta": "size"})
    table["size"] = table["size"].map({False: 64, True: 128})
    extra = table[(table["size"] == 128) & (table["resize"] != "128x5")].assign(size=160)
    analysis = analyze(pd.concat([table, extra]), response="accuracy", factors=["mixup", "resize"], within=["size"])
    usual = analyze(table, response="accuracy", factors=["mixup", "resize"], within=["size"])
    assert pick(analysis, "pooled", factor="mixup", level="0.2")["se"] == pytest.approx(
        pick(usual, "pooled", factor="mixup", level="0.2")["se"]
    )
    assert pick(analysis, "paired", factor="size", level="160")["estimate"] is not None


def test_linear_trend_is_the_fitted_slope_over_the_range() -> None:
    table = grid(stream=2)
    table["mixup"] = table["mixup"].map({0.0: 0.0, 0.2: 0.1, 0.4: 0.4})  # unequal steps
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"])
    slope = stats.linregress(table["mixup"], table["accuracy"]).slope
    assert pick(analysis, "pooled", "trend-linear")["estimate"] == pytest.approx(slope * 0.4)
    curve = np.polyfit(table["mixup"], table["accuracy"], 2)[0]
    x = np.array([0.0, 0.1, 0.4])
    quadratic = pick(analysis, "pooled", "trend-quadratic")
    assert np.sign(quadratic["estimate"]) == np.sign(curve)
    weights = np.linalg.solve(np.array([[1, 1, 1], x, x**2]), [0, 0, 1])  # second divided difference
    means = table.groupby("mixup")["accuracy"].mean().to_numpy()
    assert quadratic["estimate"] == pytest.approx(weights @ means / weights[weights > 0].sum())


def test_trend_of_a_straight_line_is_straight() -> None:
    analysis = analyze(grid(seeds=5, noise=0.1), response="accuracy", factors=["mixup", "resize"])
    assert pick(analysis, "pooled", "trend-linear")["verdict"] == "hurts"
    assert pick(analysis, "pooled", "trend-quadratic")["verdict"] == "no detectable effect"


def test_a_main_effect_in_a_clear_interaction_is_demoted_and_explained() -> None:
    table = grid(noise=0.2)
    table["accuracy"] += 4 * ((table["mixup"] == 0.4) & (table["resize"] != "128x5"))
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"])
    row = pick(analysis, "pooled", factor="mixup", level="0.4")
    assert row["demoted"] and row["demoted_by"] == ("resize",)
    assert "interacts with resize" in row["words"]
    assert not pick(analysis, "pooled", factor="mixup", level="0.2")["demoted"]
    assert any("interact" in warning for warning in analysis.warnings)
    here, there = (
        pick(analysis, "pooled", "simple", factor="mixup", level="0.4", at_level=level)
        for level in ("128x5", "64x3 128x2")
    )
    assert here["verdict"] == "hurts" and here["estimate"] == pytest.approx(-4, abs=1)
    assert there["estimate"] == pytest.approx(0, abs=1)
    (interaction,) = [r for r in analysis.interactions if r["level"] == "0.4" and r["error"] == "pooled"]
    assert interaction["flagged"]
    told = {row["level"]: row["verdict"] for row in analysis.to_dict()["interactions"] if row["error"] == "pooled"}
    assert told == {"0.4": "clear interaction", "0.2": "no clear interaction"}
    frame = analysis.table()
    last = frame[frame["kind"] == "interaction"]
    assert len(last) == len(analysis.interactions) and list(frame["kind"])[-len(last) :] == ["interaction"] * len(last)
    assert set(last["verdict"]) <= {"clear interaction", "no clear interaction"}
    assert set(last["factor_b"]) == {"resize"}
    assert interaction["estimate"] == pytest.approx(there["estimate"] - here["estimate"])


def test_disagreeing_errors_are_a_warning() -> None:
    """The effect differs wildly between seeds: the pooled error cannot see it all, the paired one does."""
    rng = np.random.default_rng(1)
    rows = [
        {"seed": s, "a": a, "b": b, "y": a * (3 + gain) + 0.1 * rng.normal()}
        for s, gain in enumerate((-2.5, 0.0, 2.5)) for a in (0, 1) for b in range(8)
    ]  # fmt: skip
    analysis = analyze(pd.DataFrame(rows), response="y", factors=["a", "b"])
    assert pick(analysis, "pooled", factor="a")["verdict"] == "helps"
    assert pick(analysis, "paired", factor="a")["verdict"] == "no detectable effect"
    read = pick(analysis, "moderated", factor="a")
    assert read["headline"] and read["verdict"] == "no detectable effect"
    assert any("a 1 vs 0: the errors disagree" in note for note in analysis.notes)


def test_nested_factor_is_compared_where_both_levels_exist() -> None:
    """A mitigation needs a rise in resolution: fixed-size cells exist without any mitigation only."""
    rng = np.random.default_rng(0)
    cells = [("128x5", "none"), ("64x3 128x2", "none"), ("64x3 128x2", "ewc"), ("64x3 128x2", "freeze")]
    rows = [
        {"seed": s, "resize": r, "mitigation": m, "accuracy": 50 + 3 * (r != "128x5") + 2 * (m == "ewc") + noise}
        for s in range(4) for (r, m), noise in zip(cells, 0.3 * rng.normal(size=4), strict=True)
    ]  # fmt: skip
    rows += [{"seed": s, "resize": "128x5", "mitigation": "ewc", "status": "not_applicable"} for s in range(4)]
    table = pd.DataFrame(rows)
    table["status"] = table["status"].fillna("done")
    analysis = analyze(table, response="accuracy", factors=["resize", "mitigation"])
    row = pick(analysis, "pooled", factor="mitigation", level="ewc")
    assert row["part"] == "resize = 64x3 128x2" and row["words"].endswith(f"({row['part']}).")
    assert row["verdict"] == "helps" and row["df"] == 9
    assert pick(analysis, "pooled", factor="resize")["part"] == "mitigation = none"
    assert analysis.interactions == ()
    assert any("not applicable" in warning for warning in analysis.warnings)
    assert any("resize x mitigation" in warning for warning in analysis.warnings)
    assert not any("Unbalanced" in warning for warning in analysis.warnings)


def split_plot(seeds: int = 4) -> pd.DataFrame:
    """Two mitigations after a stage that depends on mixup alone."""
    rng = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for mixup in (0.0, 0.2, 0.4):
            stage = rng.normal()
            rows += [
                {"seed": seed, "mixup": mixup, "mitigation": m, "stage": f"{seed}-{mixup}", "y": stage + rng.normal()}
                for m in ("none", "ewc")
            ]
    return pd.DataFrame(rows)


def test_trainings_that_share_a_stage_are_a_split_plot() -> None:
    """Against statsmodels: whole plots on their means, what is inside a plot with plot x seed as block."""
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    table = split_plot()
    analysis = analyze(table, response="y", factors=["mixup", "mitigation"], shares="stage")
    means = table.groupby(["seed", "mixup"], as_index=False)["y"].mean()
    whole = smf.ols("y ~ C(seed) + C(mixup)", means).fit()
    row = pick(analysis, "pooled", factor="mixup", level="0.2")
    assert row["df"] == whole.df_resid == 6
    assert pick(analysis, "moderated", factor="mixup", level="0.2")["headline"]
    assert row["se"] == pytest.approx(whole.bse["C(mixup)[T.0.2]"])
    assert row["estimate"] == pytest.approx(whole.params["C(mixup)[T.0.2]"])
    stages = pd.get_dummies(table["stage"], dtype=float)
    ewc = pd.get_dummies(table["mixup"], dtype=float).mul(table["mitigation"] == "ewc", axis=0)
    parts = sm.OLS(table["y"], np.hstack([stages, ewc])).fit()
    effect = parts.t_test(np.r_[np.zeros(12), np.full(3, 1 / 3)])
    inside = pick(analysis, "pooled", factor="mitigation")
    assert inside["df"] == parts.df_resid == 9 and not inside["headline"]
    assert inside["se"] == pytest.approx(effect.sd.item())
    assert pick(analysis, "paired", factor="mitigation")["headline"]
    assert any("share a stage (stage: 6 cells in 3 groups)" in warning for warning in analysis.warnings)
    # Holm over what is read: two whole-plot p-values and a paired one.
    heads = analysis.headlines()
    assert [row["p_holm"] for row in heads] == pytest.approx(
        multipletests([row["p"] for row in heads], method="holm")[1].tolist()
    )


def test_a_split_plot_with_a_lost_trial_drops_that_plot_mean() -> None:
    import statsmodels.formula.api as smf

    table = split_plot().drop(index=3)
    analysis = analyze(table, response="y", factors=["mixup", "mitigation"], shares="stage")
    means = table.groupby(["seed", "mixup"], as_index=False)["y"].agg(["mean", "size"]).query("size == 2")
    whole = smf.ols("mean ~ C(seed) + C(mixup)", means).fit()
    row = pick(analysis, "pooled", factor="mixup", level="0.4")
    assert (row["df"], row["se"]) == (5, pytest.approx(whole.bse["C(mixup)[T.0.4]"]))
    assert pick(analysis, "pooled", factor="mitigation")["df"] == 8


def test_parts_shared_by_all_or_by_none_change_nothing() -> None:
    table = split_plot()
    plain = analyze(table, response="y", factors=["mixup", "mitigation"]).to_dict()
    for column in (table["seed"], table.index.astype(str), np.full(len(table), "")):
        shared = analyze(table.assign(stage=column), response="y", factors=["mixup", "mitigation"], shares="stage")
        assert shared.to_dict() == plain


def test_levels_of_which_some_share_a_stage_are_read_from_the_paired_error() -> None:
    """Schedules 64-96 and 64-128 share their start, the fixed size does not: their quadratic trend is both."""
    table = split_plot()
    table["stage"] = [f"{seed}-{'start' if mixup else 'fixed'}" for seed, mixup in table[["seed", "mixup"]].to_numpy()]
    analysis = analyze(table, response="y", factors=["mixup", "mitigation"], shares="stage")
    row = pick(analysis, "pooled", "trend-quadratic")
    assert row["verdict"] == "not estimable" and "share a stage" in row["reason"]
    assert pick(analysis, "paired", "trend-quadratic")["headline"]


def test_one_at_a_time_grid_is_compared_with_its_baseline() -> None:
    rng = np.random.default_rng(0)
    cells = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    rows = [{"seed": s, "a": a, "b": b, "c": c, "y": a + rng.normal()} for s in range(3) for a, b, c in cells]
    analysis = analyze(pd.DataFrame(rows), response="y", factors=["a", "b", "c"])
    table = pd.DataFrame(rows).set_index(["a", "b", "c", "seed"])["y"].sort_index()
    assert pick(analysis, "paired", factor="a")["p"] == pytest.approx(
        stats.ttest_rel(table.loc[1, 0, 0], table.loc[0, 0, 0]).pvalue
    )
    assert [term.df for term in analysis.anova] == [1, 1, 1, 0, 0, 0, 0]


def test_families_share_one_correction_each() -> None:
    table = grid(stream=4)
    one = analyze(table, response="accuracy", factors=["mixup", "resize"])
    two = analyze(table, response="accuracy", factors=["mixup", "resize"], families={"sizes": ["resize"]})
    rows = [row for row in one.contrasts if row["kind"] == "main" and row["error"] == "paired"]
    expected = multipletests([row["p"] for row in rows], method="holm")[1]
    assert [row["p_holm"] for row in rows] == pytest.approx(expected.tolist())
    alone = pick(two, "paired", factor="resize")
    assert alone["family"] == "sizes" and alone["p_holm"] == alone["p"]
    assert {row["family"] for row in two.contrasts} == {"main", "sizes", "trends"}


def test_a_trial_that_never_varies_is_not_estimable() -> None:
    rows = [{"seed": s, "a": a, "y": 70.1 + 0.1 * s} for s in range(3) for a in (0, 1)]
    analysis = analyze(pd.DataFrame(rows), response="y", factors=["a"])
    for row in analysis.contrasts:
        assert row["verdict"] == "not estimable" and row["p"] is None and "do not vary" in row["reason"]


def test_no_effect_is_never_said_of_a_large_p() -> None:
    table = grid(noise=4.0)
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"], delta=0.5)
    row = pick(analysis, "paired", factor="mixup", level="0.2")
    assert row["verdict"] == "no detectable effect"
    assert "This run could detect" in row["words"] and "more seeds would detect 0.5 pp" in row["words"]


def test_lower_is_better_turns_the_verdict() -> None:
    analysis = analyze(grid(noise=0.1), response="accuracy", factors=["mixup", "resize"], higher_is_better=False)
    assert pick(analysis, "pooled", factor="resize")["verdict"] == "hurts"
    assert pick(analysis, "pooled", factor="mixup", level="0.4")["verdict"] == "helps"


def test_seeds_added_after_a_look_are_marked() -> None:
    analysis = analyze(grid(), response="accuracy", factors=["mixup", "resize"], added_seeds=[3])
    assert all(row["after_look"] for row in analysis.contrasts)
    assert any("seed 3 added after looking" in warning for warning in analysis.warnings)
    by_column = analyze(grid().assign(added_after_look=grid()["seed"] == 3), response="accuracy", factors=["mixup"])
    assert by_column.overview.added_after_look == ("3",)


def test_baselines_and_spellings_of_levels() -> None:
    table = pd.DataFrame({"seed": [0, 0, 1, 1], "tta": [True, False] * 2, "y": [1.0, 2.0, 1.5, 2.1]})
    assert analyze(table, response="y", factors=["tta"]).overview.factors == {"tta": ["false", "true"]}
    text = table.assign(tta=["True", "False"] * 2)
    analysis = analyze(text, response="y", factors={"tta": [False, True]})
    assert analysis.overview.factors == {"tta": ["false", "true"]}
    numbers = table.assign(mixup=["0.20", "0", "0.2", "0.0"])
    assert analyze(numbers, response="y", factors={"mixup": [0.0, 0.2]}).contrasts[0]["n"] == 2


def test_repeated_rows_are_averaged_with_a_warning() -> None:
    table = pd.concat([grid(), grid(stream=1)])
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"])
    assert pick(analysis, "pooled", factor="resize")["df"] == 15
    assert any("averaged" in warning for warning in analysis.warnings)


def test_a_grid_without_any_finished_trial_is_not_estimable() -> None:
    analysis = analyze(grid().assign(status="failed"), response="accuracy", factors=["mixup", "resize"])
    assert {row["verdict"] for row in analysis.contrasts} == {"not estimable"}
    assert "24 rows with status failed" in " ".join(analysis.warnings)


def test_accuracies_that_look_like_fractions() -> None:
    table = grid()
    table["accuracy"] /= 100
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"])
    assert any("like fractions" in warning for warning in analysis.warnings)
    with pytest.raises(UserError, match="delta is in percentage points"):
        analyze(table, response="accuracy", factors=["mixup", "resize"], delta=0.5)
    ours = analyze(table, response="accuracy", factors=["mixup", "resize"], delta=0.5, unit="pp")
    assert not any("fractions" in warning for warning in ours.warnings), "whoever names the unit knows it"
    loss = analyze(table.rename(columns={"accuracy": "nll"}), response="nll", factors=["mixup"], delta=0.5)
    assert not any("fractions" in warning for warning in loss.warnings)


def test_seven_factors_take_seconds() -> None:
    rng = np.random.default_rng(0)
    names = list("abcdefg")
    rows = [
        {"seed": s, **{name: cell >> i & 1 for i, name in enumerate(names)}, "y": rng.normal()}
        for s in range(3) for cell in range(128)
    ]  # fmt: skip
    analysis = analyze(pd.DataFrame(rows), response="y", factors=names)
    assert {row.df_error for row in analysis.anova} == {254}
    assert len(analysis.anova) == 7 + 21 + 35


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"response": "acuracy"}, "did you mean accuracy"),
        ({"factors": ["mixupp"]}, "did you mean mixup"),
        ({"factors": []}, "no factor is named"),
        ({"factors": {"mixup": [0.0, 0.2]}}, "level '0.4' is not declared"),
        ({"factors": ["seed"]}, "two roles"),
        ({"block": "sead"}, "did you mean seed"),
        ({"within": ["resize"], "block": None}, "name a block"),
        ({"delta": -1.0}, "positive number"),
        ({"delta": float("nan")}, "positive number"),
        ({"alpha": 5.0}, "0.05"),
        ({"families": {"f": ["nothing"]}}, "is no factor"),
        ({"added_seeds": [9]}, "not in the table"),
        ({"shares": "stag"}, "no such column"),
        ({"shares": "resize", "block": None}, "name a block"),
    ],
)
def test_mistakes_are_user_errors(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        analyze(grid(), **{"response": "accuracy", "factors": ["mixup", "resize"], **change})


@pytest.mark.parametrize("value", ["high", np.nan, np.inf, ""])
def test_a_response_that_is_no_number_is_a_user_error(value: object) -> None:
    table = grid()
    table["accuracy"] = table["accuracy"].astype(object)
    table.loc[5, "accuracy"] = value
    with pytest.raises(UserError, match="row 5 holds"):
        analyze(table, response="accuracy", factors=["mixup"])


def test_empty_values_may_be_left_out_on_request() -> None:
    table = grid()
    table.loc[5, "accuracy"] = np.nan
    analysis = analyze(table, response="accuracy", factors=["mixup", "resize"], allow_missing=True)
    assert any("1 row without a value" in warning for warning in analysis.warnings)


def floored(seeds: int = 3) -> pd.DataFrame:
    """Without normalization every network guesses (10 percent); with it, mixup costs 3 points."""
    rng = np.random.default_rng(9)
    rows = [
        {"seed": s, "normalize": n, "mixup": m, "lr": r, "accuracy": 10 if n == "none" else 40 - 15 * m + rng.normal()}
        for s in range(seeds) for n in ("dataset", "none") for m in (0.0, 0.2) for r in ("low", "high")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_level_at_a_floor_dilutes_the_other_factors() -> None:
    table = floored()
    analysis = analyze(table, response="accuracy", factors=["normalize", "mixup", "lr"])
    assert analysis.warnings[0].startswith("With normalize = none nothing varies")
    row = pick(analysis, "pooled", factor="mixup")
    assert row["diluted_by"] == ("normalize = none",) and "nothing varies" in row["words"]
    assert pick(analysis, "pooled", factor="normalize")["diluted_by"] == ()
    where_it_trains = pick(analysis, "pooled", "simple", factor="mixup", at_level="dataset")
    assert where_it_trains["at_factor"] == "normalize" and where_it_trains["diluted_by"] == ()
    alone = analyze(table[table["normalize"] == "dataset"], response="accuracy", factors=["mixup", "lr"])
    assert where_it_trains["estimate"] == pytest.approx(pick(alone, "pooled", factor="mixup")["estimate"])
    assert where_it_trains["se"] == pytest.approx(pick(alone, "pooled", factor="mixup")["se"])
    assert row["estimate"] == pytest.approx(where_it_trains["estimate"] / 2)
    none = analyze(table, response="accuracy", factors=["normalize", "mixup", "lr"], simple="none")
    assert {row["kind"] for row in none.contrasts} == {"main"}


def test_one_prediction_off_chance_leaves_a_level_at_its_floor() -> None:
    table = floored()
    table.loc[table.index[table["normalize"] == "none"][0], "accuracy"] += 0.3
    row = pick(analyze(table, response="accuracy", factors=["normalize", "mixup", "lr"]), "pooled", factor="mixup")
    assert row["diluted_by"] == ("normalize = none",)


def test_quiet_levels_are_not_floors() -> None:
    """Little noise is no floor where other factors still have effects; nor is a table without any noise."""
    table = floored()
    quiet = table.assign(accuracy=table["accuracy"] + 2 * (table["normalize"] == "none") * (table["mixup"] > 0))
    for other in (quiet, grid(), grid(noise=0.0)):
        names = [name for name in other.columns if name not in ("seed", "accuracy")]
        analysis = analyze(other, response="accuracy", factors=names)
        assert not any(row["diluted_by"] for row in [*analysis.contrasts, *analysis.interactions])


def test_combinations_without_a_result_are_told() -> None:
    table = grid()
    gone = table[(table["mixup"] != 0.4) | (table["resize"] != "128x5")]
    analysis = analyze(gone, response="accuracy", factors=["mixup", "resize"])
    assert any("Only 5 of 6 combinations of levels have a result" in warning for warning in analysis.warnings)
    whole = analyze(grid(), response="accuracy", factors=["mixup", "resize"])
    assert not any("combinations" in warning for warning in whole.warnings)


def test_unequal_runs_without_blocks_are_told() -> None:
    analysis = analyze(grid().drop(index=[3, 5]), response="accuracy", factors=["mixup", "resize"], block=None)
    assert any("cells hold 3 to 4 runs" in warning for warning in analysis.warnings)
