"""(4) Accuracy against time: every cell, and the front that no other cell beats."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sota_bench.report.parts import Cell, Chart, Section, Table
from sota_bench.report.text import duration, duration_range, interval, measured, number, time_unit
from sota_bench.report.theme import Ink, name_y, sheet
from sota_bench.report.view import View
from sota_bench.responses import Response
from sota_bench.units import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 80
MOST_DOTS = 400


def section(view: View) -> Section | None:
    """None with fewer than two cells."""
    cells, quality = view.comparable_cells.dropna(subset=["quality", "minutes"]), view.quality
    if len(cells) < 2:
        return None
    front, digits = cells.loc[view.front], quality.digits + 1
    rows = [
        [
            str(index),
            row["label"],
            Cell(duration(row["minutes"]), row["minutes"]),
            duration_range(row["minutes_low"], row["minutes_high"]),
            number(row["quality"], digits),
            interval(row["quality_low"], row["quality_high"], digits - 1),
        ]
        for index, (_, row) in enumerate(front.iterrows(), 1)
    ]
    table = Table(
        "Cells on the front, numbered as in the figure",
        ["No.", "Cell", "Time#", "Fastest to slowest seed#", f"{quality.heading}#", "95% interval#"],
        rows,
    )
    notes = ""
    if len(cells) > MOST_BARS:
        notes = f" With {len(cells)} cells, only those on the front have bars."
    if others := len(view.cells) - len(cells):
        verb = "is" if others == 1 else "are"
        notes += f" {counted(others, 'cell')} judged on other images {verb} left out."
    if len(cells) - len(front) > MOST_DOTS:
        notes += f" Of the cells that are not on the front, about {MOST_DOTS} are drawn."
    chart = Chart(
        "tradeoff",
        f"{quality.title} against time per iteration",
        _finding(front, len(cells), quality) + _unsure(front, quality),
        partial(_draw, cells, front, quality),
        table,
        "One mark per cell: the mean over seeds. Vertical bars: 95% intervals, with the standard deviation pooled over "
        f"cells; horizontal bars: fastest to slowest seed. The numbered cells are listed below.{notes}",
    )
    better = "Up" if quality.higher_is_better else "Down"
    return Section("tradeoff", f"{quality.title} against time", f"{better} and to the left is better.", [chart])


def _finding(front: pd.DataFrame, cells: int, quality: Response) -> str:
    ends = front.iloc[[0, -1]]
    points = [f"{measured(row['quality'], quality)} in {duration(row['minutes'])}" for _, row in ends.iterrows()]
    accurate = quality.name == "accuracy"
    if len(front) == 1:
        best = "the most accurate" if accurate else f"the best in {quality.noun}"
        return f"One of {cells} cells is both the fastest and {best}: {front['label'].iloc[0]}, {points[0]}."
    better = "more accurate" if accurate else f"better in {quality.noun}"
    return (
        f"{len(front)} of {cells} cells are on the front, where no other cell is both faster and {better}: from "
        f"{points[0]} ({front['label'].iloc[0]}) to {points[1]} ({front['label'].iloc[-1]})."
    )


def _unsure(front: pd.DataFrame, quality: Response) -> str:
    """Which neighbours on the front overlap, so that their order may be noise."""
    parts = []
    for name, words in (("minutes", "in time"), ("quality", f"in {quality.noun}")):
        low, high = front[f"{name}_low"].to_numpy(float), front[f"{name}_high"].to_numpy(float)
        if np.isfinite(low).all():
            overlap = (low[1:] <= high[:-1]) & (low[:-1] <= high[1:])
            pairs = [f"{k + 1}\u2013{k + 2}" for k in np.flatnonzero(overlap)]
            if pairs:
                parts.append(f"{words} {', '.join(pairs)}")
    if not parts:
        return ""
    return f" Neighbours whose bars overlap may be in this order by chance: {'; '.join(parts)}."


def _label_offsets(axes: Axes, front: pd.DataFrame) -> list[float]:
    """Vertical offsets in pixels that keep the numbers of neighbouring marks at least a line apart."""
    points = axes.transData.transform(front[["minutes", "quality"]].to_numpy(float))
    labels: list[tuple[float, float]] = []
    for x, y in points:
        height = y + 6
        for other_x, other_height in sorted(labels, key=lambda label: label[1]):
            if abs(other_x - x) < 24 and abs(other_height - height) < 14:
                height = other_height + 14
        labels.append((float(x), float(height)))
    return [height - float(y) for (_, height), (_, y) in zip(labels, points, strict=True)]


def _draw(cells: pd.DataFrame, front: pd.DataFrame, quality: Response, width: int) -> Figure:
    scale, unit = time_unit(float(cells["minutes"].max()))
    spans = ("minutes", "minutes_low", "minutes_high")
    cells, front = (part.assign(**{name: part[name] * scale for name in spans}) for part in (cells, front))
    figure, axes = sheet(width, 380 if width > 500 else 330)
    beaten = cells.drop(front.index)
    beaten = beaten.iloc[:: max(1, math.ceil(len(beaten) / MOST_DOTS))]
    for part, colour, shown in ((beaten, Ink.SOFT, len(cells) <= MOST_BARS), (front, Ink.C1, True)):
        if shown and part["quality_low"].notna().any():
            errors = [
                np.abs(part[[f"{name}_low", f"{name}_high"]].sub(part[name], axis=0).to_numpy().T)
                for name in ("minutes", "quality")
            ]
            axes.errorbar(
                part["minutes"],
                part["quality"],
                xerr=errors[0],
                yerr=errors[1],
                fmt="none",
                ecolor=str(colour),
                elinewidth=1.0,
                alpha=0.45,
            )
    axes.plot(
        beaten["minutes"],
        beaten["quality"],
        linestyle="",
        marker="o",
        markersize=5.5,
        color=str(Ink.SOFT),
        markeredgecolor=str(Ink.PAPER),
        label="cell",
    )
    axes.step(front["minutes"], front["quality"], where="post", color=str(Ink.C1), linewidth=1.6, linestyle=(0, (5, 2)))
    axes.plot(
        front["minutes"],
        front["quality"],
        linestyle="",
        marker="D",
        markersize=8,
        color=str(Ink.C1),
        markeredgecolor=str(Ink.PAPER),
        label="on the front",
    )
    axes.margins(0.08)
    figure.draw_without_rendering()
    for index, (row, shift) in enumerate(zip(front.itertuples(), _label_offsets(axes, front), strict=True), 1):
        axes.annotate(
            str(index),
            (row.minutes, row.quality),
            xytext=(-9, shift),
            textcoords="offset points",
            ha="right",
            va="center",
            fontweight="bold",
            color=str(Ink.C1),
        )
    axes.grid()
    axes.set_xlabel(f"{unit.capitalize()} per iteration")
    name_y(axes, quality.heading)
    axes.legend(loc="lower right" if quality.higher_is_better else "upper right", handlelength=1.2)
    return figure
