"""What an analysis answers: typed rows of contrasts, analysis of variance and screening, to and from JSON values.

A number that does not exist is None, never NaN, so that every record is valid JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sota_bench.stats.verdicts import CLEAR, HELPS, HURTS, NOT_ESTIMABLE, UNCLEAR, UNDETECTED

if TYPE_CHECKING:
    import pandas as pd

MAIN, SIMPLE, LINEAR, QUADRATIC, INTERACTION = "main", "simple", "trend-linear", "trend-quadratic", "interaction"
POOLED, PAIRED, MODERATED = "pooled", "paired", "moderated"
"""The errors: pooled over all cells; the contrast's own; its own, moderated by what the other cells show."""

Scope = Literal["seeds and images", "these images"]
SEEDS_AND_IMAGES: Scope = "seeds and images"
THESE_IMAGES: Scope = "these images"
"""What an interval covers: other seeds and other images like these, or other seeds on these images alone."""


@dataclass(frozen=True)
class Alias:
    """Another effect that an estimate carries, in a fractional design.

    Attributes:
        factors: one for a main effect, two or three for an interaction.
        share: how much of the estimate's direction it has, above 0 to 1: at 1 the two cannot be told apart.
    """

    factors: tuple[str, ...]
    share: float

    @property
    def name(self) -> str:
        """``mixup x flip``."""
        return " x ".join(self.factors)

    @property
    def strong(self) -> bool:
        """Whether the two effects cannot be told apart: an effect of the other one would show here as large, or half
        as large."""
        return self.share >= 0.5

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"factors": list(self.factors), "share": self.share}


