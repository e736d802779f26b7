"""(7) Stability against plasticity: what was kept of the old resolution or task beside what the new one gained."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sota_bench.report.parts import WIDE, Block, Cell, Chart, Section, Table
from sota_bench.report.text import finite, interval, number, plus_minus, signed
from sota_bench.report.theme import Ink, name_y, sequential, sheet, styles
from sota_bench.report.view import View
from sota_bench.stats.balance import BalancedRows
from sota_bench.stats.means import PERCENT, Mean, block_differences, block_means, means_by_group
from sota_bench.stats.wording import join, level_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEDULE = "resize"
"""The recipe's schedule of sizes."""

MOST_DOTS = 400
MOST_MATRICES = 4


def section(view: View) -> Section | None:
    """None where no training raised its resolution or changed its task."""
    risen = view.done.dropna(subset=["stability", "plasticity"])
    if risen.empty:
        return None
    factor = _factor(view)
    balanced = view.balanced(
        risen.assign(group=risen[factor] if factor else "all trials"), ["group"], [factor] if factor else []
    )
    rows = balanced.rows
    limits = {"stability": PERCENT, "plasticity": PERCENT, "forgetting": None}
    means = {name: means_by_group(block_means(rows, ["group"], name, limits=limit)) for name, limit in limits.items()}
    levels = list(means["stability"])
    names = {level: f"{factor} {level_name(level)}" if factor else level for level in levels}
    over = view.averaged_over(balanced)
    table = Table(
        f"{over} \u00b1: half-width of the 95% interval over seeds, from three seeds on",
        ["Level", "Trials#", "Stability, %#", "Plasticity, %#", "Forgetting, pp#"],
        [
            [
                names[level],
                str(int((rows["group"] == level).sum())),
                *(_cell(by_level[level]) for by_level in means.values()),
            ]
            for level in levels
        ],
    )
    dots = rows.groupby(["group", "seed"], sort=False)[["stability", "plasticity"]].mean().reset_index()
    blocks: list[Block] = [
        Chart(
            "stability",
            "Stability against plasticity",
            _finding(rows, means, names),
            partial(_draw, dots, list(names), list(names.values())),
            table,
            f"Small marks: one seed each; large marks: their mean. {over} Higher keeps more of what was learned first, "
            "further right learns more of what came last.",
            width=640,
        ),
        *_matrices(view, factor, balanced, names),
    ]
    return Section(
        "forgetting",
        "Stability and plasticity",
        "Forgetting is measured where it happens: on the old resolution or task, after the new one was learned.",
        blocks,
    )


def _factor(view: View) -> str | None:
    """The factor that is compared: of mitigations, else of techniques that claim stability, else the schedule."""
    mitigations = [technique.field for technique in view.tables.techniques if technique.is_mitigation]
    claims = [t.field for t in view.tables.techniques if t.card.response == "stability"]
    return next((name for name in [*mitigations, *claims, SCHEDULE] if name in view.varied), None)


def _cell(mean: Mean) -> Cell:
    return Cell(plus_minus(mean.mean, mean.half_width), mean.mean)


def _finding(rows: pd.DataFrame, means: dict[str, dict[str, Mean]], names: dict[str, str]) -> str:
    first, *others = names
    kept, new = (number(means[name][first].mean) for name in ("stability", "plasticity"))
    text = f"accuracy after training is {kept}% on what was learned first and {new}% on what was learned last"
    if not others:
        return f"{text[0].upper()}{text[1:]}."
    kept_changes, new_changes = (
        means_by_group(block_differences(rows, "group", name, first)) for name in ("stability", "plasticity")
    )
    parts = [
        f"{names[level]} {_change(kept_changes.get(level))} and {_change(new_changes.get(level))}" for level in others
    ]
    return f"With {names[first]}, {text}. Changes from that (95% intervals over seeds): {'; '.join(parts)}."


def _change(mean: Mean | None) -> str:
    """A difference with its interval: ``+1.2 pp (0.4 to 2.0)``."""
    if mean is None:
        return "not comparable"
    limits = f" ({interval(mean.low, mean.high)})" if finite(mean.low) else ""
    return f"{signed(mean.mean)} pp{limits}"


def _draw(dots: pd.DataFrame, levels: list[str], names: list[str], width: int) -> Figure:
    figure, axes = sheet(width, 380 if width > 500 else 340)
    for level, name, (colour, marker, _) in zip(levels, names, styles(len(levels)), strict=True):
        part = dots[dots["group"] == level].head(MOST_DOTS)
        axes.plot(
            part["plasticity"],
            part["stability"],
            linestyle="",
            marker=marker,
            markersize=5.5,
            color=str(colour),
            alpha=0.55,
            markeredgewidth=0,
        )
        axes.plot(
            part["plasticity"].mean(),
            part["stability"].mean(),
            linestyle="",
            marker=marker,
            markersize=12,
            color=str(colour),
            markeredgecolor=str(Ink.PAPER),
            markeredgewidth=1.4,
            label=name,
        )
    axes.grid()
    axes.margins(0.12)
    axes.set_xlabel("Plasticity: accuracy at the new resolution, %")
    name_y(axes, "Stability: accuracy kept at the old resolution, %")
    axes.legend(loc="best", handlelength=1.2)
    return figure


