"""(12) Sensitivity: the smallest effect that more seeds could detect."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sota_bench.report.effects import Effect, effects
from sota_bench.report.parts import Chart, Section, Table
from sota_bench.report.text import finite, number
from sota_bench.report.theme import Ink, legend_above, name_y, sheet, styles
from sota_bench.report.view import View
from sota_bench.responses import Response
from sota_bench.stats import sentences
from sota_bench.stats.power import Precision, detectable_by_seeds
from sota_bench.stats.wording import join
from sota_bench.units import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 6


class Curve(NamedTuple):
    """One line: its title, the seeds of this run, and the detectable effect at 2, 3, ... seeds."""

    title: str
    seeds: int
    values: list[float]

    @property
    def now(self) -> float:
        """What this run can detect."""
        return self.values[self.seeds - 2]


def section(view: View) -> Section | None:
    """None where there is no interval to extrapolate from."""
    groups: dict[tuple[float | int, ...], list[Effect]] = {}  # contrasts of the same precision share a line
    for effect in effects(view):
        row = effect.row
        if finite(row.low) and row.se and row.df and row.n > 1:
            precision = (round(row.se, 6), row.df, round(row.se_images or 0.0, 6), int(row.n), row.family_size)
            groups.setdefault(precision, []).append(effect)
    if not groups:
        return None
    drawn = list(groups.values())[:MOST_LINES]
    seeds = list(range(2, max(12, *(int(members[0].row.n) + 4 for members in drawn)) + 1))
    alpha = view.analysis.overview.alpha
    curves = [
        Curve(
            _title(view, members),
            int(members[0].row.n),
            detectable_by_seeds(Precision.of_row(members[0].row), seeds, alpha / members[0].row.family_size),
        )
        for members in drawn
    ]
    shared = [
        f"{_title(view, members)}: {join([effect.name for effect in members])}" for members in drawn if len(members) > 1
    ]
    digits = view.response.digits + 1
    rows = [[str(n), *(number(curve.values[index], digits) for curve in curves)] for index, n in enumerate(seeds)]
    table = Table(
        f"Minimum detectable effect{view.response.unit_in_words} (80% power, two-sided 5% over each family of "
        "contrasts)",
        ["Seeds", *(f"{curve.title}#" for curve in curves)],
        rows,
    )
    chart = Chart(
        "sensitivity",
        "Minimum detectable effect by number of seeds",
        _finding(view, curves),
        partial(_draw, curves, seeds, view.delta, view.response),
        table,
        "Computed from the standard error and degrees of freedom of each contrast, after Holm's correction, as in the "
        "verdicts. Filled mark: the seeds of this run." + (f" {'; '.join(shared)}." if shared else ""),
    )
    return Section(
        "sensitivity", "Sensitivity", "The effects that this run could detect, and what more seeds would add.", [chart]
    )


def _title(view: View, members: list[Effect]) -> str:
    """A name for the contrasts that share a line."""
    factors = list(dict.fromkeys(effect.row.factor for effect in members))
    if len(members) == 1:
        return members[0].name
    if len(factors) == 1:
        return f"{len(members)} contrasts of {factors[0]}"
    inside = sum(factor in view.within for factor in factors)
    where = "between trainings" if not inside else "within a training" if inside == len(factors) else "of both kinds"
    return f"{len(members)} contrasts {where}"


def _finding(view: View, curves: list[Curve]) -> str:
    now, response = [curve.now for curve in curves], view.response
    low, high = number(min(now), response.digits), number(max(now), response.digits)
    reach = f"{low if low == high else f'{low} to {high}'} {response.unit}".strip()
    text = f"This run could detect effects of {reach}"
    text += "" if response.name == "accuracy" else f" on {response.noun}"
    if view.delta is None:
        return text + "."
    short = [curve for curve in curves if curve.now > view.delta]
    delta = f"the smallest effect of interest ({sentences.amount(view.delta, response.unit)})"
    if not short:
        return f"{text}: every contrast could detect {delta}."
    if len(short) == len(curves):
        return f"{text}: no contrast could detect {delta}. Add seeds."
    return f"{text}: {counted(len(short), 'line')} of {len(curves)} could not detect {delta}. Add seeds."


def _draw(curves: list[Curve], seeds: list[int], delta: float | None, response: Response, width: int) -> Figure:
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
    name_y(axes, f"Detectable effect, {response.unit}" if response.unit else "Detectable effect")
    legend_above(figure, axes, width)
    return figure
