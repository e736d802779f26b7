"""(2) The forest plot: every effect with its interval, each seed's own difference, the band that does not matter."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from sota_bench.report.effects import Effect, changed_images, effects
from sota_bench.report.parts import Cell, Chart, Section, Table
from sota_bench.report.text import finite, interval, number, p_value, signed
from sota_bench.report.theme import TONES, Ink, sheet, short
from sota_bench.report.view import View
from sota_bench.stats import Analysis, sentences
from sota_bench.stats.result import LINEAR, PAIRED, QUADRATIC, SEEDS_AND_IMAGES, SIMPLE, Overview
from sota_bench.units import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def section(view: View) -> Section | None:
    """None where nothing could be estimated with an interval."""
    blocks = [block for analysis in view.answers.asked for block in _of_response(view, analysis)]
    if not blocks:
        return None
    lead = "Differences are taken within a seed, so whatever a seed does to all cells cancels out."
    return Section("effects", "Effects", lead, blocks)


def _of_response(view: View, analysis: Analysis) -> list[Chart | Table]:
    """The plot of the effects on one response with its tables; empty where none has an interval."""
    shown = [effect for effect in effects(view, analysis=analysis) if finite(effect.row.low)]
    if not shown:
        return []
    response, delta = shown[0].response, analysis.overview.delta
    paired = [effect for effect in effects(view, error=PAIRED, analysis=analysis) if finite(effect.row.low)]
    overview = analysis.overview
    narrow = any(_has_bracket(effect) for effect in shown)
    band = ""
    if delta is not None:
        size = sentences.amount(delta, analysis.overview.unit)
        band = f" Grey band: smaller than the smallest effect of interest, \u00b1{size}."
    over = " Thin bracket: the interval over seeds alone, for these images." if narrow else ""
    side = "right" if response.higher_is_better else "left"
    chart = Chart(
        "forest" if analysis is view.analysis else f"forest-{re.sub(r'[^a-z0-9]+', '-', response.name.lower())}",
        f"Effect of each level on {response.noun}{response.unit_in_words}",
        _finding(shown),
        partial(_draw, shown, delta),
        table(shown, "Contrasts, each with the error that its verdict is read from"),
        f"Square: mean difference within seeds, with its 95% interval over {sentences.covered(overview)}. Small dots: "
        f"the difference of each seed.{over}{band} To the {side} of zero, the level is better than its baseline.",
    )
    sources = [effect for effect in shown if effect.row.se_images is not None]
    tables = [_sources_table(sources, overview)] if sources else []
    changed = [
        [effect.name, seed, str(change.gained), str(change.lost), p_value(change.p)]
        for effect in (shown if response.name == "accuracy" else ())
        for seed, change in changed_images(view, effect)
    ]
    if changed:
        tables.append(
            Table(
                "Images that only the level has right (gained) or only its baseline (lost), of one training with all "
                "other factors at their baseline, and McNemar's exact test (not corrected for the number of seeds)",
                ["Contrast", "Seed", "Gained#", "Lost#", "p (McNemar)#"],
                changed,
                folded="McNemar's test for each seed",
            )
        )
    tables += [table(paired, "The same contrasts, each with its own paired error", "Contrasts with paired errors")]
    extra = [effect for kind in (SIMPLE, LINEAR, QUADRATIC) for effect in effects(view, kind=kind, analysis=analysis)]
    if extra:
        tables.append(
            table(
                extra,
                "Effects at a single level of another factor, with the error of their own cells, and trends over "
                "ordered levels",
                "Effects at single levels, and trends",
            )
        )
    return [chart, *tables]


def table(shown: list[Effect], caption: str, folded: str = "") -> Table:
    """Contrasts as rows: the numbers of the forest plot."""
    digits = shown[0].response.digits + 1 if shown else 2
    rows: list[list[Cell | str]] = [
        [
            effect.name,
            Cell(signed(effect.row.estimate, digits), effect.row.estimate),
            number(effect.row.low, digits),
            number(effect.row.high, digits),
            number(effect.row.se, digits),
            number(effect.row.df, 0),
            p_value(effect.row.p_holm),
            number(effect.row.mde_family, digits),
            Cell(effect.head, tone=effect.tone),
        ]
        for effect in shown
    ]
    unit = shown[0].unit if shown else ""
    columns = [f"Effect{unit}#", "Low#", "High#", "Standard error#", "df#", "p (Holm)#", f"Detectable{unit}#"]
    head = ["Contrast", *columns, "Verdict"]
    if not any(effect.overview.fractional for effect in shown):
        return Table(caption, head, rows, folded=folded)
    listed = [[*row, effect.aliases] for row, effect in zip(rows, shown, strict=True)]
    return Table(caption, [*head, "Aliased with"], listed, folded=folded)


def _has_bracket(effect: Effect) -> bool:
    """Whether the interval over seeds alone is drawn beside that over seeds and images."""
    return effect.row.scope == SEEDS_AND_IMAGES and effect.row.se_images is not None


def _sources_table(shown: list[Effect], overview: Overview) -> Table:
    digits, unit = shown[0].response.digits + 1, shown[0].unit
    rows: list[list[Cell | str]] = [
        [
            effect.name,
            Cell(signed(effect.row.estimate, digits), effect.row.estimate),
            number(effect.row.se_seeds, digits),
            number(effect.row.se_images, digits),
            interval(effect.row.low, effect.row.high, digits),
            interval(effect.row.low_seeds, effect.row.high_seeds, digits),
        ]
        for effect in shown
    ]
    return Table(
        f"Standard errors: over seeds (other trainings, judged on these {overview.images:,} images), and what other "
        f"images like these would add. Verdicts are read from the interval over {sentences.covered(overview)}",
        ["Contrast", f"Effect{unit}#", "Error over seeds#", "Error over images#", "95% interval#",
         "95% interval on these images#"],
        rows,
        folded="Uncertainty from seeds and from images",
    )  # fmt: skip


def _finding(shown: list[Effect]) -> str:
    clear = [effect for effect in shown if effect.tone in ("good", "bad")]
    if not clear:
        return "No level is shown to help or to hurt."
    largest = max(clear, key=lambda effect: abs(effect.row.estimate or 0.0))
    return (
        f"{len(clear)} of {counted(len(shown), 'level')} {'helps or hurts' if len(clear) == 1 else 'help or hurt'}; "
        f"the largest effect is {largest.name}, {largest.size}."
    )


def _draw(shown: list[Effect], delta: float | None, width: int) -> Figure:
    narrow = width < 500
    step = 60 if narrow else 38
    figure, axes = sheet(width, step * len(shown) + 58)
    # On a narrow drawing a contrast's name stands above its marks, so band and zero line leave room for it.
    spans = [(y - 0.2, y + 0.5) for y in range(len(shown))] if narrow else [(-0.6, len(shown) - 0.35)]
    lows, highs = zip(*spans, strict=True)
    if delta is not None:
        for low, high in spans:
            axes.fill_betweenx([low, high], -delta, delta, color=str(Ink.BAND), linewidth=0)
        for edge in (-delta, delta):
            axes.vlines([edge] * len(spans), lows, highs, color=str(Ink.SOFT), linewidth=0.8, linestyle=(0, (2, 3)))
    axes.vlines([0] * len(spans), lows, highs, color=str(Ink.SOFT), linewidth=1.2)
    for y, effect in enumerate(shown):
        if _has_bracket(effect):
            ends = [effect.row.low_seeds] * 2 + [effect.row.high_seeds] * 2
            axes.plot(ends, [y - 0.24, y - 0.17, y - 0.17, y - 0.24], color=str(Ink.SOFT), linewidth=1.1)
        colour = str(TONES[effect.tone])
        axes.plot([effect.row.low, effect.row.high], [y, y], color=colour, linewidth=2.6, solid_capstyle="butt")
        axes.plot(effect.row.estimate, y, marker="s", color=colour, markersize=9, markeredgecolor=str(Ink.PAPER))
        dots = effect.by_seed
        axes.plot(
            dots,
            [y + 0.3] * len(dots),
            linestyle="",
            marker="o",
            markersize=4.5,
            color=str(Ink.SOFT),
            markeredgecolor=str(Ink.PAPER),
            markeredgewidth=0.6,
        )
        if narrow:
            axes.annotate(
                f"{short(effect.name, width, 0.8)}: {effect.size}",
                (0, y - 0.41),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=11.5,
            )
    axes.set_ylim(len(shown) - 0.35, -0.7 if narrow else -0.6)
    names = [short(effect.name, width) for effect in shown]
    axes.set_yticks([] if narrow else range(len(shown)), [] if narrow else names, color=str(Ink.INK))
    axes.spines["left"].set_visible(False)
    response = shown[0].response
    axes.set_xlabel(f"Difference in {response.noun}{response.unit_in_words}")
    if not narrow:
        for y, effect in enumerate(shown):
            axes.annotate(
                effect.size.removesuffix(f" {response.unit}"),
                (1.01, y),
                xycoords=("axes fraction", "data"),
                va="center",
                fontweight="bold",
                color=str(TONES[effect.tone]),
            )
    return figure
