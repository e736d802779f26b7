"""(5) Interactions: the clearest difference of differences of each pair of factors, then lines for the clear pairs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sota_bench.report.effects import Effect, interactions
from sota_bench.report.parts import WIDE, Block, Cell, Chart, Section, Table
from sota_bench.report.text import interval, lower_first, number, p_value, signed
from sota_bench.report.theme import Ink, diverging, name_y, sheet, styles
from sota_bench.report.view import View
from sota_bench.responses import Response
from sota_bench.stats import sentences
from sota_bench.stats.means import block_means
from sota_bench.stats.verdicts import EQUIVALENT, NEGLIGIBLE
from sota_bench.stats.wording import join, level_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PAIRS = 6


def section(view: View) -> Section | None:
    """None where no pair of factors was crossed."""
    shown = interactions(view)
    if not shown:
        return None
    clear = list(dict.fromkeys(_pair(effect) for effect in shown if effect.row.flagged))
    response, unit = view.response, shown[0].unit
    digits = response.digits + 1
    rows: list[list[Cell | str]] = [
        [
            effect.name,
            Cell(signed(effect.row.estimate, digits), effect.row.estimate),
            interval(effect.row.low, effect.row.high, digits),
            p_value(effect.row.p_holm),
            number(effect.row.mde_family, digits),
            _result(effect),
            *([effect.aliases] if effect.overview.fractional else []),
        ]
        for effect in shown
    ]
    head = ["Interaction", f"Size{unit}#", "95% interval#", "p (Holm)#", f"Detectable{unit}#", "Result"]
    head += ["Aliased with"] if view.analysis.overview.fractional else []
    table = Table("Differences of differences, each with the error that it is judged by", head, rows)
    blocks: list[Block] = []
    names = [name for name in view.factors if any(name in _pair(effect) for effect in shown)]
    if len(names) > 2:
        blocks.append(
            Chart(
                "interactions",
                f"Clearest interaction of each pair of factors on {response.noun}{response.unit_in_words}",
                _finding(shown),
                partial(_matrix, _clearest(shown, names), response.digits),
                table,
                "How much the effect of one factor changes with the other. Framed: clear after Holm's correction. n/a: "
                + (
                    "aliased with a pair that is shown, or not tested by any cells."
                    if view.analysis.overview.fractional
                    else "the grid has no cells to test it."
                ),
                width=min(WIDE, 200 + 105 * len(names)),
                narrow=len(names) > 3,
            )
        )
    else:
        blocks.append(table)
    if clear:
        blocks.append(_lines(view, clear[:MOST_PAIRS]))
    return Section("interactions", "Interactions", _lead(view, clear, shown), blocks)


def _result(effect: Effect) -> Cell:
    if effect.row.withheld:
        return Cell("aliased")
    return Cell("clear" if effect.row.flagged else "not clear", tone="bad" if effect.row.flagged else "")


def _pair(effect: Effect) -> tuple[str, str]:
    """The two factors of an interaction."""
    return effect.row.factor, str(effect.row.factor_b)


def _lead(view: View, clear: list[tuple[str, str]], shown: list[Effect]) -> str:
    """What is clear; of what is not, what this run could have seen: not clear is not absent."""
    withheld = [effect for effect in shown if effect.row.withheld]
    if withheld:
        sums = "; ".join(f"{effect.name} with {effect.aliases}" for effect in withheld)
        return f"Some interactions exist, but the fraction cannot tell which of those that are aliased: {sums}."
    if clear:
        pairs = join([f"{a} with {b}" for a, b in clear])
        return f"Clear: {pairs}. Their main effects average unlike effects, so read the lines below instead."
    small = [effect for effect in shown if effect.row.verdict in (NEGLIGIBLE, EQUIVALENT)]
    response, delta = view.response, sentences.amount(view.delta, view.response.unit)
    if len(small) == len(shown):
        return f"No interaction is larger than {delta}: for practical purposes the effects add up."
    text = "The only interaction is not clear" if len(shown) == 1 else f"None of {len(shown)} interactions is clear"
    if small:
        verb = "is" if len(small) == 1 else "are"
        text += f", and {len(small)} of them {verb} smaller than {delta}"
    reach = [e.row.mde_family for e in shown if e not in small and e.row.mde_family is not None]
    if not reach:
        return f"{text}."
    low, high = number(min(reach), response.digits), number(max(reach), response.digits)
    size = f"{low if low == high else f'{low} to {high}'} {response.unit}".strip()
    return (
        f"{text}. {'For the others, this' if small else 'This'} run could detect interactions of {size}; smaller ones "
        "may exist, so read each main effect as an average over the other factors."
    )


def _finding(shown: list[Effect]) -> str:
    top = max(shown, key=_clarity)
    return (
        f"The clearest is {top.name}: {top.size} ({interval(top.row.low, top.row.high, top.response.digits)}; "
        f"p {_equals(p_value(top.row.p_holm))} after Holm's correction)."
    )


def _equals(text: str) -> str:
    return text if text.startswith("<") else f"= {text}"


def _clarity(effect: Effect) -> float:
    """Size in standard errors."""
    return abs(effect.row.estimate or 0.0) / (effect.row.se or 1.0)


def _clearest(shown: list[Effect], names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """For each pair the estimate of the clearest interaction, and whether any is clear; lower triangle."""
    size = pd.DataFrame(np.nan, index=names[1:], columns=names[:-1])
    flag = pd.DataFrame(False, index=names[1:], columns=names[:-1])
    for effect in sorted(shown, key=_clarity):
        column, row = sorted(_pair(effect), key=names.index)
        size.loc[row, column] = effect.row.estimate
        flag.loc[row, column] = bool(flag.loc[row, column]) or effect.row.flagged
    return size, flag


def _matrix(clearest: tuple[pd.DataFrame, pd.DataFrame], digits: int, width: int) -> Figure:
    import seaborn

    size, flag = clearest
    figure, axes = sheet(width, 50 * len(size) + 60)
    bound = max(float(np.nanmax(np.abs(size.to_numpy()))), 1e-9)
    words = size.map(lambda value: signed(value, digits if bound >= 1 else digits + 1))
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
    panels, rows, over, response = [], [], [], view.response
    digits = response.digits
    for first, second in pairs:
        balanced = view.balanced(view.done, [first, second], [first, second])
        over.append(view.averaged_over(balanced))
        means = block_means(balanced.rows, [first, second], response.name, limits=response.bounded)
        panels.append((first, second, means))
        rows += [
            [
                f"{first} {level_name(row[first])}",
                f"{second} {level_name(row[second])}",
                number(row["mean"], digits + 1),
                interval(row["low"], row["high"], digits + 1),
            ]
            for row in means.reset_index().to_dict("records")
        ]
    parts, unit = [], f" {response.unit}" if response.unit else ""
    for first, second, means in panels:
        levels, lines = view.factors[first], view.factors[second]
        gaps = [
            (b, means["mean"].get((levels[-1], b), np.nan) - means["mean"].get((levels[0], b), np.nan)) for b in lines
        ]
        shown = [f"{signed(gap, digits)}{unit} at {second} {level_name(b)}" for b, gap in gaps if np.isfinite(gap)]
        parts.append(f"{first} {level_name(levels[-1])} vs {level_name(levels[0])}: {join(shown)}")
    table = Table(
        f"Mean {response.noun} of each pair of levels, with 95% intervals over seeds",
        ["Level", "At", f"{response.heading}#", "95% interval#"],
        rows,
    )
    return Chart(
        "interaction-lines",
        "Clear interactions",
        "; ".join(parts) + ".",
        partial(_draw, view.factors, panels, response),
        table,
        f"{_over(pairs, over)} Bars: 95% intervals over seeds. Parallel lines would mean no interaction.",
        width=WIDE if len(panels) > 1 else 460,
    )


def _over(pairs: list[tuple[str, str]], sentences: list[str]) -> str:
    """What each panel is a mean over, said once where all say the same."""
    if len(set(sentences)) == 1:
        return sentences[0]
    return " ".join(f"{a} with {b}: {lower_first(sentence)}" for (a, b), sentence in zip(pairs, sentences, strict=True))


def _draw(
    factors: dict[str, list[str]], panels: list[tuple[str, str, pd.DataFrame]], response: Response, width: int
) -> Figure:
    columns = 1 if width < 500 else min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = sheet(width, 270 * lines, lines, columns, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (first, second, means) in zip(axes.flat, panels, strict=False):
        positions = {level: x for x, level in enumerate(factors[first])}
        drawn = [level for level in factors[second] if level in means.index.get_level_values(1)]
        spread = [0.0] if len(drawn) == 1 else list(np.linspace(-0.06, 0.06, len(drawn)))
        for shift, level, (colour, marker, dash) in zip(spread, drawn, styles(len(drawn)), strict=True):
            part = means.xs(level, level=1)
            part = part.loc[sorted(part.index, key=positions.__getitem__)]
            x = [positions[name] + shift for name in part.index]
            ax.vlines(x, part["low"], part["high"], color=str(colour), linewidth=1.4)
            ax.plot(
                x,
                part["mean"],
                color=str(colour),
                marker=marker,
                linestyle=dash,
                markeredgecolor=str(Ink.PAPER),
                label=f"{second} {level_name(level)}",
            )
        ax.set_xticks(list(positions.values()), [level_name(level) for level in positions])
        ax.set_xlim(-0.35, len(positions) - 0.65)
        ax.set_xlabel(first)
        ax.grid(axis="y")
        name_y(ax, response.heading)
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + (0.08 + 0.09 * len(drawn)) * (high - low))  # room for the legend over the intervals
        ax.legend(loc="upper left", handlelength=2.6)
    return figure
