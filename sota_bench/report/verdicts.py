"""The only file that knows ``sota_bench.stats``: an ``Analysis`` becomes effects, and effects become sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sota_bench.report.text import finite, join, level_text, number, plural, signed
from sota_bench.report.view import View

if TYPE_CHECKING:
    from sota_bench.stats.images import ImageInterval

ALPHA = 0.05
HEADS = {
    "helps": ("good", "\u25b2", "Helps"),
    "hurts": ("bad", "\u25bc", "Hurts"),
    "curved": ("flat", "\u25e0", "Curved"),
    "real but negligible": ("flat", "\u2248", "Real but negligible"),
    "no effect larger than delta": ("flat", "\u2248", "No effect larger than"),
    "no detectable effect": ("unknown", "?", "No detectable effect"),
    "not estimable": ("none", "\u2013", "Not estimable"),
    "clear interaction": ("flat", "\u00d7", "Clear interaction"),
    "no clear interaction": ("unknown", "?", "No clear interaction"),
}


@dataclass(frozen=True)
class Effect:
    """One contrast, as the page shows it, in percentage points of accuracy unless a section says else.

    Attributes:
        row: the row of ``Analysis.contrasts`` or ``Analysis.interactions``; its columns can be read as attributes.
        tone: how its verdict is coloured: good, bad, flat, unknown, none.
        sign: the mark of its verdict, so that colour is not alone.
        head: its verdict in a few words.
        rest: what follows it in the sentence: its numbers, and what limits it.
    """

    row: Any
    tone: str
    sign: str
    head: str
    rest: str

    def __getattr__(self, name: str) -> Any:
        try:
            return self.row[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def name(self) -> str:
        """``mixup 0.2 vs 0.0``; a simple effect says where; a trend says from where to where."""
        row = self.row
        low, high = level_text(row["baseline"]), level_text(row["level"])
        if row["kind"].startswith("trend"):
            return f"{row['factor']}, {row['kind'].removeprefix('trend-')} trend {low} to {high}"
        name = f"{row['factor']} {high} vs {low}"
        return f"{name}, at {row['at_factor']} {level_text(row['at_level'])}" if row["at_factor"] else name

    @property
    def sentence(self) -> str:
        """The verdict as one sentence that stands alone."""
        return f"{self.name}: {self.head[0].lower()}{self.head[1:]}{self.rest}"

    @property
    def apart(self) -> set[str]:
        """The factors level by level of which it should be read, because its average is one of unlike things."""
        return {*self.row["demoted_by"], *(level.partition(" = ")[0] for level in self.row["diluted_by"])}

    @property
    def number(self) -> str:
        """The estimate for the eye: ``+4.0 pp``."""
        return f"{signed(self.row['estimate'], digits(self.row))} pp" if finite(self.row["estimate"]) else ""

    @property
    def dots(self) -> list[tuple[str, float]]:
        """Each seed's own difference: (seed, value)."""
        return [(str(seed), float(value)) for seed, value in self.row["seeds"].items() if finite(value)]


def effects(view: View, *, kind: str = "main", error: str = "headline") -> list[Effect]:
    """The contrasts of one kind, in the order of the grid's factors and levels.

    Args:
        view: the run.
        kind: main, simple, trend-linear or trend-quadratic.
        error: ``pooled``, ``paired``, or ``headline``: the one that the verdict is read from.
    """
    order = {
        (factor, level): (i, j)
        for i, (factor, levels) in enumerate(view.factors.items())
        for j, level in enumerate(levels)
    }
    rows = [
        row
        for row in view.analysis.contrasts
        if row["kind"] == kind and (row["headline"] if error == "headline" else row["error"] == error)
    ]
    rows.sort(key=lambda row: order.get((row["factor"], str(row["level"])), (len(order), 0)))
    return [as_effect(row, view.delta) for row in rows]


def level_by_level(view: View, effect: Effect) -> list[Effect]:
    """The simple effects that a main effect is an average of, where it should be read level by level."""
    return [
        one
        for one in effects(view, kind="simple")
        if (one.factor, one.level) == (effect.factor, effect.level) and one.at_factor in effect.apart
    ]


