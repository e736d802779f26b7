"""(12) Sensitivity: the smallest effect that more seeds could detect."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sota_bench.report.parts import Chart, Section, Table
from sota_bench.report.text import finite, number
from sota_bench.report.theme import Ink, legend_above, name_y, sheet, styles
from sota_bench.report.verdicts import Effect, detectable, effects
from sota_bench.report.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 6


def section(view: View) -> Section | None:
    """None where there is no interval to extrapolate from."""
    found = [e for e in effects(view) if finite(e.low) and e.se > 0 and e.n > 1]
    distinct = list({(round(e.se, 6), e.df): e for e in found}.values())[:MOST_LINES]
    if not distinct:
        return None
    most = max(12, *(int(e.n) + 4 for e in distinct))
    seeds = list(range(2, most + 1))
    curves = [(effect, detectable(effect.row, seeds)) for effect in distinct]
    rows = [[str(n), *(number(values[index], 2) for _, values in curves)] for index, n in enumerate(seeds)]
    table = Table(
        "Minimum detectable effect in percentage points (80% power, two-sided 5%, one contrast)",
        ["Seeds", *(f"{effect.name}#" for effect, _ in curves)],
        rows,
    )
    chart = Chart(
        "sensitivity",
        "Minimum detectable effect against seeds",
        _finding(view, curves),
        partial(_draw, curves, seeds, view.delta),
        table,
        "From each contrast's own standard error and degrees of freedom. Filled mark: the seeds of this run. "
        "Contrasts with the same error share a line.",
    )
    return Section(
        "sensitivity", "Sensitivity", "What this run could have seen, and what more seeds would buy.", [chart]
    )


def _finding(view: View, curves: list[tuple[Effect, list[float]]]) -> str:
    now = [values[int(effect.n) - 2] for effect, values in curves]
    text = f"With the seeds of this run, effects of {number(min(now), 2)} to {number(max(now), 2)} pp could be detected"
    if view.delta is None:
        return text + "."
    short = [effect for effect, values in curves if values[int(effect.n) - 2] > view.delta]
    if not short:
        return f"{text}: enough for the {number(view.delta)} pp that matter, for every contrast."
    return (
        f"{text}: not enough for the {number(view.delta)} pp that matter in {len(short)} of {len(curves)} "
        f"groups of contrasts."
    )


def _draw(curves: list[tuple[Effect, list[float]]], seeds: list[int], delta: float | None, width: int) -> Figure:
    figure, axes = sheet(width, 330)
    for (effect, values), (colour, marker, dash) in zip(curves, styles(len(curves)), strict=True):
        now = int(effect.n)
        axes.plot(seeds, values, color=str(colour), linestyle=dash, linewidth=1.8, label=effect.name)
        axes.plot(now, values[now - 2], marker=marker, markersize=9, color=str(colour), markeredgecolor=str(Ink.PAPER))
    if delta is not None:
        axes.axhline(delta, color=str(Ink.INK), linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            "smallest effect of interest",
            (1, delta),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            color=str(Ink.SOFT),
        )
    usual = sorted(values[min(1, len(values) - 1)] for _, values in curves)
    axes.set_ylim(0, max(usual[-1] * 1.25, (delta or 0) * 1.4))
    axes.set_xticks(seeds if len(seeds) < 16 else seeds[:: len(seeds) // 10])
    axes.grid()
    axes.set_xlabel("Seeds")
    name_y(axes, "Detectable difference, pp")
    legend_above(figure, axes, width)
    return figure
