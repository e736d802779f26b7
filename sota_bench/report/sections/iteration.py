"""(3) Minutes per iteration against the goal, predicted and measured, and what sharing saved."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from sota_bench.report.balance import alike
from sota_bench.report.parts import Block, Chart, Facts, Prose, Section, Table
from sota_bench.report.text import finite, level_text, minutes, number, plural
from sota_bench.report.theme import Ink, legend_above, sheet, short
from sota_bench.report.view import View, records

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def section(view: View) -> Section | None:
    """None before the first trial is done."""
    if view.done.empty:
        return None
    run = view.run
    goal = run["goal_minutes"]
    rows, parts = _by_level(view)
    line = "" if goal is None else " The dashed line is the goal."
    predicted = " Diamond: what the plan predicted." if rows["predicted"].notna().any() else ""
    chart = Chart(
        "minutes",
        "Minutes per iteration, by level",
        _finding(view, goal),
        partial(_draw, rows, goal),
        _table(rows),
        f"Square: mean over trials, with the range from the quickest to the slowest.{predicted}{line}{parts}",
    )
    blocks: list[Block] = [chart]
    blocks.append(Facts(_totals(view)))
    if run.get("concurrent"):
        blocks.append(
            Prose(
                [
                    "These times were taken while another worker was computing on the same machine, so they are "
                    "longer than those of an iteration alone."
                ],
                "warning",
            )
        )
    return Section(
        "minutes",
        "Minutes per iteration",
        "An iteration is one trial as a person would run it alone: its training and its evaluation.",
        blocks,
    )


def _by_level(view: View) -> tuple[pd.DataFrame, str]:
    """One row per level, and where its levels were compared if not over all trials.

    A factor whose levels were never measured all else equal shows those that were.
    """
    rows = []
    kept = {name: alike(view, view.done, [name], [name]) for name, levels in view.factors.items() if len(levels) > 1}
    groups = [
        (f"{name} {level_text(level)}", part.rows[part.rows[name] == level])
        for name, part in kept.items()
        for level in view.factors[name]
    ] or [("all trials", view.done)]
    for name, part in groups:
        if not part.empty:
            spent = part["minutes"]
            rows.append(
                {
                    "name": name,
                    "mean": spent.mean(),
                    "low": spent.min(),
                    "high": spent.max(),
                    "predicted": part["predicted_minutes"].mean(),
                    "n": len(part),
                }
            )
    parts = [f" {name}: {found.words[0].lower()}{found.words[1:]}" for name, found in kept.items() if found.partial]
    return pd.DataFrame(rows), "".join(parts)


def _finding(view: View, goal: float | None) -> str:
    spent = view.done["minutes"].dropna()
    if spent.empty:
        return "No trial has a measured time."
    took = f"The median iteration took {minutes(spent.median())}, the slowest {minutes(spent.max())}"
    if goal is None:
        return f"{took}; the grid declares no goal."
    over = int((spent > goal).sum())
    where = "all within" if over == 0 else f"{over} of {plural(len(spent), 'trial')} over"
    return f"{took}: {where} the goal of {minutes(goal)}."


def _totals(view: View) -> list[tuple[str, str, str]]:
    run = view.run
    predicted, measured, sharing = run["predicted"], run["measured"], run["sharing"]

    def both(before: float | None, after: float | None, more: str) -> str:
        said = f"{minutes(before)} predicted, " if finite(before) else "not predicted, "
        return f"{said}{minutes(after)} measured{more}"

    iteration = both(predicted.get("iteration_minutes"), measured.get("iteration_minutes_median"), " (median)")
    workers = f" on the clock, {plural(int(run['workers']), 'worker')}"
    pairs = [
        ("Iteration", iteration, ""),
        ("Whole run", both(predicted.get("run_minutes"), measured.get("run_minutes"), workers), ""),
    ]
    if finite(predicted.get("median_error")):
        pairs.append(("Prediction error", f"{100 * predicted['median_error']:.0f}% (median over trials)", ""))
    if finite(run.get("minutes_alone")):
        waited = run.get("cpu_wait_alone") or 0.0
        busy = f"; other work held the processors for {100 * waited:.0f}% of the time" if waited >= 0.005 else ""
        pairs.append(("Measured alone", f"{minutes(run['minutes_alone'])} (median){busy}", ""))
    if finite(sharing.get("factor")) and round(sharing["factor"], 1) > 1.0:
        pairs.append(
            (
                "Shared training",
                f"{sharing['epochs_asked']:,} epochs asked, {sharing['epochs_run']:,} run: "
                f"{number(sharing['factor'])} times fewer",
                "",
            )
        )
        pairs.append(
            (
                "Computing time, all workers",
                f"{minutes(sharing['minutes_alone'])} if every trial ran alone, "
                f"{minutes(sharing['minutes_shared'])} with shared stages",
                "",
            )
        )
    return pairs


def _table(rows: pd.DataFrame) -> Table:
    return Table(
        "Minutes per iteration, by level",
        ["Level", "Trials#", "Mean#", "Quickest#", "Slowest#", "Predicted#"],
        [[r.name, str(r.n), *(number(v, 3) for v in (r.mean, r.low, r.high, r.predicted))] for r in records(rows)],
    )


def _draw(rows: pd.DataFrame, goal: float | None, width: int) -> Figure:
    figure, axes = sheet(width, 28 * len(rows) + 76)
    known = rows["predicted"].notna().to_numpy()
    first = int(known.argmax())
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
        if not known[y]:
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
    axes.set_xlabel("Minutes")
    legend_above(figure, axes, width)
    return figure
