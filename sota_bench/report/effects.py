"""Contrasts as the page shows them: their sentences are those of ``stats.sentences``, their colours and marks are made
here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sota_bench.errors import UserError
from sota_bench.report.parts import VerdictLine
from sota_bench.report.text import MINUS, finite
from sota_bench.report.view import View
from sota_bench.responses import Response, response_named
from sota_bench.stats import Analysis, analyze, images, sentences, verdicts, wording
from sota_bench.stats.result import MAIN, SIMPLE, ContrastRow, Overview

LOOKS = {
    verdicts.HELPS: ("good", "\u25b2"),
    verdicts.HURTS: ("bad", "\u25bc"),
    verdicts.CURVED: ("flat", "\u25e0"),
    verdicts.NEGLIGIBLE: ("flat", "\u2248"),
    verdicts.EQUIVALENT: ("flat", "\u2248"),
    verdicts.UNDETECTED: ("unknown", "?"),
    verdicts.NOT_ESTIMABLE: ("none", "\u2013"),
    verdicts.CLEAR: ("flat", "\u00d7"),
    verdicts.UNCLEAR: ("unknown", "?"),
}
"""Verdict -> tone and mark, so that colour is not alone."""

HEADLINE = "headline"


@dataclass(frozen=True)
class Effect:
    """One contrast with what shows it.

    Attributes:
        row: the contrast.
        overview: what was analysed: unit, smallest effect of interest, level.
    """

    row: ContrastRow
    overview: Overview

    @property
    def tone(self) -> str:
        """How its verdict is coloured: good, bad, flat, unknown, none."""
        return LOOKS[self.row.shown_verdict][0]

    @property
    def mark(self) -> str:
        """The sign of its verdict."""
        return LOOKS[self.row.shown_verdict][1]

    @property
    def name(self) -> str:
        """What is compared: ``mixup 0.2 vs 0.0``."""
        return typeset(sentences.comparison(self.row))

    @property
    def head(self) -> str:
        """The verdict in a few words: ``Helps``."""
        text = typeset(sentences.head(self.row, self.overview))
        return text[0].upper() + text[1:]

    @property
    def sentence(self) -> str:
        """The verdict as one sentence that stands alone."""
        return typeset(sentences.sentence(self.row, self.overview))

    @property
    def short_sentence(self) -> str:
        """The same for a terminal, without the probability of one more run, which the report gives."""
        return typeset(sentences.sentence(self.row, self.overview, chance=False))

    @property
    def size(self) -> str:
        """The estimate for the eye: ``+4.0 pp``."""
        if self.row.estimate is None:
            return ""
        places = wording.decimals(self.row, self.overview.unit)
        return typeset(f"{wording.number(self.row.estimate, places, sign=True)} {self.overview.unit}".strip())

    @property
    def unit(self) -> str:
        """The unit behind a column's name: ``, pp``; "" where there is none."""
        return f", {self.overview.unit}" if self.overview.unit else ""

    @property
    def response(self) -> Response:
        """What it is an effect on."""
        return response_named(self.overview.response)

    @property
    def read_at(self) -> set[str]:
        """The factors at whose levels it should be read, because its average is one of unlike effects."""
        return {*self.row.demoted_by, *(level.partition(" = ")[0] for level in self.row.diluted_by)}

    @property
    def aliases(self) -> str:
        """The other effects that it carries in a fractional design."""
        return typeset(sentences.alias_list(self.row.aliases))

    @property
    def by_seed(self) -> list[float]:
        """Each seed's own difference."""
        return [float(value) for value in self.row.seeds.values() if value is not None]

    def line(self, below: Sequence[str] = ()) -> VerdictLine:
        """The verdict as a line of the page."""
        details = typeset(sentences.details(self.row, self.overview))
        return VerdictLine(self.tone, self.mark, self.name, self.head, details, self.size, below)


