"""The page of ``timing compare``: every workload's history on one hardware, with its lasting changes marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from sota_bench.regression.changes import LastingChange
from sota_bench.regression.recording import Series
from sota_bench.report.page import fill
from sota_bench.report.parts import Block, Cell, Chart, Head, Prose, Section, Table
from sota_bench.report.text import MISSING, number, signed
from sota_bench.report.theme import Ink, name_y, sheet
from sota_bench.units import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHOD = (
    "A point is one record: the median over fresh processes of each one's least time (on a GPU: median time). The bar "
    "is the range over its processes.",
    "Lasting changes come from optimal partitioning of the logarithms into constant pieces of at least two records, "
    "with the penalty 3 sigma^2 log n for each change (Jackson et al. 2005; Zhang and Siegmund 2007). They say when a "
    "time changed for good, not why: the software outside of the project may have changed too.",
)


def page(histories: Mapping[str, Sequence[Series]], notes: Sequence[str]) -> str:
    """HTML of the histories.

    Args:
        histories: name of the hardware -> the series of its workloads.
        notes: sentences for the head.
    """
    records = max((len(series.titles) for workloads in histories.values() for series in workloads), default=0)
    head = Head(
        over="sota_bench timing",
        title="Times over the project's history",
        facts=[counted(len(histories), "machine"), f"up to {counted(records, 'record')}"],
        notes=list(notes),
    )
    return fill(head, [_section(index, name, workloads) for index, (name, workloads) in enumerate(histories.items())])


def _section(index: int, name: str, workloads: Sequence[Series]) -> Section:
    changed = sum(bool(series.changes) for series in workloads)
    lead = f"{changed} of {counted(len(workloads), 'workload')} changed for good." if changed else "No lasting change."
    blocks: list[Block] = [_summary(workloads)]
    blocks += [_chart(f"h{index}-{number}", series) for number, series in enumerate(workloads)]
    return Section(f"hardware-{index}", name, lead, [*blocks, Prose(METHOD)])


def _summary(workloads: Sequence[Series]) -> Table:
    rows: list[list[Cell | str]] = []
    for series in workloads:
        last = series.changes[-1] if series.changes else None
        tone = "" if last is None else ("bad" if last.change > 0 else "good")
        latest = Cell(MISSING) if last is None else Cell(_change_text(series, last), tone=tone)
        milliseconds = number(1000 * series.seconds[-1], 2)
        rows.append([series.workload, milliseconds, _change(series.seconds), latest, str(len(series.seconds))])
    columns = ["Workload", "Latest ms#", "Against the one before#", "Latest lasting change", "Records#"]
    return Table("Every workload on this machine", columns, rows)


def _change(seconds: Sequence[float]) -> str:
    return f"{signed(100 * (seconds[-1] / seconds[-2] - 1))}%" if len(seconds) > 1 else MISSING


def _change_text(series: Series, change: LastingChange) -> str:
    return f"{signed(100 * change.change)}% at {series.titles[change.index]}"


def _chart(key: str, series: Series) -> Chart:
    changes = [_change_text(series, change) for change in series.changes]
    finding = f"{counted(len(changes), 'lasting change')}: {'; '.join(changes)}." if changes else "No lasting change."
    rows = [
        [title, number(1000 * seconds, 3), number(1000 * low, 3), number(1000 * high, 3)]
        for title, seconds, low, high in zip(series.titles, series.seconds, series.low, series.high, strict=True)
    ]
    table = Table("One record", ["Record", "Milliseconds#", "Least#", "Most#"], rows)
    return Chart(key, series.workload, finding, partial(_draw, series), table)


def _draw(series: Series, width: int) -> Figure:
    figure, axes = sheet(width, 220)
    values = [1000 * second for second in series.seconds]
    positions = range(len(values))
    low, high = ([1000 * value for value in ends] for ends in (series.low, series.high))
    axes.vlines(positions, low, high, color=str(Ink.C1), alpha=0.4)
    axes.plot(positions, values, color=str(Ink.C1), marker="o", linestyle="", markersize=5)
    for start, end in pairwise(series.edges):
        level = math.exp(sum(math.log(value) for value in values[start:end]) / (end - start))
        axes.plot([start - 0.4, end - 0.6], [level, level], color=str(Ink.SOFT), linewidth=2)
    for change in series.changes:
        tone = Ink.BAD if change.change > 0 else Ink.GOOD
        axes.axvline(change.index - 0.5, color=str(tone), linestyle="--", linewidth=1.5)
        axes.annotate(
            f"{signed(100 * change.change)}%",
            (change.index - 0.5, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -12),
            textcoords="offset points",
            color=str(tone),
            fontsize=11,
        )
    every = max(1, math.ceil(len(values) * 90 / width))
    axes.set_xticks(list(positions)[::every], list(series.titles)[::every])
    axes.set_ylim(bottom=0)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.grid(axis="y")
    name_y(axes, "Milliseconds")
    return figure
