"""(12) Sensitivity: the smallest effect that more seeds could detect."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sota_bench.report.parts import Chart, Section, Table
from sota_bench.report.text import finite, join, number
from sota_bench.report.theme import Ink, legend_above, name_y, sheet, styles
from sota_bench.report.verdicts import Effect, detectable, effects, family_size
from sota_bench.report.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 6


class Curve(NamedTuple):
    """One line: its title, the seeds of this run, and the detectable effect at 2, 3, ... seeds in pp."""

    title: str
    seeds: int
    values: list[float]

    @property
    def now(self) -> float:
        """What this run can detect, in pp."""
        return self.values[self.seeds - 2]


def section(view: View) -> Section | None:
    """None where there is no interval to extrapolate from."""
    found = [e for e in effects(view) if finite(e.low) and e.se > 0 and e.n > 1]
    groups: dict[tuple[float, float, int, int], list[Effect]] = {}
    for e in found:
        groups.setdefault((round(e.se, 6), e.df, int(e.n), family_size(view, e.row)), []).append(e)
    if not groups:
        return None
    drawn = list(groups.items())[:MOST_LINES]
    seeds = list(range(2, max(12, *(key[2] + 4 for key, _ in drawn)) + 1))
    curves = [Curve(_title(view, members), key[2], detectable(members[0].row, seeds, key[3])) for key, members in drawn]
    shared = [f"{_title(view, members)}: {join([e.name for e in members])}" for _, members in drawn if len(members) > 1]
    rows = [[str(n), *(number(curve.values[index], 2) for curve in curves)] for index, n in enumerate(seeds)]
    table = Table(
        "Minimum detectable effect in percentage points (80% power, two-sided 5% over each family of contrasts)",
        ["Seeds", *(f"{curve.title}#" for curve in curves)],
        rows,
    )
    chart = Chart(
        "sensitivity",
        "Minimum detectable effect against seeds",
        _finding(view, curves),
        partial(_draw, curves, seeds, view.delta),
        table,
        "From each contrast's own standard error and degrees of freedom, at the level that the first step of Holm's "
        "correction leaves it, as in the verdicts. Filled mark: the seeds of this run."
        + (f" {'; '.join(shared)}." if shared else ""),
    )
    return Section(
        "sensitivity", "Sensitivity", "What this run could have seen, and what more seeds would buy.", [chart]
    )


def _title(view: View, members: list[Effect]) -> str:
    """A name for the contrasts that share a line."""
    factors = list(dict.fromkeys(e.factor for e in members))
    if len(members) == 1:
        return members[0].name
    if len(factors) == 1:
        return f"{len(members)} contrasts of {factors[0]}"
    inside = sum(factor in view.within for factor in factors)
    where = "between trainings" if not inside else "inside a training" if inside == len(factors) else "of both kinds"
    return f"{len(members)} contrasts {where}"


def _finding(view: View, curves: list[Curve]) -> str:
    now = [curve.now for curve in curves]
    low, high = number(min(now), 2), number(max(now), 2)
    reach = low if low == high else f"{low} to {high}"
    text = f"With the seeds of this run, effects of {reach} pp could be detected"
    if view.delta is None:
        return text + "."
    short = [curve for curve in curves if curve.now > view.delta]
    if not short:
        return f"{text}: enough for the {number(view.delta)} pp that matter, for every contrast."
    return f"{text}: not enough for the {number(view.delta)} pp that matter in {len(short)} of {len(curves)} lines."


def _draw(curves: list[Curve], seeds: list[int], delta: float | None, width: int) -> Figure:
    figure, axes = sheet(width, 330)
    for curve, (colour, marker, dash) in zip(curves, styles(len(curves)), strict=True):
        axes.plot(seeds, curve.values, color=str(colour), linestyle=dash, linewidth=1.8, label=curve.title)
        axes.plot(
            curve.seeds, curve.now, marker=marker, markersize=9, color=str(colour), markeredgecolor=str(Ink.PAPER)
        )
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
    usual = sorted(curve.values[min(1, len(curve.values) - 1)] for curve in curves)
    axes.set_ylim(0, max(usual[-1] * 1.25, (delta or 0) * 1.4))
    axes.set_xticks(seeds if len(seeds) < 16 else seeds[:: len(seeds) // 10])
    axes.grid()
    axes.set_xlabel("Seeds")
    name_y(axes, "Detectable difference, pp")
    legend_above(figure, axes, width)
    return figure
