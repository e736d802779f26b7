"""The page of ``timing compare``: every workload's history on one hardware, with its steps marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sota_bench.report.parts import Block, Cell, Chart, Prose, Section, Table
from sota_bench.report.text import MISSING, number, plural, signed
from sota_bench.report.theme import Ink, name_y, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHOD = (
    "A point is one record: the median over fresh processes of each one's least time (on a GPU: median time). The bar "
    "is the range over its processes.",
    "Steps come from optimal partitioning of the logarithms into constant pieces of at least two records, with the "
    "penalty 3 sigma^2 log n for each step (Jackson et al. 2005; Zhang and Siegmund 2007). A step says when a time "
    "changed for good, not why: the software outside of the project may have changed too.",
)


def page(histories: Mapping[str, Any], notes: Sequence[str]) -> str:
    """HTML of the histories.

    Args:
        histories: name of the hardware -> its rows, as ``commands.timing`` makes them: ``workload``, ``titles`` and
            ``seconds`` of each record, ``low`` and ``high`` over its processes, ``edges`` of the pieces, ``steps``.
        notes: sentences for the head.
    """
    from sota_bench.report.page import fill

    records = max((len(row["titles"]) for rows in histories.values() for row in rows), default=0)
    head = {
        "over": "sota_bench timing",
        "title": "Times over the project's history",
        "facts": [plural(len(histories), "machine"), f"up to {plural(records, 'record')}"],
        "notes": list(notes),
    }
    return fill(head, [_section(index, name, rows) for index, (name, rows) in enumerate(histories.items())])


def _section(index: int, name: str, rows: Sequence[Mapping[str, Any]]) -> Section:
    stepped = [row["workload"] for row in rows if row["steps"]]
    lead = f"{plural(len(stepped), 'workload')} of {len(rows)} with a step." if stepped else "No steps."
    blocks: list[Block] = [_summary(rows)]
    blocks += [_chart(f"h{index}-{place}", row) for place, row in enumerate(rows)]
    return Section(f"hardware-{index}", name, lead, [*blocks, Prose(METHOD)])


def _summary(rows: Sequence[Mapping[str, Any]]) -> Table:
    body: list[list[Cell | str]] = []
    for row in rows:
        step = row["steps"][-1] if row["steps"] else None
        tone = "" if step is None else ("bad" if step["change"] > 0 else "good")
        latest = Cell(MISSING) if step is None else Cell(f"{signed(100 * step['change'])}% at {step['at']}", tone=tone)
        shown = f"{number(1000 * row['seconds'][-1], 2)}"
        body.append([row["workload"], shown, _change(row["seconds"]), latest, str(len(row["seconds"]))])
    columns = ["Workload", "Latest ms#", "Against the one before#", "Latest step", "Records#"]
    return Table("Every workload on this machine", columns, body)


def _change(seconds: Sequence[float]) -> str:
    return f"{signed(100 * (seconds[-1] / seconds[-2] - 1))}%" if len(seconds) > 1 else MISSING


def _chart(key: str, row: Mapping[str, Any]) -> Chart:
    steps = [f"{signed(100 * step['change'])}% at {step['at']}" for step in row["steps"]]
    finding = f"{plural(len(steps), 'step')}: {'; '.join(steps)}." if steps else "No step."
    body = [
        [title, number(1000 * seconds, 3), number(1000 * low, 3), number(1000 * high, 3)]
        for title, seconds, low, high in zip(row["titles"], row["seconds"], row["low"], row["high"], strict=True)
    ]
    table = Table("One record", ["Record", "Milliseconds#", "Least#", "Most#"], body)
    return Chart(key, row["workload"], finding, partial(_draw, row), table)


def _draw(row: Mapping[str, Any], width: int) -> Figure:
    figure, axes = sheet(width, 220)
    values = [1000 * second for second in row["seconds"]]
    places = range(len(values))
    axes.vlines(places, [1000 * v for v in row["low"]], [1000 * v for v in row["high"]], color=str(Ink.C1), alpha=0.4)
    axes.plot(places, values, color=str(Ink.C1), marker="o", linestyle="", markersize=5)
    for start, end in zip(row["edges"], row["edges"][1:], strict=False):
        level = math.exp(sum(math.log(value) for value in values[start:end]) / (end - start))
        axes.plot([start - 0.4, end - 0.6], [level, level], color=str(Ink.SOFT), linewidth=2)
    for step in row["steps"]:
        tone = Ink.BAD if step["change"] > 0 else Ink.GOOD
        axes.axvline(step["index"] - 0.5, color=str(tone), linestyle="--", linewidth=1.5)
        axes.annotate(
            f"{signed(100 * step['change'])}%",
            (step["index"] - 0.5, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -12),
            textcoords="offset points",
            color=str(tone),
            fontsize=11,
        )
    every = max(1, math.ceil(len(values) * 90 / width))
    axes.set_xticks(list(places)[::every], row["titles"][::every])
    axes.set_ylim(bottom=0)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.grid(axis="y")
    name_y(axes, "Milliseconds")
    return figure
