"""(2) The forest plot: every effect with its interval, each seed's own difference, the band that does not matter."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sota_bench.report.parts import Cell, Chart, Section, Table
from sota_bench.report.text import finite, number, p_value, plural, signed
from sota_bench.report.theme import TONES, Ink, sheet, short
from sota_bench.report.verdicts import Effect, changed_images, effects, over_images
from sota_bench.report.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAD = ["Contrast", "Effect, pp#", "Low#", "High#", "Standard error#", "df#", "p (Holm)#", "Detectable, pp#", "Verdict"]


def section(view: View) -> Section | None:
    """None where nothing could be estimated with an interval."""
    found = [effect for effect in effects(view) if finite(effect.low)]
    if not found:
        return None
    paired = [effect for effect in effects(view, error="paired") if finite(effect.low)]
    images = {effect.name: limits for effect in found if (limits := over_images(view, effect))}
    band = (
        ""
        if view.delta is None
        else f" The grey band is the smallest effect of interest, \u00b1{number(view.delta)} pp."
    )
    over = " Thin bracket: the 95% interval over images, for the same trainings." if images else ""
    chart = Chart(
        "forest",
        "Effect of each level on accuracy, in percentage points",
        _finding(found),
        partial(_draw, found, view.delta, images),
        table(found, "Contrasts, each with the error that its verdict is read from"),
        f"Square: the mean difference within seeds, with its 95% interval. Small dots: each seed's own "
        f"difference.{over}{band} Right of zero the level is better than its baseline.",
    )
    tables = [_image_table(found, images)] if images else []
    if changed := [[e.name, seed, str(c.gained), str(c.lost), p_value(c.p)] for e in found
                   for seed, c in changed_images(view, e)]:  # fmt: skip
        tables.append(
            Table(
                "Two predictions by one training, all else at its baseline: images that only the level, or only the "
                "baseline has right, and McNemar's exact test of each seed (not corrected for their number)",
                ["Contrast", "Seed", "Gained#", "Lost#", "p (McNemar)#"],
                changed,
                folded="McNemar's test of each seed",
            )
        )
    tables += [table(paired, "The same contrasts, each with its own paired t", "Contrasts with their own paired error")]
    extra = [effect for kind in ("simple", "trend-linear", "trend-quadratic") for effect in effects(view, kind=kind)]
    if extra:
        tables.append(
            table(
                extra,
                "Simple effects use the error of their own cells",
                "Effects at single levels of another factor, and trends over ordered levels",
            )
        )
    return Section(
        "effects",
        "Effects",
        "Differences are taken within a seed, so what a seed does to all cells cancels.",
        [chart, *tables],
    )


def table(found: list[Effect], caption: str, folded: str = "") -> Table:
    """Contrasts as rows: the numbers of the forest plot."""
    rows: list[list[Cell | str]] = [
        [
            e.name,
            Cell(signed(e.estimate, 2), e.estimate),
            number(e.low, 2),
            number(e.high, 2),
            number(e.se, 2),
            number(e.df, 0),
            p_value(e.p_holm),
            number(e.mde_family, 2),
            Cell(e.head, tone=e.tone),
        ]
        for e in found
    ]
    return Table(caption, HEAD, rows, folded=folded)


def _image_table(found: list[Effect], images: dict[str, tuple[float, float]]) -> Table:
    rows: list[list[Cell | str]] = [
        [
            e.name,
            Cell(signed(e.estimate, 2), e.estimate),
            f"{number(e.low, 2)} to {number(e.high, 2)}",
            f"{number(images[e.name][0], 2)} to {number(images[e.name][1], 2)}",
        ]
        for e in found
        if e.name in images
    ]
    return Table(
        "Over seeds: would another training agree? Over images: would another sample of images, with these trainings?",
        ["Contrast", "Effect, pp#", "95% interval over seeds#", "95% interval over images#"],
        rows,
        folded="Uncertainty over seeds and over images",
    )


def _finding(found: list[Effect]) -> str:
    clear = [effect for effect in found if effect.tone in ("good", "bad")]
    if not clear:
        return f"None of {plural(len(found), 'effect')} is clear of zero after Holm's correction."
    largest = max(clear, key=lambda effect: abs(effect.estimate))
    return (
        f"{len(clear)} of {plural(len(found), 'effect')} {'is' if len(clear) == 1 else 'are'} clear of zero; the "
        f"largest is "
        f"{largest.name}, {signed(largest.estimate)} pp ({number(largest.low)} to {number(largest.high)})."
    )


def _draw(found: list[Effect], delta: float | None, images: dict[str, tuple[float, float]], width: int) -> Figure:
    narrow = width < 500
    step = 60 if narrow else 38
    figure, axes = sheet(width, step * len(found) + 58)
    # On a narrow drawing a contrast's name stands above its marks, so band and zero line leave room for it.
    spans = [(y - 0.2, y + 0.5) for y in range(len(found))] if narrow else [(-0.6, len(found) - 0.35)]
    lows, highs = zip(*spans, strict=True)
    if delta is not None:
        for low, high in spans:
            axes.fill_betweenx([low, high], -delta, delta, color=str(Ink.BAND), linewidth=0)
        for edge in (-delta, delta):
            axes.vlines([edge] * len(spans), lows, highs, color=str(Ink.SOFT), linewidth=0.8, linestyle=(0, (2, 3)))
    axes.vlines([0] * len(spans), lows, highs, color=str(Ink.SOFT), linewidth=1.2)
    for y, effect in enumerate(found):
        if effect.name in images:
            low, high = images[effect.name]
            axes.plot(
                [low, low, high, high], [y - 0.24, y - 0.17, y - 0.17, y - 0.24], color=str(Ink.SOFT), linewidth=1.1
            )
        colour = str(TONES[effect.tone])
        axes.plot([effect.low, effect.high], [y, y], color=colour, linewidth=2.6, solid_capstyle="butt")
        axes.plot(effect.estimate, y, marker="s", color=colour, markersize=9, markeredgecolor=str(Ink.PAPER))
        dots = [value for _, value in effect.dots]
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
                f"{short(effect.name, width, 0.8)}: {signed(effect.estimate)}",
                (0, y - 0.41),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=11.5,
            )
    axes.set_ylim(len(found) - 0.35, -0.7 if narrow else -0.6)
    names = [short(effect.name, width) for effect in found]
    axes.set_yticks([] if narrow else range(len(found)), [] if narrow else names, color=str(Ink.INK))
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Difference in accuracy, percentage points")
    if not narrow:
        for y, effect in enumerate(found):
            axes.annotate(
                signed(effect.estimate),
                (1.01, y),
                xycoords=("axes fraction", "data"),
                va="center",
                fontweight="bold",
                color=str(TONES[effect.tone]),
            )
    return figure
