"""(13) Diagnostics: do the assumptions behind the intervals hold, what failed, and what was reused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sota_bench.report.parts import WIDE, Block, Cell, Chart, Section, Table
from sota_bench.report.text import join, minutes, number, p_value, plural
from sota_bench.report.theme import Ink, name_y, sheet
from sota_bench.report.view import View, records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sota_bench.stats.result import ScreenedEffect, ScreenedStratum, Screening

MOST_ROWS = 200
MOST_DOTS = 250
OUTLYING = 4.0
SAID = {"input": "what the network saw"}


def section(view: View) -> Section:
    """Always there: failures and stages are shown even where no residual exists."""
    blocks: list[Block] = []
    residuals = _residuals(view)
    if len(residuals) > 3:
        blocks.append(_residual_chart(residuals))
    if view.analysis.screening:
        blocks.append(_screening_chart(view.analysis.screening))
    if view.analysis.anova:
        blocks.append(_anova(view))
    broken = view.tables.trials[view.tables.trials["status"].isin(["failed", "blocked"])]
    if not broken.empty:
        rows = [[str(r.trial), str(r.status), str(r.error)] for r in broken.head(MOST_ROWS).itertuples(index=False)]
        blocks.append(
            Table(
                "Trials that failed or were blocked; they are counted above and missing from every estimate",
                ["Trial", "Status", "Why"],
                rows,
            )
        )
    parts = view.tables.trials.get("micro_batch")
    if parts is not None and parts.notna().any():
        rows = [[str(trial), f"{size:.0f}"] for trial, size in zip(view.tables.trials["trial"], parts, strict=True)
                if size == size]  # fmt: skip
        title = "Trials whose batches were computed in parts, since memory ran out"
        blocks.append(Table(title, ["Trial", "Images of a part#"], rows[:MOST_ROWS]))
    if not view.tables.stages.empty:
        blocks.append(_stages(view))
    if notes := _notes(view):
        blocks.append(notes)
    return Section("diagnostics", "Diagnostics", _lead(view, residuals), blocks)


def _lead(view: View, residuals: pd.DataFrame) -> str:
    failed = view.run["counts"]["failed"]
    text = (
        "No trial failed." if failed == 0 else f"{plural(failed, 'trial')} failed; the table below says which and why."
    )
    if len(residuals) <= 3:
        return text
    far = residuals[residuals["scaled"].abs() > OUTLYING]
    if far.empty:
        return (
            f"{text} No trial lies further than {OUTLYING:.0f} standard deviations from what its cell and seed predict."
        )
    return (
        f"{text} Unusual: {', '.join(far['trial'].head(5))}: look at their learning curves before trusting their cells."
    )


def _residuals(view: View) -> pd.DataFrame:
    """What cell and seed do not explain (``y = cell + seed + residual``), fitted by alternating means.

    Returns:
        Columns ``trial``, ``fitted``, ``residual`` in percentage points, and ``scaled`` by the standard deviation;
        empty with one seed, and where nothing is left to explain.
    """
    frame = view.done[["trial", "cell", "seed", "accuracy"]].dropna().copy()
    df = len(frame) - frame["cell"].nunique() - frame["seed"].nunique() + 1
    if df < 1 or frame["seed"].nunique() < 2:
        return pd.DataFrame(columns=["trial", "fitted", "residual", "scaled"])
    left = frame["accuracy"].to_numpy(float).copy()
    codes = [pd.factorize(frame[name])[0] for name in ("cell", "seed")]
    for _ in range(50):
        for code in codes:
            left -= (np.bincount(code, left) / np.bincount(code))[code]
    scale = float(np.sqrt((left**2).sum() / df))
    if scale < 1e-9:  # cell and seed explain everything: there is nothing to look at
        return pd.DataFrame(columns=["trial", "fitted", "residual", "scaled"])
    return pd.DataFrame(
        {
            "trial": frame["trial"].to_numpy(),
            "fitted": frame["accuracy"].to_numpy() - left,
            "residual": left,
            "scaled": left / scale,
        }
    )


def _residual_chart(residuals: pd.DataFrame) -> Chart:
    from scipy.stats import norm

    spread = float(np.sqrt((residuals["residual"] ** 2).mean()))
    ordered = residuals.sort_values("scaled", kind="stable")
    places = norm.ppf((np.arange(1, len(ordered) + 1) - 0.375) / (len(ordered) + 0.25))
    scores = ordered["residual"] / ordered["residual"].std()
    fit = float(np.corrcoef(places, ordered["scaled"])[0, 1])
    shape = "close to normal" if fit > 0.975 else "not normal: trust the intervals less"
    top = residuals.reindex(residuals["scaled"].abs().sort_values(ascending=False, kind="stable").index).head(20)
    rows = [[r.trial, number(r.fitted, 2), number(r.residual, 2), number(r.scaled, 2)] for r in records(top)]
    table = Table(
        "The twenty largest residuals", ["Trial", "Fitted, %#", "Residual, pp#", "In standard deviations#"], rows
    )
    return Chart(
        "residuals",
        "Residuals: what cell and seed do not explain",
        f"Residuals have a standard deviation of {number(spread, 2)} pp and are {shape} (correlation with normal "
        f"quantiles {number(fit, 3)}).",
        partial(_draw_residuals, residuals.iloc[:: max(1, len(residuals) // MOST_DOTS)], places, scores.to_numpy()),
        table,
        "Left: no funnel and no bend should show. Right: on the line, they are normal.",
    )


def _draw_residuals(residuals: pd.DataFrame, places: Any, scores: Any, width: int) -> Figure:
    narrow = width < 500
    figure, axes = sheet(width, 480 if narrow else 280, 2 if narrow else 1, 1 if narrow else 2)
    dots = {"linestyle": "", "marker": "o", "markersize": 4.5, "color": str(Ink.C1), "alpha": 0.6, "markeredgewidth": 0}
    axes[0].axhline(0, color=str(Ink.SOFT), linewidth=1.2)
    axes[0].plot(residuals["fitted"], residuals["residual"], **dots)
    axes[0].set_xlabel("Fitted accuracy, %")
    name_y(axes[0], "Residual, pp")
    step = max(1, len(scores) // MOST_DOTS)
    axes[1].plot([places[0], places[-1]], [places[0], places[-1]], color=str(Ink.SOFT), linewidth=1.2)
    axes[1].plot(places[::step], scores[::step], **dots)
    axes[1].set_xlabel("Normal quantile")
    name_y(axes[1], "Residual, standard deviations")
    for ax in axes:
        ax.grid()
    return figure


def _screening_chart(screening: Screening) -> Chart:
    strata = [one for one in screening.strata if one.pse is not None]
    groups = [
        (one, sorted((e for e in screening.effects if e.stratum == one.stratum), key=lambda e: e.quantile))
        for one in strata
    ]
    findings = [_screened(one, found, len(groups) > 1) for one, found in groups]
    rows = [
        [e.term.replace(":", " \u00d7 "), e.stratum, number(e.estimate, 2), number(e.quantile, 2),
         e.outside]
        for e in sorted(screening.effects, key=lambda e: -abs(e.estimate))
    ]  # fmt: skip
    joint = join([f"{number(one.simultaneous_margin, 2)} pp {one.stratum}" for one in strata])
    table = Table(
        f"Effects by size (simultaneous margin of error: {joint})",
        ["Term", "Compared", "Effect, pp#", "Half-normal quantile#", "Place"],
        rows,
    )
    part = f" Only where the table is complete: {screening.part}." if screening.part else ""
    return Chart(
        "screening",
        "Half-normal plot of a single seed",
        f"{' '.join(findings)} It is a place to look next, not a finding.",
        partial(_draw_screening, groups),
        table,
        "Effects that are noise lie on a line through the origin; squares lie beyond the margin of error. Dashed line: "
        f"Lenth's margin of error; solid line: the simultaneous margin, for all effects of the panel together.{part}",
        width=WIDE if len(groups) > 1 else 560,
    )


def _screened(stratum: ScreenedStratum, found: list[ScreenedEffect], several: bool) -> str:
    where = f", {stratum.stratum}" if several else ""
    margin = f"Lenth's margin of error ({number(stratum.margin, 2)} pp{where})"
    out = [e.term.replace(":", " \u00d7 ") for e in reversed(found) if e.outside != "inside"]
    return f"Beyond {margin}: {join(out)}." if out else f"No effect is beyond {margin}."


def _draw_screening(groups: list[tuple[ScreenedStratum, list[ScreenedEffect]]], width: int) -> Figure:
    stacked = width < 500
    rows, columns = (len(groups), 1) if stacked else (1, len(groups))
    figure, axes = sheet(width, 340 * rows, rows, columns, squeeze=False)
    for ax, (stratum, found) in zip(axes.flat, groups, strict=True):
        ax.axvline(stratum.margin, color=str(Ink.SOFT), linestyle=(0, (4, 3)), linewidth=1.2)
        ax.axvline(stratum.simultaneous_margin, color=str(Ink.SOFT), linewidth=1.2)
        largest = max(stratum.simultaneous_margin or 0.0, *(abs(e.estimate) for e in found))
        for e in found:
            out = e.outside != "inside"
            size, place = abs(e.estimate), e.quantile
            ax.plot(
                size,
                place,
                marker="s" if out else "o",
                markersize=7 if out else 5,
                linestyle="",
                color=str(Ink.C2 if out else Ink.SOFT),
            )
            if out:
                left = size > largest / 2
                ax.annotate(
                    e.term.replace(":", " \u00d7 "),
                    (size, place),
                    xytext=(-8 if left else 8, 0),
                    textcoords="offset points",
                    ha="right" if left else "left",
                    va="center",
                )
        ax.set_xlim(0, 1.06 * largest)
        ax.grid()
        ax.set_xlabel("Size of the effect, pp")
        where = f", {stratum.stratum}" if len(groups) > 1 else ""
        name_y(ax, f"Half-normal quantile{where}")
    return figure


def _anova(view: View) -> Table:
    rows: list[list[Cell | str]] = [
        [
            row.term.replace(":", " \u00d7 "),
            number(row.df, 0),
            number(row.df_error, 0),
            number(row.F, 2),
            p_value(row.p),
            row.stratum,
        ]
        for row in view.analysis.anova
        if row.F is not None
    ]
    return Table(
        "Type II sums of squares, pooled error; within-run terms have their own",
        ["Term", "df#", "Error df#", "F#", "p#", "Compared"],
        rows,
        folded="Analysis of variance",
    )


def _notes(view: View) -> Table | None:
    """What the techniques did in each training: those that did the same are one row."""
    stages = view.tables.stages
    if stages.empty:
        return None
    trained = stages[stages["notes"].fillna("") != ""]
    rows: list[list[Cell | str]] = []
    for text, same in trained.groupby("notes", sort=False):
        values = json.loads(str(text))
        steps = values.pop("steps_at_size", {})
        said = [f"{SAID.get(name, name)}: {_said(of)}" for name, of in values.items()]
        said += [f"steps: {', '.join(f'{count} at {size} px' for size, count in steps.items())}"] if steps else []
        others = f" and {plural(len(same) - 1, 'other')}" if len(same) > 1 else ""
        rows.append([f"{same['title'].iloc[0]}{others}", "; ".join(said)])
    if not rows:
        return None
    return Table(
        "Statistics used for normalization (of 0 to 255), the mean and deviation of what the network saw in its first "
        "batch, and what mitigations did"
        + (f"; the first {MOST_ROWS} of {len(rows)}" if len(rows) > MOST_ROWS else ""),
        ["Training", "What it did"],
        rows[:MOST_ROWS],
        folded="Trainings: what their techniques did",
    )


def _said(values: Mapping[str, Any]) -> str:
    parts = []
    for name, value in values.items():
        numbers = value if isinstance(value, list) else [value]
        shown = ", ".join(number(one, 3) if isinstance(one, float) else str(one) for one in numbers)
        parts.append(f"{name} {shown or 'none'}")
    return ", ".join(parts)


def _stages(view: View) -> Table:
    stages = view.tables.stages
    seconds = stages[["prepare_s", "compile_s", "train_s", "evaluate_s"]].sum(axis=1)
    grouped = stages.assign(seconds=seconds, run=~stages["reused"].astype(bool)).groupby("kind", sort=False)
    rows: list[list[Cell | str]] = [
        [
            str(kind),
            str(len(part)),
            str(int(part["run"].sum())),
            str(int((~part["run"]).sum())),
            minutes(part.loc[part["run"], "seconds"].sum() / 60),
            number(part["peak_memory_mb"].max(), 0),
        ]
        for kind, part in grouped
    ]
    return Table(
        "Stages by kind",
        ["Kind", "Stages#", "Run#", "Reused#", "Time of those run#", "Peak memory, MB#"],
        rows,
        folded="Stages: what was run and what was reused",
    )
