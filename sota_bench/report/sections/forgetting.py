"""(7) Stability against plasticity: what was kept at the old resolution beside what was gained at the new one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sota_bench.report.balance import Alike, alike
from sota_bench.report.parts import WIDE, Block, Cell, Chart, Section, Table
from sota_bench.report.text import join, level_text, number, signed
from sota_bench.report.theme import Ink, name_y, sequential, sheet, styles
from sota_bench.report.view import View, block_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The recipe's fields that decide what is kept, in the order in which they are asked.
FIELDS = ("mitigation", "base", "resize")
MOST_DOTS = 400


def section(view: View) -> Section | None:
    """None where no training raised its resolution or changed its task."""
    risen = view.done.dropna(subset=["stability", "plasticity"])
    if risen.empty:
        return None
    factor = next(iter(view.asks(*FIELDS)), None)
    risen = risen.assign(group=risen[factor] if factor else "all trials")
    kept = alike(view, risen, ["group"], [factor] if factor else [])
    risen = kept.rows
    means = {name: block_means(risen, ["group"], name) for name in ("stability", "plasticity", "forgetting")}
    levels = list(means["stability"].index)
    names = [f"{factor} {level_text(level)}" if factor else level for level in levels]
    rows = [
        [
            name,
            str(int((risen["group"] == level).sum())),
            *(
                Cell(
                    f"{number(m.loc[level, 'mean'], 2)} \u00b1 "
                    f"{number(m.loc[level, 'high'] - m.loc[level, 'mean'], 2)}",
                    m.loc[level, "mean"],
                )
                for m in means.values()
            ),
        ]
        for level, name in zip(levels, names, strict=True)
    ]
    table = Table(
        f"{kept.words} \u00b1: half-width of the 95% t interval over seeds",
        ["Level", "Trials#", "Stability, %#", "Plasticity, %#", "Forgetting, pp#"],
        rows,
    )
    dots = risen.groupby(["group", "seed"], sort=False)[["stability", "plasticity"]].mean().reset_index()
    blocks: list[Block] = [
        Chart(
            "stability",
            "Stability against plasticity",
            _finding(means, _changes(risen, levels), levels, names),
            partial(_draw, dots, levels, names),
            table,
            f"Each mark is one seed, the large mark their mean. {kept.words} Up keeps more of the old resolution, "
            "right learns more of the new one.",
            width=640,
        ),
    ]
    blocks += _matrices(view, factor, kept, levels, names)
    return Section(
        "forgetting",
        "Stability and plasticity",
        "Forgetting is measured where it happens: at the old resolution, after the new one was learned.",
        blocks,
    )


def _changes(risen: pd.DataFrame, levels: list[str]) -> dict[tuple[str, str], str]:
    """Each measure's difference to the first level, paired by seed, in words with its 95% t interval."""
    by_seed = risen.groupby(["group", "seed"], sort=False)[["stability", "plasticity"]].mean()
    found = {}
    for level in levels[1:]:
        change = (by_seed.loc[level] - by_seed.loc[levels[0]]).dropna().reset_index().assign(group=level)
        for name in ("stability", "plasticity"):
            mean = block_means(change, ["group"], name).iloc[0]
            limits = f" ({number(mean['low'])} to {number(mean['high'])})" if np.isfinite(mean["low"]) else ""
            found[level, name] = f"{signed(mean['mean'])} pp{limits}"
    return found


def _finding(
    means: dict[str, pd.DataFrame], changes: dict[tuple[str, str], str], levels: list[str], names: list[str]
) -> str:
    kept, new = means["stability"]["mean"], means["plasticity"]["mean"]
    first = levels[0]
    text = f"{number(kept[first])}% right at the old resolution after the rise, {number(new[first])}% at the new one"
    if len(levels) == 1:
        return f"{text[0].upper()}{text[1:]}."
    parts = [
        f"{name} {changes[level, 'stability']} at the old, {changes[level, 'plasticity']} at the new"
        for level, name in zip(levels[1:], names[1:], strict=True)
    ]
    return f"With {names[0]} {text}. Against it, with 95% intervals over seeds: {'; '.join(parts)}."


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


