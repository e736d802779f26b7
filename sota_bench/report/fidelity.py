"""The page of ``fidelity``: which cheaper setting keeps the order of the cells."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sota_bench.report.parts import Block, Chart, Prose, Section, Table
from sota_bench.report.text import minutes, number, plural
from sota_bench.report.theme import Ink, name_y, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHOD = (
    "Kendall's tau is the share of pairs of cells in the same order less the share in the opposite one. Its interval "
    "counts every pair that the seeds cannot order at both settings first against it and then for it; the sign of a "
    "pair comes from a 99% t interval of its difference, with the residual variance of all cells. In simulated grids "
    "with 3 seeds it covers the true agreement at least 95 times in 100, where intervals from resampled seeds do not.",
    "A setting keeps the order if it orders every pair of cells that the largest setting can order in the same way, "
    "beyond its own seeds' noise. If it turns none of them and cannot order all, it is undecided.",
)


def page(name: str, question: str, answer: Any, notes: list[str]) -> str:
    """HTML of a comparison of settings.

    Args:
        name: of the grid.
        question: of the grid.
        answer: a ``fidelity.Fidelity``.
        notes: sentences for the head.
    """
    from sota_bench.report.page import fill

    head = {
        "over": "sota_bench fidelity",
        "title": name,
        "facts": [plural(len(answer.rows), "setting"), plural(len(answer.means), "cell")],
        "notes": [question, *notes] if question else notes,
    }
    blocks: list[Block] = [
        Chart(
            "fidelity",
            "Agreement with the largest setting, and what an iteration costs",
            answer.sentence(),
            partial(_draw, answer),
            _table(answer),
            "Diamond: Kendall's tau with its interval. Filled: the setting keeps the order.",
        ),
        _cells(answer),
        Prose(METHOD),
    ]
    return fill(
        head, [Section("fidelity", "Does the cheaper setting predict the larger one?", answer.sentence(), blocks)]
    )


def _table(answer: Any) -> Table:
    columns = [
        "Setting",
        "Minutes#",
        "Saved#",
        "Kendall's tau#",
        "Low#",
        "High#",
        "Clear pairs#",
        "Kept#",
        "Turned#",
        "Keeps the order",
    ]
    rows = []
    for row in answer.rows:
        found = row.agreement
        rows.append(
            [
                row.setting.text,
                number(row.minutes, 3),
                number(row.saved_minutes, 3),
                *(number(value, 2) for value in (found.tau, found.low, found.high)),
                str(found.clear),
                str(found.kept),
                str(found.reversed),
                found.word,
            ]
        )
    return Table("Settings, the largest first", columns, rows)


def _cells(answer: Any) -> Table:
    means = answer.means.sort_values(answer.means.columns[0], ascending=False)
    rows = [
        [str(cell), *(number(value, 2) for value in values)]
        for cell, values in zip(means.index, means.to_numpy(), strict=True)
    ]
    return Table("Mean accuracy of each cell, in percent", ["Cell", *(f"{name}#" for name in means.columns)], rows)


def _draw(answer: Any, width: int) -> Figure:
    figure, axes = sheet(width, 300)
    for row in answer.rows:
        found = row.agreement
        if found.tau is None:
            continue
        if found.low is not None:
            axes.plot([row.minutes] * 2, [found.low, found.high], color=str(Ink.C1), linewidth=2.0, alpha=0.5)
        fill = str(Ink.C1) if found.keeps_order else str(Ink.PAPER)
        axes.plot(
            row.minutes,
            found.tau,
            marker="D",
            markersize=8,
            linestyle="",
            markerfacecolor=fill,
            markeredgecolor=str(Ink.C1),
        )
        axes.annotate(
            row.setting.text,
            (row.minutes, found.tau),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=10,
        )
    spent = [row.minutes for row in answer.rows]
    axes.set_xlim(0, 1.15 * max(spent))
    axes.set_ylim(-1.08, 1.2)
    axes.grid()
    axes.set_xlabel(f"Minutes per iteration (median; largest setting {minutes(spent[0])})")
    name_y(axes, "Kendall's tau")
    return figure
