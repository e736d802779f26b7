"""(8) Calibration and reliability, where a technique's claim is about uncertainty."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from sota_bench.report.effects import effects_on, typeset
from sota_bench.report.parts import Block, Cell, Chart, Section, Table
from sota_bench.report.text import interval, number, plus_minus, signed
from sota_bench.report.theme import Ink, name_y, sheet, styles
from sota_bench.report.view import View
from sota_bench.stats import sentences, wording
from sota_bench.stats.balance import BalancedRows
from sota_bench.stats.means import block_means, means_by_group
from sota_bench.stats.reliability import pool_bins
from sota_bench.stats.result import ContrastRow
from sota_bench.stats.wording import join, level_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNCERTAINTY = ("nll", "ece")
"""Responses that are about uncertainty."""

FEWEST = 20
"""Images that a confidence bin must hold to be drawn: a share of fewer is mostly noise."""

MEASURES = {
    "accuracy": ("Accuracy, %", 2),
    "nll": ("NLL, nats", 3),
    "ece": ("ECE", 3),
    "brier": ("Brier score", 3),
    "confidence": ("Mean confidence", 3),
}


def section(view: View) -> Section | None:
    """None where no varied technique declares that its claim is about uncertainty."""
    fields = {t.field for t in view.tables.techniques if t.card.response in UNCERTAINTY}
    claims = [name for name in view.varied if name in fields]
    if not claims or view.done.empty:
        return None
    blocks: list[Block] = []
    for factor in claims:
        balanced = view.balanced(view.done, [factor], [factor])
        levels = [level for level in view.factors[factor] if (balanced.rows[factor] == level).any()]
        curve = _curve(view, balanced, factor)
        if not curve.empty:
            blocks.append(
                Chart(
                    f"reliability-{_safe(factor)}",
                    f"Reliability by level of {factor}",
                    _finding(balanced, factor, levels),
                    partial(_draw, curve, factor, levels),
                    _bins(curve, factor, levels),
                    "Share of correct predictions at each confidence. On the diagonal the network is calibrated; below "
                    "it, overconfident. The area of a mark is proportional to the images in its bin; bins with fewer "
                    f"than {FEWEST} images are only in the table. {view.averaged_over(balanced)}",
                    width=560,
                )
            )
        blocks.append(_measures(view, balanced, factor, levels))
    contrasts = _contrasts(view, claims)
    if contrasts is not None:
        blocks.append(contrasts)
    return Section(
        "calibration",
        "Calibration",
        f"{join(claims)} {'promises' if len(claims) == 1 else 'promise'} better uncertainty, judged here by negative "
        "log-likelihood (NLL), expected calibration error (ECE) and confidence on unmixed images.",
        blocks,
    )


def _safe(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def _curve(view: View, balanced: BalancedRows, factor: str) -> pd.DataFrame:
    bins = view.tables.reliability
    if bins.empty:
        return bins
    return pool_bins(bins.merge(balanced.rows[["trial", factor]], on="trial", how="inner"), factor)


def _finding(balanced: BalancedRows, factor: str, levels: list[str]) -> str:
    means = balanced.rows.groupby(factor)[["ece", "confidence", "accuracy"]].mean().to_dict("index")
    parts = []
    for level in levels:
        mean = means[level]
        gap = 100 * mean["confidence"] - mean["accuracy"]
        tendency = "calibrated" if abs(gap) < 1 else "overconfident" if gap > 0 else "underconfident"
        parts.append(
            f"{factor} {level_name(level)}: ECE {number(mean['ece'], 3)}, mean confidence {number(abs(gap))} pp "
            f"{'above' if gap > 0 else 'below'} accuracy ({tendency})"
        )
    return "; ".join(parts) + "."


def _bins(curve: pd.DataFrame, factor: str, levels: list[str]) -> Table:
    rows = [
        [
            f"{factor} {level_name(level)}",
            interval(row["low"], row["high"], 2),
            f"{int(row['count']):,}",
            number(row["confidence"], 3),
            number(row["accuracy"], 3),
        ]
        for level in levels
        for row in curve[curve[factor] == level].to_dict("records")
    ]
    return Table(
        "Confidence bins, all trials of a level together",
        ["Level", "Confidence bin", "Images#", "Mean confidence#", "Accuracy#"],
        rows,
    )


def _measures(view: View, balanced: BalancedRows, factor: str, levels: list[str]) -> Table:
    means = {name: means_by_group(block_means(balanced.rows, [factor], name)) for name in MEASURES}
    rows = []
    for level in levels:
        row: list[Cell | str] = [f"{factor} {level_name(level)}"]
        for name, (_, digits) in MEASURES.items():
            mean = means[name][level]
            row.append(Cell(plus_minus(mean.mean, mean.half_width, digits), mean.mean))
        rows.append(row)
    return Table(
        f"By level of {factor}. {view.averaged_over(balanced)} \u00b1: half-width of the 95% interval over seeds, from "
        "three seeds on",
        ["Level", *(f"{title}#" for title, _ in MEASURES.values())],
        rows,
    )


def _contrasts(view: View, claims: list[str]) -> Table | None:
    """Paired differences in NLL and ECE: the tests of the techniques' own claims."""
    rows: list[list[Cell | str]] = []
    judged = {analysis.overview.response for analysis in (*view.answers.asked, *view.answers.claims)}
    for response, unit in (("nll", "nats"), ("ece", "")):
        for effect in effects_on(view, response, unit) if response not in judged else ():
            row = effect.row
            if row.factor in claims:
                places = wording.decimals(row, unit)
                rows.append(
                    [
                        typeset(sentences.comparison(row)),
                        MEASURES[response][0],
                        signed(row.estimate, places),
                        interval(row.low, row.high, places),
                        Cell(*_direction(row)),
                    ]
                )
    if not rows:
        return None
    return Table(
        "Differences within seeds in measures that no verdict above is about; lower is better. No smallest effect of "
        "interest is set for them, so only the direction is given where it is significant after Holm's correction",
        ["Contrast", "Measure", "Difference#", "95% interval#", "Direction"],
        rows,
    )


def _direction(row: ContrastRow) -> tuple[str, None, str]:
    """Lower or higher, where that is significant; its tone."""
    if row.low is None or row.estimate is None:
        return "not estimable", None, ""
    if row.p_holm is None or row.p_holm >= 0.05:
        return "not clear", None, ""
    return ("lower", None, "good") if row.estimate < 0 else ("higher", None, "bad")


def _draw(curve: pd.DataFrame, factor: str, levels: list[str], width: int) -> Figure:
    figure, axes = sheet(width, min(width, 420))
    axes.plot([0, 1], [0, 1], color=str(Ink.SOFT), linewidth=1.2, linestyle=(0, (2, 3)))
    for level, (colour, marker, dash) in zip(levels, styles(len(levels)), strict=True):
        part = curve[(curve[factor] == level) & (curve["count"] >= FEWEST)]
        axes.plot(
            part["confidence"],
            part["accuracy"],
            color=str(colour),
            linestyle=dash,
            linewidth=1.6,
            marker=marker,
            markersize=5,
            label=f"{factor} {level_name(level)}",
        )
        axes.scatter(
            part["confidence"],
            part["accuracy"],
            s=20 + 200 * part["count"] / curve["count"].max(),
            marker=marker,
            color=str(colour),
            alpha=0.3,
            linewidths=0,
        )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid()
    axes.set_xlabel("Confidence")
    name_y(axes, "Share of correct predictions")
    axes.legend(loc="upper left", handlelength=2.6)
    return figure