def _matrices(view: View, factor: str | None, kept: Alike, levels: list[str], names: list[str]) -> list[Block]:
    """Accuracy after each phase (rows) at each resolution or task (columns), one matrix per level."""
    frame = view.tables.evaluations
    if frame.empty:
        return []
    plain = frame[frame["tta"] == "off"]
    frame = frame if plain.empty else plain
    columns = ["trial", "seed", *([factor] if factor else [])]
    frame = frame.merge(kept.rows[columns], on="trial", how="inner")
    if frame.empty:
        return []
    frame["after"] = "phase " + (frame["phase"] + 1).astype(str) + ", " + frame["train_size"].astype(str) + " px"
    tasks = frame["task"].nunique() > 1
    frame["at"] = (frame["task"].astype(str) + " " if tasks else "") + frame["size"].astype(str) + " px"
    frame = frame.sort_values(["phase", "task", "size"], kind="stable")
    columns_order = list(dict.fromkeys(frame.sort_values(["task", "size"], kind="stable")["at"]))
    grids, rows = [], []
    for level, name in list(zip(levels, names, strict=True))[:4]:
        part = frame[frame[factor] == level] if factor else frame
        grid = part.groupby(["after", "at"], sort=False)["accuracy"].mean().unstack("at").reindex(columns=columns_order)
        grids.append((name, grid))
        rows += [
            [name, str(after), *(number(value, 1) for value in values)]
            for after, values in zip(grid.index, grid.to_numpy(), strict=True)
        ]
    table = Table(
        f"Accuracy in percent. {kept.words}", ["Level", "After", *(f"At {at}#" for at in columns_order)], rows
    )
    return [
        Chart(
            "phases",
            "Accuracy after each phase, at each resolution",
            _matrix_finding(grids),
            partial(_heat, grids),
            table,
            "A row is a moment (after a phase), a column a resolution at which the network was evaluated. "
            f"{kept.words}",
            width=min(WIDE, 240 + 240 * len(grids)),
        )
    ]


def _matrix_finding(grids: list[tuple[str, pd.DataFrame]]) -> str:
    changes = []
    for name, grid in grids:
        change = (grid.iloc[-1] - grid.iloc[:-1].max()).dropna()
        if not change.empty:
            changes.append((name, str(change.idxmin()), float(change.min())))
    if not changes:
        return "One phase only, so there is nothing to forget."
    lost = [f"{name} {signed(value)} pp at {at}" for name, at, value in changes if value < 0]
    if lost:
        gained = [name for name, _, value in changes if value >= 0]
        rest = f"; nothing was lost with {join(gained)}" if gained else ""
        return f"From the best earlier phase to the last, the largest loss: {'; '.join(lost)}{rest}."
    name, at, value = min(changes, key=lambda found: found[2])
    where = at if name == "all trials" else f"{at} with {name}"
    return (
        f"From the best earlier phase to the last, no resolution lost accuracy; the smallest gain was "
        f"{signed(value)} pp at {where}."
    )


def _heat(grids: list[tuple[str, pd.DataFrame]], width: int) -> Figure:
    import seaborn

    narrow = width < 500
    rows, columns = (len(grids), 1) if narrow else (1, len(grids))
    deep = max(len(grid) for _, grid in grids)
    figure, axes = sheet(width, (len(grids) if narrow else 1) * (42 * deep + 86), rows, columns, squeeze=False)
    values = np.concatenate([grid.to_numpy(float).ravel() for _, grid in grids])
    low, high = np.nanmin(values), np.nanmax(values)
    for index, (name, grid) in enumerate(grids):
        ax = axes.flat[index]
        seaborn.heatmap(
            grid.astype(float),
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
        ax.set_xticklabels([str(at).removesuffix(" px") for at in grid.columns])
        ax.set_yticklabels(list(grid.index) if index == 0 or narrow else [])
    return figure
