"""The half-normal plot of a single seed: which effects are worth another look (part of the diagnostics)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sota_bench.report.parts import WIDE, Chart, Table
from sota_bench.report.text import number
from sota_bench.report.theme import Ink, name_y, sheet
from sota_bench.stats.result import ScreenedEffect, ScreenedStratum, Screening
from sota_bench.stats.wording import join

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Panel(NamedTuple):
    """One stratum with Lenth's margins, and its effects from small to large."""

    stratum: str
    margin: float
    simultaneous_margin: float
    effects: list[ScreenedEffect]


def screening_chart(screening: Screening) -> Chart:
    """The effects of a table with one seed against half-normal quantiles, with Lenth's margins of error."""
    panels = [panel for stratum in screening.strata if (panel := _panel(stratum, screening)) is not None]
    rows = [
        [_term(e), e.stratum, number(e.estimate, 2), number(e.quantile, 2), e.outside]
        for e in sorted(screening.effects, key=lambda e: -abs(e.estimate))
    ]
    joint = join([f"{number(panel.simultaneous_margin, 2)} pp {panel.stratum}" for panel in panels])
    table = Table(
        f"Effects by size (simultaneous margin of error: {joint})",
        ["Term", "Compared", "Effect, pp#", "Half-normal quantile#", "Position"],
        rows,
    )
    part = f" Only where the table is complete: {screening.part}." if screening.part else ""
    return Chart(
        "screening",
        "Half-normal plot of a single seed",
        f"{' '.join(_finding(panel, several=len(panels) > 1) for panel in panels)} Take this as a hint where to look, "
        "not as a finding.",
        partial(_draw, panels),
        table,
        "Effects that are only noise lie on a line through the origin; squares are beyond the margin of error. Dashed: "
        f"Lenth's margin of error; solid: the simultaneous margin for all effects of the panel.{part}",
        width=WIDE if len(panels) > 1 else 560,
    )


def _panel(stratum: ScreenedStratum, screening: Screening) -> Panel | None:
    if stratum.margin is None or stratum.simultaneous_margin is None:
        return None
    effects = sorted((e for e in screening.effects if e.stratum == stratum.stratum), key=lambda e: e.quantile)
    return Panel(stratum.stratum, stratum.margin, stratum.simultaneous_margin, effects)


def _term(effect: ScreenedEffect) -> str:
    return effect.term.replace(":", " \u00d7 ")


def _finding(panel: Panel, *, several: bool) -> str:
    where = f", {panel.stratum}" if several else ""
    margin = f"Lenth's margin of error ({number(panel.margin, 2)} pp{where})"
    beyond = [_term(e) for e in reversed(panel.effects) if e.outside != "inside"]
    return f"Beyond {margin}: {join(beyond)}." if beyond else f"No effect is beyond {margin}."


def _draw(panels: list[Panel], width: int) -> Figure:
    stacked = width < 500
    rows, columns = (len(panels), 1) if stacked else (1, len(panels))
    figure, axes = sheet(width, 340 * rows, rows, columns, squeeze=False)
    for ax, panel in zip(axes.flat, panels, strict=True):
        ax.axvline(panel.margin, color=str(Ink.SOFT), linestyle=(0, (4, 3)), linewidth=1.2)
        ax.axvline(panel.simultaneous_margin, color=str(Ink.SOFT), linewidth=1.2)
        largest = max(panel.simultaneous_margin, *(abs(e.estimate) for e in panel.effects))
        for e in panel.effects:
            outside = e.outside != "inside"
            size = abs(e.estimate)
            ax.plot(
                size,
                e.quantile,
                marker="s" if outside else "o",
                markersize=7 if outside else 5,
                linestyle="",
                color=str(Ink.C2 if outside else Ink.SOFT),
            )
            if outside:
                left = size > largest / 2
                ax.annotate(
                    _term(e),
                    (size, e.quantile),
                    xytext=(-8 if left else 8, 0),
                    textcoords="offset points",
                    ha="right" if left else "left",
                    va="center",
                )
        ax.set_xlim(0, 1.06 * largest)
        ax.grid()
        ax.set_xlabel("Size of the effect, pp")
        where = f", {panel.stratum}" if len(panels) > 1 else ""
        name_y(ax, f"Half-normal quantile{where}")
    return figure