@dataclass(frozen=True)
class ContrastRow:
    """One contrast under one error term.

    Attributes:
        kind: ``main``, ``simple``, ``trend-linear``, ``trend-quadratic`` or ``interaction``.
        family: the contrasts that share one Holm correction.
        factor, level, baseline: what is compared (a trend: from its smallest to its largest level).
        error: ``pooled``, ``paired`` or ``moderated``.
        estimate, se, df: the difference, its standard error and its degrees of freedom.
        low, high: its confidence interval at level ``1 - alpha``.
        scope: what ``se``, ``df`` and all that follows from them cover.
        se_seeds, df_seeds, low_seeds, high_seeds: the same over seeds alone, on these images.
        se_images, df_images: what the sample of images adds to the standard error, and its degrees of freedom; None
            where predictions are missing, or where images add nothing.
        p, p_holm: p-value, alone and after Holm's correction over the family.
        p_tost, p_tost_holm: the same for two one-sided tests against delta.
        mde, mde_family: minimum detectable effect with 80% power, alone and at the first step of Holm's correction.
        seeds_needed, seeds_needed_family: seeds in total that detect delta with 80% power, likewise.
        images_needed_family: where images limit a contrast more than seeds do, images in total that detect delta.
        seeds_beside_images: seeds in total that go with them.
        verdict: one of `sota_bench.stats.VERDICTS`. For an interaction "helps" says that the two levels do better
            together than their sum; it is shown as clear or unclear.
        reason: why the contrast is not estimable.
        n: seeds used; without blocks the mean number of runs per cell.
        seeds: each seed's own difference.
        part: the cells that were compared, where not all could be.
        headline: whether the verdict is read from this error.
        family_size: number of contrasts that Holm's correction counts, at least 1.
        demoted_by: factors that a main effect or trend clearly interacts with.
        diluted_by: levels averaged over at which nothing varies, such as "lr = 10".
        after_look: whether seeds were added after a look at the results.
        aliases: in a fractional design, the effects of up to three factors that the estimate carries beside its own.
        at_factor, at_level: for a simple effect, the factor that is held and its level.
        factor_b, level_b, baseline_b: for an interaction, the second factor.
        p_better, p_better_low, p_better_high: of a main or simple effect, the probability that the level does better
            than its baseline in one more run, with its interval; see `sota_bench.stats.superiority`.
        decided: at a look of a run that goes on until it is decided, whether the question is answered; else None.
        look: the look that the row stems from, 1 for the first: the one that decided it, or the last one.
        seeds_used: seeds of that look.
        words: the sentence of the row.
    """

    kind: str
    family: str
    factor: str
    level: str
    baseline: str
    error: str
    estimate: float | None
    se: float | None
    df: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    p_tost: float | None
    p_tost_holm: float | None
    mde: float | None
    seeds_needed: int | None
    mde_family: float | None
    seeds_needed_family: int | None
    verdict: str
    reason: str | None
    n: float
    seeds: Mapping[str, float | None]
    scope: Scope = THESE_IMAGES
    se_seeds: float | None = None
    df_seeds: float | None = None
    low_seeds: float | None = None
    high_seeds: float | None = None
    se_images: float | None = None
    df_images: float | None = None
    images_needed_family: int | None = None
    seeds_beside_images: int | None = None
    part: str = ""
    headline: bool = False
    family_size: int = 1
    demoted_by: tuple[str, ...] = ()
    diluted_by: tuple[str, ...] = ()
    after_look: bool = False
    aliases: tuple[Alias, ...] = ()
    at_factor: str | None = None
    at_level: str | None = None
    factor_b: str | None = None
    level_b: str | None = None
    baseline_b: str | None = None
    p_better: float | None = None
    p_better_low: float | None = None
    p_better_high: float | None = None
    decided: bool | None = None
    look: int | None = None
    seeds_used: int | None = None
    words: str = ""

    @property
    def flagged(self) -> bool:
        """Whether an interaction is clear."""
        return self.kind == INTERACTION and self.verdict in (HELPS, HURTS)

    @property
    def withheld(self) -> bool:
        """Whether there is an estimate with an interval, and no verdict on it, because of its aliases."""
        return self.verdict == NOT_ESTIMABLE and self.low is not None

    @property
    def demoted(self) -> bool:
        """Whether a main effect or trend is an average of effects that clearly differ."""
        return bool(self.demoted_by)

    @property
    def shown_verdict(self) -> str:
        """The verdict as it is shown: an interaction is neither gain nor loss, only clear or not."""
        if self.kind == INTERACTION and self.verdict != NOT_ESTIMABLE:
            return CLEAR if self.flagged else UNCLEAR
        return self.verdict

    @property
    def identity(self) -> tuple[str | None, ...]:
        """What is compared, whatever the error."""
        return (self.kind, self.factor, self.level, self.at_factor, self.at_level, self.factor_b, self.level_b)

    def __getitem__(self, column: str) -> Any:
        """A column of the table by its name, as in a dictionary: the interface from Python is fixed."""
        try:
            return getattr(self, column)
        except AttributeError:
            raise KeyError(column) from None

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON values; the second factor and ``flagged`` for interactions alone."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values |= {
            "seeds": dict(self.seeds),
            "demoted": self.demoted,
            "demoted_by": list(self.demoted_by),
            "diluted_by": list(self.diluted_by),
            "aliases": [alias.to_dict() for alias in self.aliases],
            "verdict": self.shown_verdict,
        }
        if self.kind == INTERACTION:
            return {**values, "flagged": self.flagged}
        return {name: value for name, value in values.items() if name not in ("factor_b", "level_b", "baseline_b")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ContrastRow:
        """The row that `to_dict` wrote; whether an interaction helps or hurts is read from its estimate."""
        names = {field.name for field in dataclasses.fields(cls)}
        own = {name: value for name, value in values.items() if name in names}
        own |= {"demoted_by": tuple(values["demoted_by"]), "diluted_by": tuple(values["diluted_by"])}
        own["aliases"] = tuple(Alias(tuple(alias["factors"]), alias["share"]) for alias in values["aliases"])
        if values["verdict"] in (CLEAR, UNCLEAR):
            together = HELPS if values["estimate"] > 0 else HURTS
            own["verdict"] = together if values["flagged"] else UNDETECTED
        return cls(**own)


@dataclass(frozen=True)
class AnovaRow:
    """One term of the analysis of variance; ``stratum`` is "between runs" or "within run"."""

    term: str
    df: int
    df_error: int
    sum_sq: float | None
    F: float | None
    p: float | None
    stratum: str


@dataclass(frozen=True)
class ScreenedStratum:
    """Lenth's margins for the effects of one stratum; None where it has fewer than three effects."""

    stratum: str
    effects: int
    pse: float | None
    margin: float | None
    simultaneous_margin: float | None


@dataclass(frozen=True)
class ScreenedEffect:
    """One effect of an unreplicated factorial.

    Attributes:
        term: the factors, joined by colons.
        estimate: difference of two half-table means.
        quantile: place on its stratum's half-normal plot.
        stratum: between runs, between runs that share a part, or within run.
        outside: ``simultaneous margin``, ``margin``, ``inside`` or ``not screened``.
    """

    term: str
    estimate: float
    quantile: float
    stratum: str
    outside: str


@dataclass(frozen=True)
class Screening:
    """Lenth's screening of a table with one seed.

    Attributes:
        strata: margins by stratum.
        effects: all effects.
        part: which factors are held at their baseline, so that the table is complete; "" for none.
    """

    strata: tuple[ScreenedStratum, ...]
    effects: tuple[ScreenedEffect, ...]
    part: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with the first stratum's margins on top."""
        values = dataclasses.asdict(self)
        first = values["strata"][0]
        return {**{name: first[name] for name in ("pse", "margin", "simultaneous_margin")}, **values}


@dataclass(frozen=True)
class Overview:
    """What was analysed.

    Attributes:
        response: the column that was explained.
        factors: levels by factor, the baseline first.
        block: the column that pairs trials, or None.
        within: factors whose levels are evaluations of one run.
        delta: smallest effect of interest, in the units of the response.
        alpha: level of intervals and of each family.
        higher_is_better: whether a positive difference helps.
        unit: unit of the response in words, "" for none.
        seeds: labels of the blocks.
        added_after_look: those added after a look at the results.
        cells: number of cells with a result.
        rows: rows of the table by status.
        images: how many images each accuracy was measured on, or None where nobody said.
        fractional: whether the cells are a fractional factorial design.
        sources: the factor whose levels are data sets, or None.
        scope: what intervals cover; "these images" without predictions.
        looks: seeds at each of the looks that were planned, for a run that goes on until it is decided.
    """

    response: str
    factors: Mapping[str, list[str]]
    block: str | None = "seed"
    within: tuple[str, ...] = ()
    delta: float | None = None
    alpha: float = 0.05
    higher_is_better: bool = True
    unit: str = ""
    seeds: tuple[str | int, ...] = ()
    added_after_look: tuple[str, ...] = ()
    cells: int = 1
    rows: Mapping[str, int] = dataclasses.field(default_factory=dict)
    images: int | None = None
    fractional: bool = False
    sources: str | None = None
    scope: Scope = THESE_IMAGES
    looks: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Analysis:
    """The answer to a table.

    Attributes:
        overview: what was analysed.
        anova: one row per term.
        contrasts: one row per comparison and error term.
        interactions: differences of differences, likewise.
        screening: Lenth's screening where there is one seed, else None.
        warnings: sentences to read with the verdicts.
        notes: sentences for the details: they change no verdict.
    """

    overview: Overview
    anova: tuple[AnovaRow, ...] = ()
    contrasts: tuple[ContrastRow, ...] = ()
    interactions: tuple[ContrastRow, ...] = ()
    screening: Screening | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "about": self.overview.to_dict(),
            "anova": [dataclasses.asdict(row) for row in self.anova],
            "contrasts": [row.to_dict() for row in self.contrasts],
            "interactions": [row.to_dict() for row in self.interactions],
            "screening": self.screening.to_dict() if self.screening else None,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Analysis:
        """The analysis that `to_dict` wrote."""
        overview, screening = dict(values["about"]), values["screening"]
        for name in ("within", "seeds", "added_after_look", "looks"):
            overview[name] = tuple(overview.get(name, ()))
        return cls(
            Overview(**overview),
            tuple(AnovaRow(**row) for row in values["anova"]),
            tuple(ContrastRow.from_dict(row) for row in values["contrasts"]),
            tuple(ContrastRow.from_dict(row) for row in values["interactions"]),
            Screening(
                tuple(ScreenedStratum(**row) for row in screening["strata"]),
                tuple(ScreenedEffect(**row) for row in screening["effects"]),
                screening["part"],
            )
            if screening
            else None,
            tuple(values["warnings"]),
            tuple(values["notes"]),
        )

    def to_json(self, indent: int | None = 2) -> str:
        """The same as a JSON document."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False, ensure_ascii=False)

    def headlines(self) -> list[ContrastRow]:
        """The main contrasts, one row each, under the error that its verdict is read from."""
        return [row for row in self.contrasts if row.kind == MAIN and row.headline]

    def table(self) -> pd.DataFrame:
        """Contrasts, then interactions, one row each, with per-seed differences as JSON text."""
        import pandas as pd

        rows = [
            {
                **row.to_dict(),
                "seeds": json.dumps(dict(row.seeds)),
                "demoted_by": ", ".join(row.demoted_by),
                "diluted_by": "; ".join(row.diluted_by),
                "aliases": "; ".join(alias.name for alias in row.aliases),
            }
            for row in [*self.contrasts, *self.interactions]
        ]
        return pd.DataFrame(rows)
