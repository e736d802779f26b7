"""(8) Calibration and reliability, where a technique's claim is about uncertainty."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from sota_bench.report.balance import Alike, alike
from sota_bench.report.parts import Block, Cell, Chart, Section, Table
from sota_bench.report.text import finite, level_text, number, signed
from sota_bench.report.theme import Ink, name_y, sheet, styles
from sota_bench.report.verdicts import of_response
from sota_bench.report.view import View, block_means, records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = re.compile(r"uncertain|calibrat|likelihood|probabilit|confiden", re.IGNORECASE)
FEWEST = 20
"""Images that a confidence bin must hold to be drawn: a share of fewer is mostly noise."""
MEASURES = {
    "accuracy": ("Accuracy, %", 2),
    "nll": ("NLL, nats", 3),
    "ece": ("ECE", 3),
    "brier": ("Brier", 3),
    "confidence": ("Mean confidence", 3),
}


def section(view: View) -> Section | None:
    """None where no varied technique claims anything about uncertainty: the claim is read from its card."""
    claims = [
        name
        for name, card in view.tables.cards.items()
        if len(view.factors.get(name, [])) > 1 and CLAIM.search(card.get("claim", ""))
    ]
    if not claims or view.done.empty:
        return None
    blocks: list[Block] = []
    for factor in claims:
        kept = alike(view, view.done, [factor], [factor])
        levels = [level for level in view.factors[factor] if (kept.rows[factor] == level).any()]
        curve = _curve(view, kept, factor)
        if not curve.empty:
            blocks.append(
                Chart(
                    f"reliability-{_safe(factor)}",
                    f"Reliability by level of {factor}",
                    _finding(kept, factor, levels),
                    partial(_draw, curve, factor, levels),
                    _bins(curve, factor, levels),
                    "How often the network is right, at each confidence that it gives. On the diagonal it is "
                    "calibrated; below it, too sure of itself. The marks' area is in proportion to the images in the "
                    f"bin; bins of fewer than {FEWEST} images are in the table only. {kept.words}",
                    width=560,
                )
            )
        blocks.append(_measures(kept, factor, levels))
    contrasts = _contrasts(view, claims)
    if contrasts is not None:
        blocks.append(contrasts)
    return Section(
        "calibration",
        "Calibration",
        "A technique whose claim is better uncertainty is judged by it: negative "
        "log-likelihood (NLL), expected calibration error (ECE) and confidence, on images that are not mixed.",
        blocks,
    )


def _safe(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def _curve(view: View, kept: Alike, factor: str) -> pd.DataFrame:
    bins = view.tables.reliability
    if bins.empty:
        return bins
    bins = bins.merge(kept.rows[["trial", factor]], on="trial", how="inner")
    bins = bins[bins["count"] > 0]
    weighted = bins.assign(c=bins["confidence"] * bins["count"], a=bins["accuracy"] * bins["count"])
    sums = weighted.groupby([factor, "low", "high"], sort=True)[["count", "c", "a"]].sum()
    return sums.assign(confidence=sums["c"] / sums["count"], accuracy=sums["a"] / sums["count"]).reset_index()


def _finding(kept: Alike, factor: str, levels: list[str]) -> str:
    means: Any = kept.rows.groupby(factor)[["ece", "confidence", "accuracy"]].mean()
    parts = []
    for level in levels:
        gap = float(means.loc[level, "confidence"] * 100 - means.loc[level, "accuracy"])
        sure = "about right" if abs(gap) < 1 else "too sure" if gap > 0 else "not sure enough"
        parts.append(
            f"{factor} {level_text(level)}: ECE {number(means.loc[level, 'ece'], 3)}, mean confidence "
            f"{number(abs(gap))} pp {'above' if gap > 0 else 'below'} accuracy ({sure})"
        )
    return "; ".join(parts) + "."


def _bins(curve: pd.DataFrame, factor: str, levels: list[str]) -> Table:
    rows = [
        [
            f"{factor} {level_text(level)}",
            f"{number(r.low, 2)} to {number(r.high, 2)}",
            f"{int(r.count_):,}",
            number(r.confidence, 3),
            number(r.accuracy, 3),
        ]
        for level in levels
        for r in records(curve[curve[factor] == level].rename(columns={"count": "count_"}))
    ]
    return Table(
        "Confidence bins, the trials of a level together",
        ["Level", "Confidence bin", "Images#", "Mean confidence#", "Accuracy#"],
        rows,
    )


def _measures(kept: Alike, factor: str, levels: list[str]) -> Table:
    means = {name: block_means(kept.rows, [factor], name) for name in MEASURES}
    rows = []
    for level in levels:
        row: list[Cell | str] = [f"{factor} {level_text(level)}"]
        for name, (_, digits) in MEASURES.items():
            m: Any = means[name].loc[level]
            row.append(
                Cell(
                    f"{number(m['mean'], digits)} \u00b1 {number(m['high'] - m['mean'], digits)}"
                    if finite(m["low"])
                    else number(m["mean"], digits),
                    m["mean"],
                )
            )
        rows.append(row)
    return Table(
        f"By level of {factor}. {kept.words} \u00b1: half-width of the 95% t interval over seeds",
        ["Level", *(f"{title}#" for title, _ in MEASURES.values())],
        rows,
    )


def _contrasts(view: View, claims: list[str]) -> Table | None:
    """Paired differences in NLL and ECE: the claims' own tests."""
    rows: list[list[Cell | str]] = []
    for response, title in (("nll", "NLL, nats"), ("ece", "ECE")):
        rows += [
            [
                f"{row['factor']} {level_text(row['level'])} vs {level_text(row['baseline'])}",
                title,
                signed(row["estimate"], _places(row)),
                f"{number(row['low'], _places(row))} to {number(row['high'], _places(row))}",
                Cell(*_direction(row)),
            ]
            for row in of_response(view, response)
            if row["factor"] in claims
        ]
    if not rows:
        return None
    return Table(
        "Differences within seeds; lower is better for both. No smallest effect of interest is declared for them, so "
        "how much matters is left to the reader; a direction is given where it is clear after Holm's correction",
        ["Contrast", "Measure", "Difference#", "95% interval#", "Direction"],
        rows,
    )


def _places(row: Mapping[str, Any]) -> int:
    """Decimals: three, and five where the interval is too narrow for three to show it."""
    return 5 if finite(row["low"]) and row["high"] - row["low"] < 0.005 else 3


def _direction(row: Mapping[str, Any]) -> tuple[str, None, str]:
    """Lower or higher, where that is clear; its tone."""
    if not finite(row["low"]):
        return "not estimable", None, ""
    if not finite(row["p_holm"]) or row["p_holm"] >= 0.05:
        return "not clear", None, ""
    return ("lower", None, "good") if row["estimate"] < 0 else ("higher", None, "bad")


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
            label=f"{factor} {level_text(level)}",
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
    axes.set_xlabel("Confidence given")
    name_y(axes, "Share that is right")
    axes.legend(loc="upper left", handlelength=2.6)
    return figure
