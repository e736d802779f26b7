"""The only file that knows ``sota_bench.stats``: an ``Analysis`` becomes effects, and effects become sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sota_bench.report.text import finite, level_text, number, plural, signed
from sota_bench.report.view import View

HEADS = {
    "helps": ("good", "\u25b2", "Helps"),
    "hurts": ("bad", "\u25bc", "Hurts"),
    "curved": ("flat", "\u25e0", "Curved"),
    "real but negligible": ("flat", "\u2248", "Real but negligible"),
    "no effect larger than delta": ("flat", "\u2248", "No effect that matters"),
    "no detectable effect": ("unknown", "?", "No detectable effect"),
    "not estimable": ("none", "\u2013", "Not estimable"),
}


@dataclass(frozen=True)
class Effect:
    """One contrast, as the page shows it. Effects are in percentage points of accuracy unless a section says else.

    Attributes:
        row: the row of ``Analysis.contrasts`` it comes from.
        tone, sign, head: how its verdict is coloured, marked and named.
        sentence: the verdict in one sentence with its numbers.
    """

    row: Mapping[str, Any]
    tone: str
    sign: str
    head: str
    sentence: str

    def __getattr__(self, name: str) -> Any:
        try:
            return self.row[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def name(self) -> str:
        """``mixup 0.2 against 0.0``."""
        return f"{self.row['factor']} {level_text(self.row['level'])} against {level_text(self.row['baseline'])}"

    @property
    def dots(self) -> list[tuple[str, float]]:
        """Each seed's own difference: (seed, value)."""
        return seed_dots(self.row.get("seeds"))


def seed_dots(seeds: Any) -> list[tuple[str, float]]:
    """Per-seed differences as pairs, from a mapping or a plain list; missing ones are left out."""
    if not seeds:
        return []
    pairs = seeds.items() if isinstance(seeds, Mapping) else enumerate(seeds)
    return [(str(seed), float(value)) for seed, value in pairs if value is not None and math.isfinite(value)]


def effects(view: View, *, kind: str = "main", error: str = "pooled") -> list[Effect]:
    """The contrasts of one kind with one error term, in the order of the grid's factors and levels."""
    order = {(factor, level): (i, j) for i, (factor, levels) in enumerate(view.factors.items())
             for j, level in enumerate(levels)}
    rows = [row for row in view.analysis.contrasts if row.get("kind", "main") == kind and row["error"] == error]
    rows.sort(key=lambda row: order.get((row["factor"], str(row["level"])), (99, 99)))
    return [as_effect(row, view.delta) for row in rows]


def as_effect(row: Mapping[str, Any], delta: float | None) -> Effect:
    """Dress one contrast for the page."""
    tone, sign, head = HEADS.get(str(row["verdict"]), HEADS["not estimable"])
    if row.get("demoted") and tone in ("good", "bad"):
        head += " on average"
    return Effect(row, tone, sign, head, sentence(row, delta))


def interval(row: Mapping[str, Any], unit: str = " pp", digits: int = 1) -> str:
    """``+4.0 pp, 95% interval 3.6 to 4.4``."""
    return (f"{signed(row['estimate'], digits)}{unit}, 95% interval {number(row['low'], digits)} to "
            f"{number(row['high'], digits)}")


def sentence(row: Mapping[str, Any], delta: float | None) -> str:
    """The verdict of one contrast in one plain sentence that carries its numbers."""
    factor, level, baseline = row["factor"], level_text(row["level"]), level_text(row["baseline"])
    start, verdict = f"{factor} {level} vs {baseline}", str(row["verdict"])
    if verdict == "not estimable" or not finite(row.get("low")):
        reason = row.get("reason") or row.get("words") or "too few seeds for an interval"
        return f"{start}: not estimable ({str(reason).rstrip('.')})."
    if verdict == "helps":
        text = f"{start}: helps ({interval(row)})."
    elif verdict == "hurts":
        text = f"{start}: hurts ({interval(row)})."
    elif verdict == "real but negligible":
        text = f"{start}: real but negligible ({interval(row)}), smaller than the {number(delta)} pp that matter."
    elif verdict == "no effect larger than delta":
        text = f"{start}: no effect larger than {number(delta)} pp ({interval(row)})."
    elif verdict == "curved":
        text = f"{start}: the effect bends over the levels ({interval(row)})."
    else:
        text = f"{start}: no detectable effect ({interval(row)}); {_reach(row, delta)}."
    if row.get("demoted"):
        text += f" {_demotion(row)}"
    return text


def _reach(row: Mapping[str, Any], delta: float | None) -> str:
    text = f"this run could detect {number(row['mde'])} pp" if finite(row.get("mde")) else "its reach is unknown"
    more = (row.get("seeds_needed") or 0) - (row.get("n") or 0)
    if finite(delta) and more > 0:
        text += f"; about {plural(int(more), 'more seed')} for {number(delta)} pp"
    return text


def _demotion(row: Mapping[str, Any]) -> str:
    reason = row["demoted"]
    if isinstance(reason, str):
        return reason if reason.endswith(".") else f"{reason}."
    if isinstance(reason, (list, tuple)):
        return f"It depends on {' and '.join(map(str, reason))}: read the interaction first."
    return "It depends on another factor: read the interaction first."


def best_cells(view: View) -> list[str]:
    """Cells that cannot be told apart from the best one, the best first."""
    from sota_bench.stats import best_set

    return [str(cell) for cell in best_set(view.done, "accuracy", "cell", "seed", 0.05)]


def pareto_cells(view: View) -> list[str]:
    """Cells that no other cell beats in both mean minutes and mean accuracy, from the quickest to the slowest."""
    from sota_bench.stats import pareto

    cells = view.cells.dropna(subset=["minutes", "accuracy"])
    front = cells[list(pareto(cells["minutes"].to_numpy(), cells["accuracy"].to_numpy()))]
    return [str(cell) for cell in front.sort_values("minutes").index]


def detectable(row: Mapping[str, Any], seeds: Iterable[int]) -> list[float]:
    """The minimum detectable effect (80% power, two-sided 5%) that a contrast would have with other numbers of seeds.

    Args:
        row: the contrast, with its ``se``, ``df`` and number of seeds ``n``.
        seeds: the numbers of seeds, each at least 2.
    """
    from sota_bench.stats.power import minimum_detectable_effect

    now = int(row["n"])
    return [
        minimum_detectable_effect(row["se"] * math.sqrt(now / total), row["df"] * (total - 1) / (now - 1), 0.05)
        for total in seeds
    ]


def analyze_other(view: View, response: str) -> Any:
    """The same analysis for another column of the trials where lower is better, such as NLL; None where it cannot be."""
    from sota_bench.stats import analyze

    return analyze(view.tables.trials, response=response, factors=view.factors, block="seed", within=view.within,
                   higher_is_better=False)


def image_interval(view: View, level_cells: list[str], baseline_cells: list[str]) -> Any:
    """The paired uncertainty over images between two sets of trials; see ``sota_bench.stats.image_uncertainty``."""
    import numpy as np

    from sota_bench.stats import image_uncertainty

    stack = [np.array([view.tables.predictions[trial] for trial in trials]) for trials in (level_cells, baseline_cells)]
    return image_uncertainty(*stack)


def interaction_rows(view: View) -> pd.DataFrame:
    """``Analysis.interactions`` as a frame, empty where the grid has one factor."""
    return pd.DataFrame([dict(row) for row in view.analysis.interactions])
