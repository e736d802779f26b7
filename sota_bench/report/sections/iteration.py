"""(3) Time per iteration against the goal, predicted and measured, and what sharing saved."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from sota_bench.report.parts import Block, Chart, Facts, Prose, Section, Table
from sota_bench.report.run_record import RunRecord
from sota_bench.report.text import duration, lower_first, time_unit
from sota_bench.report.theme import Ink, legend_above, sheet, short
from sota_bench.report.view import View
from sota_bench.stats.wording import level_name
from sota_bench.units import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUSY = 0.1
"""Share of the time waiting for a processor above which a prediction error says more about the machine."""


def section(view: View) -> Section | None:
    """None before the first trial is done."""
    if view.done.empty:
        return None
    goal = view.run.goal_minutes
    rows, parts = _by_level(view)
    line = "" if goal is None else " The dashed line is the goal."
    predicted = " Diamond: predicted before the run." if rows["predicted"].notna().any() else ""
    chart = Chart(
        "minutes",
        "Time per iteration, by level",
        _finding(view, goal),
        partial(_draw, rows, goal),
        _table(rows),
        f"Square: mean over trials; line: fastest to slowest trial.{predicted}{line}{parts}",
    )
    blocks: list[Block] = [chart, Facts(totals(view.run))]
    if view.run.concurrent:
        blocks.append(
            Prose(
                [
                    "Several stages ran at once on this machine, so these times are longer than those of an iteration "
                    "alone. Use --exclusive-timing to measure iterations alone."
                ],
                "warning",
            )
        )
    return Section(
        "minutes",
        "Time per iteration",
        "An iteration is one trial as if it ran alone: its training and its evaluation.",
        blocks,
    )


def _by_level(view: View) -> tuple[pd.DataFrame, str]:
    """One row per level, and where its levels were compared if not over all trials.

    A factor whose levels were never measured all else equal shows those that were.
    """
    rows = []
    balanced = {name: view.balanced(view.done, [name], [name]) for name in view.varied}
    groups = [
        (f"{name} {level_name(level)}", part.rows[part.rows[name] == level])
        for name, part in balanced.items()
        for level in view.factors[name]
    ] or [("all trials", view.done)]
    for name, part in groups:
        if not part.empty:
            minutes = part["minutes"]
            rows.append(
                {
                    "name": name,
                    "mean": minutes.mean(),
                    "low": minutes.min(),
                    "high": minutes.max(),
                    "predicted": part["predicted_minutes"].mean(),
                    "n": len(part),
                }
            )
    parts = [f" {name}: {lower_first(view.averaged_over(part))}" for name, part in balanced.items() if part.lost_levels]
    return pd.DataFrame(rows), "".join(parts)


def _finding(view: View, goal: float | None) -> str:
    minutes = view.done["minutes"].dropna()
    if minutes.empty:
        return "No trial has a measured time."
    text = f"The median iteration took {duration(minutes.median())}, the slowest {duration(minutes.max())}"
    if goal is None:
        return f"{text}. The grid sets no goal."
    over = int((minutes > goal).sum())
    if over == 0:
        return f"{text}. All are within the goal of {duration(goal)}."
    verb = "is" if over == 1 else "are"
    return f"{text}. {over} of {counted(len(minutes), 'trial')} {verb} over the goal of {duration(goal)}."


def totals(run: RunRecord) -> list[tuple[str, str, str]]:
    """What was predicted and measured, and what sharing saved: term, value and detail."""
    predicted, measured, sharing = run.predicted, run.measured, run.sharing

    def both(before: float | None, after: float | None, detail: str) -> str:
        text = f"{duration(after)}{detail}" if after is not None else "not measured"
        return text if before is None else f"{text}; predicted {duration(before)}"

    iteration = both(predicted.iteration_minutes, measured.iteration_minutes_median, " (median)")
    pairs = [("Iteration", iteration, "")]
    if measured.run_minutes is not None:
        workers = f" with {counted(run.workers, 'worker')}"
        pairs.append(("Whole run", both(predicted.run_minutes, measured.run_minutes, workers), ""))
    if predicted.median_error is not None:
        pairs.append(("Prediction error", _prediction_error(predicted.median_error, run), ""))
    if run.minutes_alone is not None:
        waited = run.cpu_wait_alone or 0.0
        busy = f"; the CPU was busy with other work for {100 * waited:.0f}% of the time" if waited >= 0.005 else ""
        pairs.append(("Iteration, measured alone", f"{duration(run.minutes_alone)} (median){busy}", ""))
    if sharing.epochs_run < sharing.epochs_asked:
        pairs += [
            ("Training", f"Shared stages cut {sharing.epochs_asked:,} epochs to {sharing.epochs_run:,}.", ""),
            (
                "Compute time",
                f"{duration(sharing.minutes_shared)} over all workers; {duration(sharing.minutes_alone)} if every "
                "trial ran alone",
                "",
            ),
        ]
    return pairs


def _prediction_error(error: float, run: RunRecord) -> str:
    """The error of the predicted minutes; none where other work made the measured ones too long."""
    if run.cpu_wait is not None and run.cpu_wait > BUSY:
        return "unknown: the CPU was busy with other work, so the measured times are too long"
    return f"{100 * error:.0f}% (median over trials)"


def _table(rows: pd.DataFrame) -> Table:
    return Table(
        "Time per iteration, by level",
        ["Level", "Trials#", "Mean#", "Fastest#", "Slowest#", "Predicted#"],
        [
            [row["name"], str(row["n"]), *(duration(row[name]) for name in ("mean", "low", "high", "predicted"))]
            for row in rows.to_dict("records")
        ],
    )


def _draw(rows: pd.DataFrame, goal: float | None, width: int) -> Figure:
    scale, unit = time_unit(max(goal or 0.0, float(rows["high"].max())))
    rows = rows.assign(**{name: rows[name] * scale for name in ("mean", "low", "high", "predicted")})
    goal = None if goal is None else goal * scale
    figure, axes = sheet(width, 28 * len(rows) + 76)
    has_prediction = rows["predicted"].notna().to_numpy()
    first = int(has_prediction.argmax())
    for y, row in enumerate(rows.itertuples(index=False)):
        axes.plot([row.low, row.high], [y, y], color=str(Ink.C1), linewidth=2.4, solid_capstyle="butt")
        axes.plot(
            row.mean,
            y,
            marker="s",
            markersize=8,
            color=str(Ink.C1),
            markeredgecolor=str(Ink.PAPER),
            linestyle="",
            label="measured" if y == 0 else None,
        )
        if not has_prediction[y]:
            continue
        axes.plot(
            row.predicted,
            y + 0.27,
            marker="D",
            markersize=5.5,
            markerfacecolor=str(Ink.PAPER),
            linestyle="",
            markeredgecolor=str(Ink.C2),
            markeredgewidth=1.6,
            label="predicted" if y == first else None,
        )
    if goal is not None:
        axes.axvline(goal, color=str(Ink.INK), linewidth=1.4, linestyle=(0, (4, 3)), label="goal")
    axes.set_yticks(range(len(rows)), [short(name, width) for name in rows["name"]], color=str(Ink.INK))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max(goal or 0.0, float(rows["high"].max())) * 1.06)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit.capitalize())
    legend_above(figure, axes, width)
    return figure
