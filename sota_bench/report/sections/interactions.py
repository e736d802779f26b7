"""(5) Interactions: the largest difference of differences of each pair of factors, then lines for the flagged pairs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sota_bench.report.balance import alike
from sota_bench.report.parts import WIDE, Block, Cell, Chart, Section, Table
from sota_bench.report.text import finite, join, level_text, number, p_value, plural, signed
from sota_bench.report.theme import Ink, diverging, name_y, sheet, styles
from sota_bench.report.verdicts import Effect, interactions
from sota_bench.report.view import View, block_means, labelled
from sota_bench.stats.verdicts import EQUIVALENT, NEGLIGIBLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PAIRS = 6


def section(view: View) -> Section | None:
    """None where no pair of factors was crossed."""
    found = interactions(view)
    if not found:
        return None
    flagged = list(dict.fromkeys((e.factor, e.factor_b) for e in found if e.flagged))
    rows: list[list[Cell | str]] = [
        [
            _name(e),
            Cell(signed(e.estimate, 2), e.estimate),
            f"{number(e.low, 2)} to {number(e.high, 2)}",
            p_value(e.p_holm),
            number(e.mde_family, 2),
            Cell("flagged" if e.flagged else "not clear", tone="bad" if e.flagged else ""),
        ]
        for e in found
    ]
    table = Table(
        "Differences of differences, each with the error that it is judged by",
        ["Interaction", "Size, pp#", "95% interval#", "p (Holm)#", "Detectable, pp#", "Clear"],
        rows,
    )
    blocks: list[Block] = []
    names = [name for name in view.factors if any(name in (e.factor, e.factor_b) for e in found)]
    if len(names) > 2:
        blocks.append(
            Chart(
                "interactions",
                "Largest interaction of each pair of factors, in percentage points",
                _finding(found),
                partial(_matrix, _largest(found, names)),
                table,
                "How much the effect of one factor changes with the other. A frame marks a pair that is clear "
                "after Holm's "
                "correction; n/a: the grid has no cells for it.",
                width=min(WIDE, 200 + 105 * len(names)),
                narrow=len(names) > 3,
            )
        )
    else:
        blocks.append(table)
    if flagged:
        blocks.append(_lines(view, flagged[:MOST_PAIRS]))
    return Section("interactions", "Interactions", _lead(view, flagged, found), blocks)


def _lead(view: View, flagged: list[tuple[str, str]], found: list[Effect]) -> str:
    """What is clear; of what is not, what this run could have seen: not clear is not absent."""
    if not flagged:
        small = [e for e in found if e.verdict in (NEGLIGIBLE, EQUIVALENT)]
        text = f"None of {plural(len(found), 'interaction')} is clear"
        if small:
            verb = "is" if len(small) == 1 else "are"
            text += f", and {len(small)} {verb} shown to be smaller than {number(view.delta)} pp"
        if len(small) == len(found):
            return f"{text}: effects add up as far as it matters."
        reach = [e.mde_family for e in found if e not in small and finite(e.mde_family)]
        if not reach:
            return f"{text}."
        low, high = number(min(reach)), number(max(reach))
        size = f"{low} pp" if low == high else f"{low} to {high} pp"
        return (
            f"{text}. Of the {'others' if small else 'differences'} this run could detect {size}: what is smaller may "
            "be there unseen, so take each main effect for an average over the other factors."
        )
    pairs = join([f"{a} with {b}" for a, b in flagged])
    return f"Clear: {pairs}. Their main effects are averages of unlike things; read the lines instead."


def _name(e: Effect) -> str:
    return f"{e.name} \u00d7 {e.factor_b} {level_text(e.level_b)} vs {level_text(e.baseline_b)}"


def _finding(found: list[Effect]) -> str:
    top = max(found, key=lambda e: abs(e.estimate) / e.se)
    return (
        f"The clearest is {_name(top)}: {signed(top.estimate)} pp ({number(top.low)} to {number(top.high)}, p "
        f"{p_value(top.p_holm)} after Holm)."
    )


def _largest(found: list[Effect], names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """For each pair the estimate of the clearest interaction, and whether any is flagged; lower triangle."""
    size = pd.DataFrame(np.nan, index=names[1:], columns=names[:-1])
    flag = pd.DataFrame(False, index=names[1:], columns=names[:-1])
    for e in sorted(found, key=lambda e: abs(e.estimate) / e.se):
        column, row = sorted((e.factor, e.factor_b), key=names.index)
        size.loc[row, column] = e.estimate
        flag.loc[row, column] = bool(flag.loc[row, column]) or bool(e.flagged)
    return size, flag


def _matrix(largest: tuple[pd.DataFrame, pd.DataFrame], width: int) -> Figure:
    import seaborn

    size, flag = largest
    figure, axes = sheet(width, 50 * len(size) + 60)
    bound = max(float(np.nanmax(np.abs(size.to_numpy()))), 1e-9)
    words = size.map(lambda value: signed(value, 1 if bound >= 1 else 2))
    seaborn.heatmap(
        size,
        ax=axes,
        cmap=diverging(),
        vmin=-bound,
        vmax=bound,
        annot=words,
        fmt="",
        cbar=False,
        linewidths=3,
        linecolor=str(Ink.PAPER),
        annot_kws={"color": str(Ink.INK), "fontsize": 12.5},
    )
    for y, row in enumerate(size.index):
        for x, column in enumerate(size.columns):
            if flag.loc[row, column]:
                axes.plot(
                    [x + 0.04, x + 0.96, x + 0.96, x + 0.04, x + 0.04],
                    [y + 0.06, y + 0.06, y + 0.94, y + 0.94, y + 0.06],
                    color=str(Ink.INK),
                    linewidth=2,
                )
            elif x <= y and np.isnan(size.loc[row, column]):
                axes.text(x + 0.5, y + 0.5, "n/a", ha="center", va="center", color=str(Ink.SOFT))
    axes.tick_params(axis="both", rotation=0, labelcolor=str(Ink.INK))
    return figure


def _lines(view: View, pairs: list[tuple[str, str]]) -> Chart:
    panels, rows, over = [], [], []
    for first, second in pairs:
        kept = alike(view, view.done, [first, second], [first, second])
        over.append(kept.words)
        means = block_means(kept.rows, [first, second], "accuracy")
        panels.append((first, second, means))
        rows += [
            [
                f"{first} {level_text(a)}",
                f"{second} {level_text(b)}",
                number(r["mean"], 2),
                f"{number(r['low'], 2)} to {number(r['high'], 2)}",
            ]
            for (a, b), r in labelled(means)
        ]
    parts = []
    for first, second, means in panels:
        levels, lines = view.factors[first], view.factors[second]
        gaps = [
            (b, means["mean"].get((levels[-1], b), np.nan) - means["mean"].get((levels[0], b), np.nan)) for b in lines
        ]
        parts += [
            f"{first} {level_text(levels[-1])} vs {level_text(levels[0])} is "
            + join([f"{signed(gap)} pp at {second} {level_text(b)}" for b, gap in gaps if np.isfinite(gap)])
        ]
    table = Table(
        "Mean accuracy of each pair of levels, with 95% t intervals over seeds",
        ["Level", "At", "Accuracy, %#", "95% interval#"],
        rows,
    )
    return Chart(
        "interaction-lines",
        "Flagged pairs",
        "; ".join(parts) + ".",
        partial(_draw, view.factors, panels),
        table,
        f"{_over(pairs, over)} Bars are 95% t intervals over seeds. Parallel lines would mean no interaction.",
        width=WIDE if len(panels) > 1 else 460,
    )


def _over(pairs: list[tuple[str, str]], words: list[str]) -> str:
    """What each panel is a mean over, said once where all say the same."""
    if len(set(words)) == 1:
        return words[0]
    return " ".join(f"{a} with {b}: {said[0].lower()}{said[1:]}" for (a, b), said in zip(pairs, words, strict=True))


def _draw(factors: dict[str, list[str]], panels: list[tuple[str, str, pd.DataFrame]], width: int) -> Figure:
    columns = 1 if width < 500 else min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = sheet(width, 270 * lines, lines, columns, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (first, second, means) in zip(axes.flat, panels, strict=False):
        places = {level: x for x, level in enumerate(factors[first])}
        drawn = [level for level in factors[second] if level in means.index.get_level_values(1)]
        spread = [0.0] if len(drawn) == 1 else list(np.linspace(-0.06, 0.06, len(drawn)))
        for shift, level, (colour, marker, dash) in zip(spread, drawn, styles(len(drawn)), strict=True):
            part = means.xs(level, level=1)
            part = part.loc[sorted(part.index, key=places.__getitem__)]
            x = [places[name] + shift for name in part.index]
            ax.vlines(x, part["low"], part["high"], color=str(colour), linewidth=1.4)
            ax.plot(
                x,
                part["mean"],
                color=str(colour),
                marker=marker,
                linestyle=dash,
                markeredgecolor=str(Ink.PAPER),
                label=f"{second} {level_text(level)}",
            )
        ax.set_xticks(list(places.values()), [level_text(level) for level in places])
        ax.set_xlim(-0.35, len(places) - 0.65)
        ax.set_xlabel(first)
        ax.grid(axis="y")
        name_y(ax, "Accuracy, %")
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + (0.08 + 0.09 * len(drawn)) * (high - low))  # room for the legend over the intervals
        ax.legend(loc="upper left", handlelength=2.6)
    return figure
