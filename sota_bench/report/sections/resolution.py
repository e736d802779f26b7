"""(6) Training against evaluation resolution: where each schedule is best, with and without test-time augmentation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from sota_bench.report.parts import Cell, Chart, Section, Table
from sota_bench.report.text import interval, number
from sota_bench.report.theme import Ink, LineStyle, legend_above, name_y, sheet, styles
from sota_bench.report.view import View
from sota_bench.stats.means import PERCENT, block_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 6
OFF = "off"
"""The evaluation of one view of each image; other names are kinds of test-time augmentation."""

SCHEDULE = "resize"
"""The recipe's schedule of sizes."""

DASHES: tuple[LineStyle, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def section(view: View) -> Section | None:
    """None where every trial was evaluated at one resolution only."""
    frame = _final_phase(view)
    if frame.empty or frame["size"].nunique() < 2:
        return None
    compared = ["schedule", "tta", "size"]
    balanced = view.balanced(frame, compared, [SCHEDULE, *view.within])
    means = block_means(balanced.rows, compared, "accuracy", limits=PERCENT)
    flat = means.reset_index()
    schedules = [str(schedule) for schedule in dict.fromkeys(flat["schedule"])][:MOST_LINES]
    rows: list[list[Cell | str]] = [
        [
            str(row["schedule"]),
            str(row["tta"]),
            f"{row['size']} px",
            Cell(number(row["mean"], 2), row["mean"]),
            interval(row["low"], row["high"]),
        ]
        for row in flat.to_dict("records")
    ]
    table = Table(
        "Mean accuracy at each evaluation resolution",
        ["Training", "TTA", "Evaluated at", "Accuracy, %#", "95% interval#"],
        rows,
    )
    augmented = " Solid: one view; dashed, hollow: test-time augmentation." if (flat["tta"] != OFF).any() else ""
    chart = Chart(
        "resolution",
        "Accuracy at each evaluation resolution",
        _finding(flat),
        partial(_draw, flat, schedules),
        table,
        f"{view.averaged_over(balanced)} Bars: 95% intervals over seeds, from three seeds on.{augmented}",
    )
    return Section(
        "resolution",
        "Training and evaluation resolution",
        "Evaluation size is a setting of its own: the best one need not be the size of the training.",
        [chart],
    )


def _final_phase(view: View) -> pd.DataFrame:
    frame = view.tables.evaluations
    if frame.empty:
        return frame
    frame = frame[frame["phase"] == frame.groupby("trial")["phase"].transform("max")]
    # The rows have their own test-time augmentation and size: the factors of those names would only repeat them.
    between = [name for name in view.between if name not in frame]
    frame = frame.merge(view.done[["trial", "seed", *between]], on="trial", how="inner")
    varied = SCHEDULE in view.varied
    frame["schedule"] = (frame[SCHEDULE] if varied else frame["train_size"].astype(str) + " px").astype(str)
    frame = frame[frame["task"] == frame["task"].iloc[0]] if len(frame) else frame
    return frame.drop_duplicates([*between, "seed", "schedule", "tta", "size"])


def _finding(means: pd.DataFrame) -> str:
    kinds = list(dict.fromkeys(means["tta"]))
    shown = means[means["tta"] == (OFF if OFF in kinds else kinds[0])]
    parts = []
    for schedule, part in shown.groupby("schedule", sort=False):
        ranked = part.sort_values("mean", kind="stable").to_dict("records")
        best, worst = ranked[-1], ranked[0]
        if len(ranked) == 1:
            parts.append(f"{schedule}: {number(best['mean'])}% at {best['size']} px, the only evaluation size")
        else:
            parts.append(
                f"{schedule}: highest at {best['size']} px ({number(best['mean'])}%), lowest at {worst['size']} px "
                f"({number(worst['mean'])}%)"
            )
    return "; ".join(parts[:MOST_LINES]) + "."


def _draw(flat: pd.DataFrame, schedules: list[str], width: int) -> Figure:
    figure, axes = sheet(width, 340)
    reach = float(flat["size"].max() - flat["size"].min())
    kinds = [OFF, *(name for name in dict.fromkeys(flat["tta"]) if name != OFF)]
    for line, (schedule, (colour, marker, _)) in enumerate(zip(schedules, styles(len(schedules)), strict=True)):
        for tta, views in enumerate(kinds):
            part = flat[(flat["schedule"] == schedule) & (flat["tta"] == views)].sort_values("size")
            if part.empty:
                continue
            # Shifted a little, so that intervals stand beside each other.
            shift = line * len(kinds) + tta - (len(kinds) * len(schedules) - 1) / 2
            x = part["size"] + reach * 0.008 * shift
            axes.vlines(x, part["low"], part["high"], color=str(colour), linewidth=1.1, linestyle=DASHES[tta % 4])
            axes.plot(
                x,
                part["mean"],
                color=str(colour),
                marker=marker,
                linestyle=DASHES[tta % 4],
                markerfacecolor=str(Ink.PAPER) if tta else str(colour),
                linewidth=1.8,
                label=f"{schedule}{f', TTA {views}' if tta else ''}",
            )
    axes.set_xticks(sorted(flat["size"].unique()))
    axes.grid(axis="y")
    axes.set_xlabel("Evaluation resolution, px")
    name_y(axes, "Accuracy, %")
    legend_above(figure, axes, width, 4)
    return figure