def typeset(text: str) -> str:
    """A sentence with true minus and times signs."""
    return re.sub(r"(?<![\w.)])-(?=\d)", MINUS, text).replace(" x ", " \u00d7 ")


def effects(view: View, *, kind: str = MAIN, error: str = HEADLINE, analysis: Analysis | None = None) -> list[Effect]:
    """The contrasts of one kind, in the order of the grid's factors and levels.

    Args:
        view: the run.
        analysis: of one of its responses; of the one that ranks the cells by default.
        kind: main, simple, trend-linear or trend-quadratic.
        error: ``pooled``, ``paired``, or ``headline``: the one that the verdict is read from.
    """
    order = {
        (factor, level): (i, j)
        for i, (factor, levels) in enumerate(view.factors.items())
        for j, level in enumerate(levels)
    }
    analysis = analysis or view.analysis
    rows = [
        row
        for row in analysis.contrasts
        if row.kind == kind and (row.headline if error == HEADLINE else row.error == error)
    ]
    rows.sort(key=lambda row: order.get((row.factor, str(row.level)), (len(order), 0)))
    return [Effect(row, analysis.overview) for row in rows]


def level_by_level(view: View, effect: Effect, analysis: Analysis | None = None) -> list[Effect]:
    """The simple effects that a main effect is an average of, where it should be read level by level.

    Args:
        view: the run.
        effect: the main effect.
        analysis: that it is from; that of the response that ranks the cells by default.
    """
    return [
        simple
        for simple in effects(view, kind=SIMPLE, analysis=analysis)
        if (simple.row.factor, simple.row.level) == (effect.row.factor, effect.row.level)
        and simple.row.at_factor in effect.read_at
    ]


def interactions(view: View) -> list[Effect]:
    """The differences of differences that could be estimated, one per pair of levels."""
    rows = [row for row in view.analysis.interactions if row.headline and finite(row.low)]
    return [Effect(row, view.analysis.overview) for row in rows]


def effects_on(view: View, response: str, unit: str) -> list[Effect]:
    """The main contrasts of another column of the trials where lower is better, such as NLL.

    Returns:
        None of them where the column does not vary or cannot be compared.
    """
    factors = {name: levels for name, levels in view.factors.items() if view.done[name].nunique() > 1}
    if not factors or view.done[response].nunique() < 2:
        return []
    try:
        analysis = analyze(
            view.done,
            response=response,
            factors=factors,
            within=view.within,
            shares="shared_with",
            judged="judged_on",
            higher_is_better=False,
            simple="none",
            allow_missing=True,
            unit=unit,
        )
    except UserError:
        return []
    return [Effect(row, analysis.overview) for row in analysis.headlines()]


def changed_images(view: View, effect: Effect) -> list[tuple[str, images.ChangedImages]]:
    """Each seed's images that only one of two predictions of the same training has right, with McNemar's test: for a
    factor that varies inside a training, with all other factors at their baseline. Empty for other factors."""
    if effect.row.factor not in view.within:
        return []
    pairs, stored = _pairs(view, effect).reset_index(), view.tables.predictions
    for name, levels in view.factors.items():
        if name != effect.row.factor:
            pairs = pairs[pairs[name] == levels[0]]
    return [
        (str(row["seed"]), images.changed_images(stored[row["a"]].correct, stored[row["b"]].correct))
        for _, row in pairs.iterrows()
    ]


def _pairs(view: View, effect: Effect) -> pd.DataFrame:
    """Trials ``a`` at the baseline and ``b`` at the level that agree in seed and all other factors (the index)."""
    factor, levels = effect.row.factor, (effect.row.baseline, effect.row.level)
    others = ["seed", *(name for name in view.factors if name != factor)]
    stored = view.comparable[view.comparable["trial"].isin(list(view.tables.predictions))]
    a, b = (stored[stored[factor] == str(level)].set_index(others)["trial"] for level in levels)
    return pd.DataFrame(a.to_frame("a").join(b.rename("b"), how="inner"))