def _matrices(view: View, factor: str | None, balanced: BalancedRows, names: dict[str, str]) -> list[Block]:
    """Accuracy after each phase (rows) at each resolution or task (columns), one matrix per level."""
    frame = view.tables.evaluations
    if frame.empty:
        return []
    single_view = frame[frame["tta"] == "off"]
    frame = frame if single_view.empty else single_view
    columns = ["trial", "seed", *([factor] if factor else [])]
    frame = frame.merge(balanced.rows[columns], on="trial", how="inner")
    if frame.empty:
        return []
    frame["after"] = "phase " + (frame["phase"] + 1).astype(str) + ", " + frame["train_size"].astype(str) + " px"
    tasks = frame["task"].nunique() > 1
    frame["at"] = (frame["task"].astype(str) + " " if tasks else "") + frame["size"].astype(str) + " px"
    frame = frame.sort_values(["phase", "task", "size"], kind="stable")
    tested = list(dict.fromkeys(frame.sort_values(["task", "size"], kind="stable")["at"]))
    matrices: list[tuple[str, pd.DataFrame]] = []
    rows = []
    for level, name in list(names.items())[:MOST_MATRICES]:
        part = frame[frame[factor] == level] if factor else frame
        matrix = part.groupby(["after", "at"], sort=False)["accuracy"].mean().unstack("at").reindex(columns=tested)
        matrices.append((name, matrix))
        rows += [
            [name, str(after), *(number(value, 1) for value in values)]
            for after, values in zip(matrix.index, matrix.to_numpy(), strict=True)
        ]
    over = view.averaged_over(balanced)
    table = Table(f"Accuracy in percent. {over}", ["Level", "After", *(f"At {at}#" for at in tested)], rows)
    return [
        Chart(
            "phases",
            "Accuracy after each phase, at each resolution",
            matrix_finding(matrices),
            partial(_heat, matrices),
            table,
            f"Rows: after which phase; columns: the resolution at which the network was evaluated. {over}",
            width=min(WIDE, 240 + 240 * len(matrices)),
        )
    ]


def matrix_finding(matrices: list[tuple[str, pd.DataFrame]]) -> str:
    """What was lost between the best earlier phase and the last one, by level."""
    changes = []
    for name, matrix in matrices:
        change = (matrix.iloc[-1] - matrix.iloc[:-1].max()).dropna()
        if not change.empty:
            changes.append((name, str(change.idxmin()), float(change.min())))
    if not changes:
        return "There is only one phase, so nothing could be forgotten."
    lost = [f"{name} {signed(value)} pp at {at}" for name, at, value in changes if value < 0]
    if lost:
        kept = [name for name, _, value in changes if value >= 0]
        nothing = f"; nothing with {join(kept)}" if kept else ""
        return f"Largest loss from the best earlier phase to the last: {'; '.join(lost)}{nothing}."
    name, at, value = min(changes, key=lambda change: change[2])
    where = at if name == "all trials" else f"{at} with {name}"
    return (
        "No resolution lost accuracy from the best earlier phase to the last; the smallest gain was "
        f"{signed(value)} pp at {where}."
    )


def _heat(matrices: list[tuple[str, pd.DataFrame]], width: int) -> Figure:
    import seaborn

    narrow = width < 500
    rows, columns = (len(matrices), 1) if narrow else (1, len(matrices))
    deep = max(len(matrix) for _, matrix in matrices)
    figure, axes = sheet(width, (len(matrices) if narrow else 1) * (42 * deep + 86), rows, columns, squeeze=False)
    values = np.concatenate([matrix.to_numpy(float).ravel() for _, matrix in matrices])
    low, high = np.nanmin(values), np.nanmax(values)
    for index, (name, matrix) in enumerate(matrices):
        ax = axes.flat[index]
        seaborn.heatmap(
            matrix.astype(float),
            ax=ax,
            cmap=sequential(),
            vmin=low,
            vmax=high if high > low else low + 1,
            annot=True,
            fmt=".1f",
            cbar=False,
            linewidths=2,
            linecolor=str(Ink.PAPER),
            annot_kws={"color": str(Ink.INK), "fontsize": 12},
        )
        ax.set_title(name)
        ax.set(xlabel="evaluated at", ylabel="")
        ax.tick_params(axis="y", rotation=0)
        ax.tick_params(axis="x", rotation=0)
        ax.set_xticklabels([str(at).removesuffix(" px") for at in matrix.columns])
        ax.set_yticklabels(list(matrix.index) if index == 0 or narrow else [])
    return figure