def interactions(view: View) -> list[Effect]:
    """The differences of differences that could be estimated, one per pair of levels."""
    return [as_effect(row, view.delta) for row in view.analysis.interactions if row["headline"] and finite(row["low"])]


def as_effect(row: Any, delta: float | None) -> Effect:
    """Dress one contrast for the page."""
    tone, sign, head = HEADS[str(row["verdict"])]
    if (row["demoted"] or row["diluted_by"]) and tone in ("good", "bad"):
        head += " on average"
    if row["verdict"] == "no effect larger than delta":
        head += f" {number(delta)} pp"
    return Effect(row, tone, sign, head, _rest(row, delta))


def digits(row: Any) -> int:
    """Decimals of a percentage point: what the precision supports, and enough to see on which side of zero a "
    "limit lies."""
    if not finite(row["low"]):
        return 1
    nearest = min(abs(row["low"]), abs(row["high"]))
    return max(
        2 if row["high"] - row["low"] < 0.5 else 1, next((places for places in (1, 2) if round(nearest, places)), 3)
    )


def interval(row: Any) -> str:
    """``+4.0 pp, 95% interval 3.6 to 4.4``."""
    places = digits(row)
    low, high = number(row["low"], places), number(row["high"], places)
    return f"{signed(row['estimate'], places)} pp, 95% interval {low} to {high}"


def _rest(row: Any, delta: float | None) -> str:
    verdict = str(row["verdict"])
    if verdict == "not estimable":
        return f": {row['reason']}."
    text = f" ({interval(row)})"
    if verdict == "no detectable effect":
        text += f"; {_reach(row, delta)}"
    elif verdict == "real but negligible":
        text += f": smaller than the {number(delta)} pp that matter"
    text += "."
    if row["p"] < 0.05 <= row["p_holm"]:
        text += " The interval leaves out 0, but not after Holm's correction."
    if row["part"]:
        text += f" Compared only where both exist ({row['part']})."
    flat = {level.partition(" = ")[0] for level in row["diluted_by"]}
    partners = [name for name in row["demoted_by"] if name not in flat]
    if partners:
        text += f" It interacts with {join(partners)}: read it level by level."
    if row["diluted_by"]:
        text += f" An average with {join(list(row['diluted_by']))}, where nothing varies: read it at the other levels."
    if row["after_look"]:
        text += " Seeds were added after a look."
    return text


def _reach(row: Any, delta: float | None) -> str:
    """What the run could have seen as one of its family of contrasts, and what the smallest effect would take."""
    if not finite(row["mde_family"]):
        return "its reach is unknown"
    text = f"this run could detect {number(row['mde_family'], digits(row))} pp"
    if delta is None:
        return text
    needed = row["seeds_needed_family"]
    if needed is None:
        return f"{text}; more than ten thousand seeds for {number(delta)} pp"
    more = math.ceil(needed - row["n"])
    return f"{text}; about {plural(more, 'more seed')} for {number(delta)} pp" if more > 0 else text


def best_cells(view: View) -> list[str]:
    """Cells that cannot be told apart from the best of those that are judged as the baseline is, the best first."""
    from sota_bench.stats import best_set

    found = best_set(view.alike, response="accuracy", cell="cell", within=view.within)
    return [str(cell) for cell in found.loc[found["in_best_set"], "cell"]]


def pareto_cells(view: View) -> list[str]:
    """Cells that no other cell beats in both mean minutes and mean accuracy, of those that are judged as the baseline
    is, from the quickest to the slowest."""
    from sota_bench.stats import pareto

    cells = view.cells[view.cells.index.isin(view.alike["cell"])]
    front = cells[pareto(cells["minutes"], cells["accuracy"])]
    return [str(cell) for cell in front.sort_values("minutes", kind="stable").index]


