"""(4) Accuracy against time: every cell with both intervals, and the front that no other cell beats."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sota_bench.report.parts import Cell, Chart, Section, Table
from sota_bench.report.text import join, minutes, number, plural
from sota_bench.report.theme import Ink, name_y, sheet
from sota_bench.report.verdicts import pareto_cells
from sota_bench.report.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 80
MOST_DOTS = 400


def section(view: View) -> Section | None:
    """None with fewer than two cells."""
    cells = view.cells[view.cells.index.isin(view.alike["cell"])].dropna(subset=["accuracy", "minutes"])
    if len(cells) < 2:
        return None
    front = cells.loc[pareto_cells(view)]
    rows = [
        [
            str(number_),
            r["label"],
            Cell(number(r["minutes"], 3), r["minutes"]),
            f"{number(r['minutes_low'], 3)} to {number(r['minutes_high'], 3)}",
            number(r["accuracy"], 2),
            f"{number(r['accuracy_low'], 2)} to {number(r['accuracy_high'], 2)}",
        ]
        for number_, (_, r) in enumerate(front.iterrows(), 1)
    ]
    table = Table(
        "Cells on the front, numbered as in the figure",
        ["No.", "Cell", "Minutes#", "95% interval#", "Accuracy, %#", "95% interval#"],
        rows,
    )
    bars = "" if len(cells) <= MOST_BARS else f" With {len(cells)} cells, only those on the front show their intervals."
    if others := len(view.cells) - len(cells):
        bars += f" {plural(others, 'cell')} judged on other images cannot be compared with them, and are left out."
    bars += " Of the others, every one in several is drawn." if len(cells) - len(front) > MOST_DOTS else ""
    chart = Chart(
        "tradeoff",
        "Accuracy against minutes per iteration",
        _finding(front, len(cells)) + _unsure(front),
        partial(_draw, cells, front),
        table,
        "One mark per cell: the mean over seeds with 95% intervals for both axes (standard deviation pooled over "
        f"cells). The numbered cells are listed below.{bars}",
    )
    return Section("tradeoff", "Accuracy against time", "Up and to the left is better.", [chart])


def _finding(front: pd.DataFrame, cells: int) -> str:
    if len(front) == 1:
        one = front.iloc[0]
        return (
            f"One of {cells} cells is both the quickest and the most accurate: {one['label']}, "
            f"{number(one['accuracy'])}% in {minutes(one['minutes'])}."
        )
    first, last = front.iloc[0], front.iloc[-1]
    return (
        f"No cell is both quicker and more accurate than any of these {len(front)} of {cells}: from "
        f"{number(first['accuracy'])}% in {minutes(first['minutes'])} ({first['label']}) to "
        f"{number(last['accuracy'])}% in {minutes(last['minutes'])} ({last['label']})."
    )


def _unsure(front: pd.DataFrame) -> str:
    """Which neighbours on the front have overlapping intervals, so that their order may be noise."""
    parts = []
    for name, words in (("minutes", "in minutes"), ("accuracy", "in accuracy")):
        low, high = front[f"{name}_low"].to_numpy(float), front[f"{name}_high"].to_numpy(float)
        if np.isfinite(low).all():
            pairs = [f"{k + 1} with {k + 2}" for k in range(len(front) - 1) if low[k + 1] <= high[k]]
            if pairs:
                parts.append(f"{join(pairs)} {words}")
    if not parts:
        return ""
    return f" Their 95% intervals overlap, so that their order may be noise: {'; '.join(parts)}."


def _apart(axes: Axes, front: pd.DataFrame) -> list[float]:
    """Vertical offsets in pixels that keep the numbers of neighbouring marks at least a line apart."""
    points = axes.transData.transform(front[["minutes", "accuracy"]].to_numpy(float))
    places: list[tuple[float, float]] = []
    for x, y in points:
        height = y + 6
        for other_x, other_height in sorted(places, key=lambda place: place[1]):
            if abs(other_x - x) < 24 and abs(other_height - height) < 14:
                height = other_height + 14
        places.append((float(x), float(height)))
    return [height - float(y) for (_, height), (_, y) in zip(places, points, strict=True)]


def _draw(cells: pd.DataFrame, front: pd.DataFrame, width: int) -> Figure:
    figure, axes = sheet(width, 380 if width > 500 else 330)
    rest = cells.drop(front.index)
    rest = rest.iloc[:: max(1, math.ceil(len(rest) / MOST_DOTS))]
    for part, colour, shown in ((rest, Ink.SOFT, len(cells) <= MOST_BARS), (front, Ink.C1, True)):
        if shown and part["accuracy_low"].notna().any():
            errors = [
                np.abs(part[[f"{name}_low", f"{name}_high"]].sub(part[name], axis=0).to_numpy().T)
                for name in ("minutes", "accuracy")
            ]
            axes.errorbar(
                part["minutes"],
                part["accuracy"],
                xerr=errors[0],
                yerr=errors[1],
                fmt="none",
                ecolor=str(colour),
                elinewidth=1.0,
                alpha=0.45,
            )
    axes.plot(
        rest["minutes"],
        rest["accuracy"],
        linestyle="",
        marker="o",
        markersize=5.5,
        color=str(Ink.SOFT),
        markeredgecolor=str(Ink.PAPER),
        label="cell",
    )
    axes.step(
        front["minutes"], front["accuracy"], where="post", color=str(Ink.C1), linewidth=1.6, linestyle=(0, (5, 2))
    )
    axes.plot(
        front["minutes"],
        front["accuracy"],
        linestyle="",
        marker="D",
        markersize=8,
        color=str(Ink.C1),
        markeredgecolor=str(Ink.PAPER),
        label="on the front",
    )
    axes.margins(0.08)
    figure.draw_without_rendering()
    for index, (row, shift) in enumerate(zip(front.itertuples(), _apart(axes, front), strict=True), 1):
        axes.annotate(
            str(index),
            (row.minutes, row.accuracy),
            xytext=(-9, shift),
            textcoords="offset points",
            ha="right",
            va="center",
            fontweight="bold",
            color=str(Ink.C1),
        )
    axes.grid()
    axes.set_xlabel("Minutes per iteration")
    name_y(axes, "Accuracy on the select split, %")
    axes.legend(loc="lower right", handlelength=1.2)
    return figure
