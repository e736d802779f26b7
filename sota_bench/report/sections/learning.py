"""(11) Learning curves, one line per seed, for the cells that matter most."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from sota_bench.report.parts import Chart, Section, Table
from sota_bench.report.text import first_of, number
from sota_bench.report.theme import Ink, sheet, styles
from sota_bench.report.view import View
from sota_bench.stats.curves import last_epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CELLS = 6
MOST_SEEDS = 8
MOST_ROWS = 400


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
    chart = Chart(
        "learning",
        "Training loss by epoch, one line per seed",
        finding(panels),
        partial(_draw, panels),
        _table(panels),
        "Vertical lines mark a change of resolution. Mixed or smoothed targets keep the training loss above zero, so "
        "compare losses within a panel only.",
    )
    shown = "" if len(panels) >= len(view.cells) else f" {len(panels)} of {len(view.cells)} cells are shown."
    return Section(
        "learning",
        "Learning curves",
        f"If a curve jumps or is still falling at the end, try another learning rate or more epochs.{shown}",
        [chart],
    )


def _chosen(view: View, curves: pd.DataFrame) -> list[tuple[str, str]]:
    """The baseline, the most and the least accurate cell, cells with failures, then the next most accurate ones."""
    ranked = [str(cell) for cell in view.cells.index]
    failed = view.tables.trials.loc[view.tables.trials["status"] == "failed", "cell"].astype(str)
    notes = {view.baseline: "baseline", ranked[0]: "most accurate", ranked[-1]: "least accurate"}
    order = dict.fromkeys([view.baseline, ranked[0], ranked[-1], *failed, *ranked])
    have = set(curves["cell"].astype(str))
    trained: set[tuple[str, ...]] = set()
    chosen: list[tuple[str, str]] = []
    for cell in order:
        if cell is not None and cell in have and cell in view.cells.index and len(chosen) < MOST_CELLS:
            training = tuple(str(view.cells.loc[cell, name]) for name in view.between)
            if training in trained:  # another evaluation of a training that is shown already
                continue
            trained.add(training)
            label = view.cells.loc[cell, "label"]
            note = notes.get(cell) or ("a seed failed" if cell in set(failed) else "")
            chosen.append((f"{label} ({note})" if note and note != label else str(label), cell))
    return chosen


def finding(panels: list[tuple[str, pd.DataFrame]]) -> str:
    """Whether the loss has levelled off.

    Args:
        panels: title of each cell, with its curves (``epoch``, ``loss``, one row per seed).
    """
    last = {title: change for title, part in panels if (change := last_epoch(part)) is not None}
    if not last:
        return "Too few epochs to see whether the loss has levelled off, or a loss that did not fall."
    falling = {title: change for title, change in last.items() if change.still_falling}
    flat = [title for title, change in last.items() if change.levelled_off]
    shown = "the cell" if len(panels) == 1 else f"all {len(panels)} cells"
    if len(flat) == len(panels):
        return f"The loss has levelled off in {shown} shown: the last epoch brought at most 1% of its total fall."
    if not falling:
        rose = [title for title in last if title not in flat]
        text = f"The loss has levelled off in {len(flat)} of {len(panels)} cells shown"
        return f"{text}; it rose in the last epoch of {first_of(rose, 3)}." if rose else f"{text}."
    low, high = (pick(change.percent for change in falling.values()) for pick in (min, max))
    by = f"{number(low)}%" if number(low) == number(high) else f"{number(low)}% to {number(high)}%"
    if len(falling) == len(panels):
        where = "" if len(panels) == 1 else " in every cell shown"
        return f"The loss still fell by {by} in the last epoch{where}: longer training may change the ranking."
    return f"The loss still fell by {by} in the last epoch of {len(falling)} of {len(panels)} cells shown."


def _table(panels: list[tuple[str, pd.DataFrame]]) -> Table:
    rows = [
        [title, str(int(seed)), str(int(epoch) + 1), f"{int(size)} px", number(loss, 3)]
        for title, part in panels
        for seed, epoch, size, loss in part.sort_values(["seed", "epoch"])[
            ["seed", "epoch", "size", "loss"]
        ].itertuples(index=False)
    ]
    return Table("Training loss", ["Cell", "Seed", "Epoch#", "Size#", "Loss#"], rows[:MOST_ROWS])


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
