"""(13) Diagnostics: what failed, what was reused, and whether the assumptions behind the intervals hold."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sota_bench.report.effects import typeset
from sota_bench.report.parts import Block, Cell, Chart, Listing, Section, Table
from sota_bench.report.sections.screening import screening_chart
from sota_bench.report.text import duration, number, p_value
from sota_bench.report.theme import Ink, name_y, sheet
from sota_bench.report.view import View
from sota_bench.responses import Response
from sota_bench.stats.residuals import NormalPlot, cell_seed_residuals, normal_plot
from sota_bench.units import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 200
MOST_DOTS = 250
OUTLYING = 4.0
NORMAL = 0.975
"""Correlation with normal quantiles above which residuals are called close to normal."""

SHOWN_NAMES = {"input": "network input"}


def section(view: View) -> Section:
    """Always there: failures and stages are shown even where no residual exists."""
    blocks: list[Block] = []
    residuals = cell_seed_residuals(view.done, view.response.name)
    if len(residuals) > 3:
        blocks.append(_residual_chart(residuals, view.response))
    if view.analysis.screening:
        blocks.append(screening_chart(view.analysis.screening))
    if view.analysis.anova:
        blocks.append(_anova(view))
    if view.analysis.notes:
        blocks.append(Listing("Details of the analysis", [typeset(note) for note in view.analysis.notes]))
    trials = view.tables.trials
    broken = trials[trials["status"].isin(["failed", "blocked"])]
    if not broken.empty:
        rows = [[str(row["trial"]), row["status"], row["error"]] for row in broken.head(MOST_ROWS).to_dict("records")]
        blocks.append(
            Table(
                "Trials without a result; no estimate includes them",
                ["Trial", "Status", "Reason"],
                rows,
            )
        )
    parts = trials.dropna(subset=["micro_batch"])
    if not parts.empty:
        rows = [[str(row["trial"]), f"{row['micro_batch']:.0f}"] for row in parts.head(MOST_ROWS).to_dict("records")]
        title = "Trials whose batches were computed in parts because memory ran out"
        blocks.append(Table(title, ["Trial", "Images per part#"], rows))
    if not view.tables.stages.empty:
        blocks.append(_stages(view))
    if notes := _notes(view):
        blocks.append(notes)
    return Section("diagnostics", "Diagnostics", _lead(view, residuals), blocks)


def _lead(view: View, residuals: pd.DataFrame) -> str:
    failed = view.run.counts.failed
    text = f"{counted(failed, 'trial')} failed; the table below says why." if failed else "No trial failed."
    if len(residuals) <= 3:
        return text
    far = residuals[residuals["scaled"].abs() > OUTLYING]
    if far.empty:
        return f"{text} No trial is more than {OUTLYING:.0f} standard deviations from what its cell and seed predict."
    names = ", ".join(far["trial"].head(5))
    return f"{text} Unusual: {names}. Look at the learning curves of these trials before you trust their cells."


def _residual_chart(residuals: pd.DataFrame, response: Response) -> Chart:
    spread = float(residuals["residual"].std(ddof=0))
    unit = f" {response.unit}" if response.unit else ""
    plot = normal_plot(residuals["residual"].to_numpy(float))
    shape = "close to normal" if plot.correlation > NORMAL else "not normal, so the intervals are less exact"
    top = residuals.reindex(residuals["scaled"].abs().sort_values(ascending=False, kind="stable").index).head(20)
    table = Table(
        "The twenty largest residuals",
        ["Trial", f"Fitted {response.noun}#", "Residual#", "In standard deviations#"],
        [
            [
                str(row["trial"]),
                *(number(row[name], response.digits + 1) for name in ("fitted", "residual")),
                number(row["scaled"], 2),
            ]
            for row in top.to_dict("records")
        ],
    )
    return Chart(
        "residuals",
        "Residuals: what cell and seed do not explain",
        f"Residuals have a standard deviation of {number(spread, response.digits + 1)}{unit} and are {shape} "
        f"(correlation with normal quantiles: {number(plot.correlation, 3)}).",
        partial(_draw_residuals, residuals.iloc[:: max(1, len(residuals) // MOST_DOTS)], plot, response),
        table,
        "Left: the spread should be the same everywhere. Right: normal residuals lie on the line.",
    )


def _draw_residuals(residuals: pd.DataFrame, plot: NormalPlot, response: Response, width: int) -> Figure:
    narrow = width < 500
    figure, axes = sheet(width, 480 if narrow else 280, 2 if narrow else 1, 1 if narrow else 2)
    dots = {"linestyle": "", "marker": "o", "markersize": 4.5, "color": str(Ink.C1), "alpha": 0.6, "markeredgewidth": 0}
    axes[0].axhline(0, color=str(Ink.SOFT), linewidth=1.2)
    axes[0].plot(residuals["fitted"], residuals["residual"], **dots)
    axes[0].set_xlabel(f"Fitted {response.with_unit}")
    name_y(axes[0], f"Residual, {response.unit}" if response.unit else "Residual")
    ends = np.array([plot.quantiles[0], plot.quantiles[-1]])
    step = max(1, len(plot.values) // MOST_DOTS)
    axes[1].plot(ends, ends, color=str(Ink.SOFT), linewidth=1.2)
    axes[1].plot(plot.quantiles[::step], plot.values[::step], **dots)
    axes[1].set_xlabel("Normal quantile")
    name_y(axes[1], "Residual, standard deviations")
    for ax in axes:
        ax.grid()
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
        "Type II sums of squares; terms within runs have an error of their own",
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
        parts = [f"{SHOWN_NAMES.get(name, name)}: {_described(described)}" for name, described in values.items()]
        if steps:
            parts.append(f"steps: {', '.join(f'{count} at {size} px' for size, count in steps.items())}")
        others = f" and {counted(len(same) - 1, 'other')}" if len(same) > 1 else ""
        rows.append([f"{same['title'].iloc[0]}{others}", "; ".join(parts)])
    if not rows:
        return None
    cut = f"; the first {MOST_ROWS} of {len(rows)} rows" if len(rows) > MOST_ROWS else ""
    return Table(
        f"What each technique did, and mean and standard deviation of the first batch as the network saw it{cut}",
        ["Training", "What happened"],
        rows[:MOST_ROWS],
        folded="What techniques did in each training",
    )


def _described(values: dict[str, object]) -> str:
    parts = []
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        shown = ", ".join(number(item, 3) if isinstance(item, float) else str(item) for item in items)
        parts.append(f"{name.replace('_', ' ')} {shown or 'none'}")
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
            duration(part.loc[part["run"], "seconds"].sum() / 60),
            number(part["peak_memory_mb"].max(), 0),
        ]
        for kind, part in grouped
    ]
    return Table(
        "Stages by kind; stages.csv has one row for each",
        ["Kind", "Stages#", "Run#", "Reused#", "Compute time#", "Peak memory, MB#"],
        rows,
        folded="Stages that were run and reused",
    )
