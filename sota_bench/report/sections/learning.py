"""(11) Learning curves, one line per seed, for the cells that matter most."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from sota_bench.report.parts import Chart, Section, Table
from sota_bench.report.text import join, number
from sota_bench.report.theme import Ink, sheet, styles
from sota_bench.report.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CELLS = 6
MOST_SEEDS = 8


def section(view: View) -> Section | None:
    """None where no training loss was kept."""
    curves = view.tables.curves
    if curves.empty or view.cells.empty:
        return None
    curves = curves.merge(view.tables.trials[["trial", "cell", "seed", "status"]], on="trial", how="inner")
    chosen = _chosen(view, curves)
    panels = [(title, curves[(curves["cell"] == cell)]) for title, cell in chosen]
    panels = [(title, part) for title, part in panels if not part.empty]
    if not panels:
        return None
    finding = _finding(panels)
    chart = Chart(
        "learning",
        "Training loss by epoch, one line per seed",
        finding,
        partial(_draw, panels),
        _table(panels),
        "Vertical lines mark a change of resolution. The training loss of mixed or smoothed targets has a floor "
        "above zero: compare it within a panel only.",
    )
    shown = "" if len(panels) >= len(view.cells) else f" {len(panels)} of {len(view.cells)} cells are shown."
    return Section(
        "learning",
        "Learning curves",
        f"A curve that jumps or has not levelled off asks for another learning rate or more epochs.{shown}",
        [chart],
    )


def _chosen(view: View, curves: pd.DataFrame) -> list[tuple[str, str]]:
    """The baseline, the most and the least accurate cell, cells with failures, then the next most accurate ones."""
    ranked = [str(cell) for cell in view.cells.index]
    failed = view.tables.trials.loc[view.tables.trials["status"] == "failed", "cell"].astype(str)
    why = {view.baseline: "baseline", ranked[0]: "most accurate", ranked[-1]: "least accurate"}
    order = dict.fromkeys([view.baseline, ranked[0], ranked[-1], *failed, *ranked])
    have = set(curves["cell"].astype(str))
    out: list[tuple[str, str]] = []
    for cell in order:
        if cell is not None and cell in have and cell in view.cells.index and len(out) < MOST_CELLS:
            label = view.cells.loc[cell, "label"]
            note = why.get(cell) or ("a seed failed" if cell in set(failed) else "")
            out.append((f"{label} ({note})" if note and note != label else str(label), cell))
    return out


def _finding(panels: list[tuple[str, pd.DataFrame]]) -> str:
    falling = []
    for title, part in panels:
        last = part.sort_values("epoch").groupby("seed").tail(2).groupby("epoch")["loss"].mean()
        if len(last) > 1 and last.iloc[-1] < 0.9 * last.iloc[-2]:
            falling.append(title)
    if not falling:
        return f"The loss has levelled off in {'the cell' if len(panels) == 1 else f'all {len(panels)} cells'} shown."
    if len(falling) == len(panels):
        return (
            "In every cell shown the loss still fell by more than 10% in its last epoch: longer training "
            "may change the order."
        )
    return f"The loss still fell by more than 10% in the last epoch of {join(falling[:3])}."


def _table(panels: list[tuple[str, pd.DataFrame]]) -> Table:
    rows = [
        [title, str(int(seed)), str(int(epoch) + 1), f"{int(size)} px", number(loss, 3)]
        for title, part in panels
        for seed, epoch, size, loss in part.sort_values(["seed", "epoch"])[
            ["seed", "epoch", "size", "loss"]
        ].itertuples(index=False)
    ]
    return Table("Training loss", ["Cell", "Seed", "Epoch#", "Size#", "Loss#"], rows[:400])


def _draw(panels: list[tuple[str, pd.DataFrame]], width: int) -> Figure:
    columns = 1 if width < 500 else min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = sheet(width, 210 * lines + 30, lines, columns, squeeze=False, sharey=True, sharex=True)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for index, (title, part) in enumerate(panels):
        ax = axes.flat[index]
        seeds = list(dict.fromkeys(part["seed"]))[:MOST_SEEDS]
        for seed, (colour, _, dash) in zip(seeds, styles(len(seeds)), strict=True):
            line = part[part["seed"] == seed].sort_values("epoch")
            ax.plot(
                line["epoch"] + 1, line["loss"], color=str(colour), linestyle=dash, linewidth=1.5, label=f"seed {seed}"
            )
        first = part[part["seed"] == seeds[0]].sort_values("epoch")
        for epoch in first.loc[first["size"].diff().fillna(0) != 0, "epoch"]:
            ax.axvline(epoch + 0.5, color=str(Ink.SOFT), linewidth=1, linestyle=(0, (2, 3)))
        ax.set_title(_wrapped(title, 34 if columns > 1 else 44), fontsize=11.5)
        ax.grid(axis="y")
        if index >= len(panels) - columns:
            ax.set_xlabel("Epoch")
            ax.tick_params(labelbottom=True)
    axes.flat[0].legend(loc="upper right", fontsize=11, handlelength=2.4)
    return figure


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)[:3])
