"""(6) Training against evaluation resolution: where each schedule is best, with and without test-time views."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from sota_bench.report.balance import alike
from sota_bench.report.parts import Cell, Chart, Section, Table
from sota_bench.report.text import number
from sota_bench.report.theme import Ink, legend_above, name_y, sheet, styles
from sota_bench.report.view import View, block_means, labelled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 6
OFF = "off"
"""The evaluation of one view of each image; other names are kinds of test-time augmentation."""

DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def section(view: View) -> Section | None:
    """None where every trial was evaluated at one resolution only."""
    frame = _final_phase(view)
    if frame.empty or frame["size"].nunique() < 2:
        return None
    compared = ["schedule", "tta", "size"]
    kept = alike(view, frame, compared, ["resize", *view.within])
    means = block_means(kept.rows, compared, "accuracy")
    schedules = list(dict.fromkeys(means.reset_index()["schedule"]))[:MOST_LINES]
    many = (means.reset_index()["tta"] != OFF).any()
    rows: list[list[Cell | str]] = [
        [
            str(schedule),
            str(tta),
            f"{size} px",
            Cell(number(r["mean"], 2), r["mean"]),
            f"{number(r['low'], 2)} to {number(r['high'], 2)}",
        ]
        for (schedule, tta, size), r in labelled(means)
    ]
    table = Table(
        "Mean accuracy at each evaluation resolution",
        ["Training", "TTA", "Evaluated at", "Accuracy, %#", "95% interval#"],
        rows,
    )
    chart = Chart(
        "resolution",
        "Accuracy at each evaluation resolution",
        _finding(means),
        partial(_draw, means, schedules),
        table,
        f"{kept.words} Bars are 95% t intervals over seeds."
        + (" Solid: one view; dashed and hollow: averaged over the views of test-time augmentation." if many else ""),
    )
    return Section(
        "resolution",
        "Training and evaluation resolution",
        "The size at which a network is evaluated is its own "
        "setting: the best one need not be the size it was trained at.",
        [chart],
    )


def _final_phase(view: View) -> pd.DataFrame:
    frame = view.tables.evaluations
    if frame.empty:
        return frame
    frame = frame[frame["phase"] == frame.groupby("trial")["phase"].transform("max")]
    # The rows say their own views and size, so the factors of those names would only repeat them.
    between = [name for name in view.factors if name not in view.within and name not in frame]
    frame = frame.merge(view.done[["trial", "seed", *between]], on="trial", how="inner")
    risen = view.asks("resize")
    frame["schedule"] = (frame["resize"] if risen else frame["train_size"].astype(str) + " px").astype(str)
    frame = frame[frame["task"] == frame["task"].iloc[0]] if len(frame) else frame
    return frame.drop_duplicates([*between, "seed", "schedule", "tta", "size"])


def _finding(means: pd.DataFrame) -> str:
    plain = means.reset_index()
    plain = plain[plain["tta"] == (OFF if (plain["tta"] == OFF).any() else plain["tta"].iloc[0])]
    parts = []
    for schedule, part in plain.groupby("schedule", sort=False):
        ranked: Any = part.sort_values("mean", kind="stable")
        best, worst = ranked.iloc[-1], ranked.iloc[0]
        if len(ranked) == 1:
            parts.append(f"{schedule}: {number(best['mean'])}% at {best['size']} px, the only size it was evaluated at")
        else:
            parts.append(
                f"{schedule}: highest at {best['size']} px ({number(best['mean'])}%), lowest at {worst['size']} px "
                f"({number(worst['mean'])}%)"
            )
    return "; ".join(parts[:MOST_LINES]) + "."


def _draw(means: pd.DataFrame, schedules: list[str], width: int) -> Figure:
    figure, axes = sheet(width, 340)
    flat = means.reset_index()
    reach = float(flat["size"].max() - flat["size"].min())
    kinds = [OFF, *(name for name in dict.fromkeys(flat["tta"]) if name != OFF)]
    for place, (schedule, (colour, marker, _)) in enumerate(zip(schedules, styles(len(schedules)), strict=True)):
        for tta, views in enumerate(kinds):
            part = flat[(flat["schedule"] == schedule) & (flat["tta"] == views)].sort_values("size")
            if part.empty:
                continue
            # Shifted a little, so that intervals stand beside each other.
            shift = place * len(kinds) + tta - (len(kinds) * len(schedules) - 1) / 2
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
