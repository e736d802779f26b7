"""The page of ``fidelity``: which cheaper setting keeps the order of the cells."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sota_bench.report.page import fill
from sota_bench.report.parts import Block, Chart, Head, Prose, Section, Table
from sota_bench.report.text import MISSING, duration, number, time_unit
from sota_bench.report.theme import Ink, name_y, sheet
from sota_bench.units import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sota_bench.fidelity import Fidelity

METHOD = (
    "Kendall's tau is the share of pairs of cells in the same order minus the share in the opposite order. Pairs that "
    "the seeds cannot order at both settings count against the lower limit of its interval and for the upper one. A "
    "pair is ordered if the 99% t interval of its difference, with the residual variance of all cells, excludes 0. In "
    "simulated grids with 3 seeds this interval covers the true agreement at least 95 times in 100; bootstrap "
    "intervals over seeds do not.",
    "A setting keeps the order if it orders, beyond the noise of its own seeds, every pair of cells that the largest "
    "setting can order, in the same way. If it reverses none of them but cannot order all, it is undecided.",
)


def page(name: str, question: str, answer: Fidelity, notes: list[str]) -> str:
    """HTML of a comparison of settings.

    Args:
        name: of the grid.
        question: of the grid.
        answer: the comparison.
        notes: sentences for the head.
    """
    head = Head(
        over="sota_bench fidelity",
        title=name,
        facts=[counted(len(answer.rows), "setting"), counted(len(answer.means), "cell")],
        question=question,
        notes=notes,
    )
    blocks: list[Block] = [
        Chart(
            "fidelity",
            "Agreement with the largest setting, and time per iteration",
            answer.sentence(),
            partial(_draw, answer),
            _table(answer),
            "Diamond: Kendall's tau with its interval; filled where the setting keeps the order.",
        ),
        _cells(answer),
        Prose(METHOD),
    ]
    title = "Does a cheaper setting rank the cells as the largest one does?"
    return fill(head, [Section("fidelity", title, answer.sentence(), blocks)])


def _table(answer: Fidelity) -> Table:
    columns = [
        "Setting",
        "Time#",
        "Saved#",
        "Kendall's tau#",
        "Low#",
        "High#",
        "Ordered pairs#",
        "Same order#",
        "Reversed#",
        "Keeps the order",
    ]
    rows = []
    for row in answer.rows:
        agreement = row.agreement
        rows.append(
            [
                row.setting.text,
                duration(row.minutes),
                _saved(row.saved_minutes),
                *(number(value, 2) for value in (agreement.tau, agreement.low, agreement.high)),
                str(agreement.clear),
                str(agreement.kept),
                str(agreement.reversed),
                agreement.word,
            ]
        )
    return Table("Settings, the largest first", columns, rows)


def _saved(minutes: float) -> str:
    """What a setting saves; a dash where it saves nothing."""
    return duration(minutes) if minutes > 0 else MISSING


def _cells(answer: Fidelity) -> Table:
    means = answer.means.sort_values(answer.means.columns[0], ascending=False)
    rows = [
        [str(cell), *(number(value, 2) for value in values)]
        for cell, values in zip(means.index, means.to_numpy(), strict=True)
    ]
    return Table("Mean accuracy of each cell, in percent", ["Cell", *(f"{name}#" for name in means.columns)], rows)


def _draw(answer: Fidelity, width: int) -> Figure:
    largest = max(row.minutes for row in answer.rows)
    scale, unit = time_unit(largest)
    figure, axes = sheet(width, 300)
    for row in answer.rows:
        agreement, time = row.agreement, row.minutes * scale
        if agreement.tau is None:
            continue
        if agreement.low is not None:
            axes.plot([time] * 2, [agreement.low, agreement.high], color=str(Ink.C1), linewidth=2.0, alpha=0.5)
        face = str(Ink.C1) if agreement.keeps_order else str(Ink.PAPER)
        axes.plot(
            time,
            agreement.tau,
            marker="D",
            markersize=8,
            linestyle="",
            markerfacecolor=face,
            markeredgecolor=str(Ink.C1),
        )
        axes.annotate(
            row.setting.text,
            (time, agreement.tau),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=10,
        )
    axes.set_xlim(0, 1.15 * largest * scale)
    axes.set_ylim(-1.08, 1.2)
    axes.grid()
    axes.set_xlabel(f"{unit.capitalize()} per iteration (median)")
    name_y(axes, "Kendall's tau")
    return figure