def family_size(view: View, row: Any) -> int:
    """How many contrasts share a row's family: those that Holm's correction counts, so at least 1."""
    from sota_bench.stats.power import minimum_detectable_effect

    same = [
        other
        for other in view.analysis.contrasts
        if other["family"] == row["family"] and other["kind"] == row["kind"] and other["p"] is not None
    ]
    sizes = {sum(other["error"] == row["error"] for other in same), sum(other["headline"] for other in same)}
    # The row itself says which count it was judged with.
    return min(
        (size for size in sizes if size),
        key=lambda size: abs(minimum_detectable_effect(row["se"], row["df"], ALPHA / size) - row["mde_family"]),
        default=1,
    )


def detectable(row: Any, seeds: Iterable[int], family: int = 1) -> list[float]:
    """The minimum detectable effect (80% power, two-sided 5% over the family) of one contrast by number of seeds.

    The standard error shrinks with the root of the seeds, and the degrees of freedom grow in proportion to seeds - 1.

    Args:
        row: the contrast, with its ``se``, ``df`` and number of seeds ``n`` (at least 2).
        seeds: the numbers of seeds, each at least 2.
        family: the number of contrasts that share the 5%: the first step of Holm's correction.
    """
    from sota_bench.stats.power import minimum_detectable_effect

    now = int(row["n"])
    return [
        minimum_detectable_effect(
            row["se"] * math.sqrt(now / total), row["df"] * (total - 1) / (now - 1), ALPHA / family
        )
        for total in seeds
    ]


def of_response(view: View, response: str) -> list[Any]:
    """The main contrasts of another column of the trials where lower is better, such as NLL; none where they
    cannot be compared."""
    from sota_bench.errors import UserError
    from sota_bench.stats import analyze

    factors = {name: levels for name, levels in view.factors.items() if view.done[name].nunique() > 1}
    if not factors or view.done[response].nunique() < 2:
        return []
    try:
        found = analyze(
            view.done,
            response=response,
            factors=factors,
            within=view.within,
            shares="shared_with" if "shared_with" in view.done else None,
            judged="judged_on",
            higher_is_better=False,
            simple="none",
            allow_missing=True,
        )
    except UserError:
        return []
    return list(found.headlines())


def over_images(view: View, effect: Effect) -> tuple[float, float] | None:
    """The 95% interval of a main effect over images, from the runs that differ in its factor alone and are judged on
    the baseline's images.

    Returns:
        Low and high in percentage points; None where no such pair has stored predictions.
    """
    from sota_bench.stats import image_uncertainty

    pairs = _pairs(view, effect)
    if pairs.empty:
        return None
    a, b = (np.array([view.tables.predictions[trial] for trial in pairs[side]], dtype=bool) for side in ("a", "b"))
    found = image_uncertainty(a, b)
    return found.low, found.high


def changed_images(view: View, effect: Effect) -> list[tuple[str, ImageInterval]]:
    """Each seed's images that only one of two predictions of the same training has right, with McNemar's test: for a
    factor that varies inside a training, with all other factors at their baseline. Empty for other factors."""
    from sota_bench.stats import image_uncertainty

    if effect.factor not in view.within:
        return []
    pairs, correct = _pairs(view, effect).reset_index(), view.tables.predictions
    for name, levels in view.factors.items():
        if name != effect.factor:
            pairs = pairs[pairs[name] == levels[0]]
    return [(str(row["seed"]), image_uncertainty(correct[row["a"]], correct[row["b"]])) for _, row in pairs.iterrows()]


def _pairs(view: View, effect: Effect) -> pd.DataFrame:
    """Trials ``a`` at the baseline and ``b`` at the level that are alike in seed and all other factors (the index)."""
    others = ["seed", *(name for name in view.factors if name != effect.factor)]
    kept = view.alike[view.alike["trial"].isin(list(view.tables.predictions))]
    sides = [
        kept[kept[effect.factor] == str(level)].set_index(others)["trial"] for level in (effect.baseline, effect.level)
    ]
    pairs: pd.DataFrame = sides[0].to_frame("a").join(sides[1].rename("b"), how="inner")
    return pairs
