"""From contrasts to rows: estimates, verdicts within each family, prospects, and what limits how a row is read."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats import aliases, power, sentences, split_plot, verdicts, warning_sentences
from sota_bench.stats.contrasts import (
    Contrast,
    interaction_contrasts,
    main_contrasts,
    simple_contrasts,
    trend_contrasts,
)
from sota_bench.stats.crossed import ImageError, with_images
from sota_bench.stats.design import Design
from sota_bench.stats.estimation import Estimates, estimate, over_images
from sota_bench.stats.kernels import Array, Estimate
from sota_bench.stats.result import (
    INTERACTION,
    LINEAR,
    MAIN,
    MODERATED,
    POOLED,
    QUADRATIC,
    SEEDS_AND_IMAGES,
    SIMPLE,
    THESE_IMAGES,
    ContrastRow,
    Overview,
)
from sota_bench.stats.sequential import Look, Settled
from sota_bench.stats.superiority import Superiority, spread_of_one_run, superiority

FAMILY_OF_KIND = {LINEAR: "trends", QUADRATIC: "trends", INTERACTION: "interactions"}


@dataclass(frozen=True)
class Declared:
    """What the user declared before looking, beside the overview: see `analyze`."""

    family_of: Mapping[str, str]
    simple: Literal["flagged", "all", "none"]
    look: Look | None = None
    decided: tuple[ContrastRow, ...] = ()


class Rows(NamedTuple):
    """The rows of contrasts and interactions, warnings about them, and notes for the details."""

    contrasts: tuple[ContrastRow, ...]
    interactions: tuple[ContrastRow, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def all_rows(design: Design, overview: Overview, declared: Declared) -> Rows:
    """Every row of the analysis."""
    mains = [row for row in (*main_contrasts(design), *trend_contrasts(design)) if row.factor != overview.sources]
    contrasts = _at_look(_judged(design, overview, declared, mains), declared)
    every = interaction_contrasts(design)
    possible = [contrast for contrast in every if contrast.possible]
    impossible = [contrast for contrast in every if not (contrast.possible or contrast.apart)]
    interactions = _judged(design, overview, declared, possible)
    clear = aliases.clear_effects(interactions)
    interactions, contrasts = (aliases.without_aliased_claims(rows, clear) for rows in (interactions, contrasts))
    flagged = [row for row in interactions if row.headline and row.flagged]
    contrasts = _demoted(contrasts, flagged)
    names = [factor.name for factor in design.factors]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if declared.simple != "none"]
    if declared.simple == "flagged":
        pairs = [pair for pair in pairs if pair in {(row.factor, row.factor_b) for row in flagged}]
    held = [contrast for a, b in pairs for contrast in simple_contrasts(design, a, b) if contrast.possible]
    held += _on_each_source(design, overview.sources, {(contrast.factor, contrast.at) for contrast in held})
    if declared.simple != "none":
        held += _beside_flat(design, {(contrast.factor, contrast.at) for contrast in held})
    contrasts += aliases.without_aliased_claims(_judged(design, overview, declared, held), clear)
    contrasts, interactions = (
        [replace(row, words=sentences.sentence(row, overview)) for row in rows] for rows in (contrasts, interactions)
    )
    return Rows(
        tuple(contrasts),
        tuple(interactions),
        (*_warnings(impossible, flagged, overview.sources), *aliases.alias_warnings(interactions, contrasts)),
        tuple(_disagreements([*contrasts, *interactions])),
    )


def main_rows(design: Design, overview: Overview) -> list[ContrastRow]:
    """The main effects alone, each with the error that its verdict is read from."""
    rows = _judged(design, overview, Declared({}, "none"), main_contrasts(design))
    return [row for row in rows if row.headline]


def _on_each_source(
    design: Design, sources: str | None, listed: Collection[tuple[str, tuple[str, str] | None]]
) -> list[Contrast]:
    """The effects of all factors on each data set, which are always given."""
    return [
        contrast
        for moving in (factor.name for factor in design.factors if sources and factor.name != sources)
        for contrast in simple_contrasts(design, moving, str(sources))
        if contrast.factor == moving and (moving, contrast.at) not in listed
    ]


def _beside_flat(design: Design, listed: Collection[tuple[str, tuple[str, str] | None]]) -> list[Contrast]:
    """Simple effects at the levels that are not flat, for the factors that an average over a flat level dilutes."""
    return [
        contrast
        for held, flat in design.flat.items()
        for moving in (factor.name for factor in design.factors if factor.name != held)
        for contrast in simple_contrasts(design, moving, held)
        if contrast.factor == moving and contrast.at and contrast.at[1] not in flat and contrast.possible
        and (moving, contrast.at) not in listed
    ]  # fmt: skip


def _judged(design: Design, overview: Overview, declared: Declared, contrasts: Sequence[Contrast]) -> list[ContrastRow]:
    """Estimates the contrasts, then judges each family under each error term."""
    if not contrasts:
        return []
    estimates = estimate(design, list(contrasts))
    component = over_images(design, list(contrasts))
    families: dict[str, list[int]] = defaultdict(list)
    for number, contrast in enumerate(contrasts):
        families[_family(contrast, declared)].append(number)
    rows: dict[tuple[int, str], ContrastRow] = {}
    settled = _settled(declared.decided)
    for family, members in families.items():
        claimed = [settled.get(_question(contrasts[number])) for number in members]
        curvature = np.array([contrasts[number].kind == QUADRATIC for number in members])
        over_seeds = {
            error: Estimate(*(array[members] for array in whole)) for error, whole in estimates.by_error.items()
        }
        images = ImageError(*(part[members] for part in component)) if component else None
        covers_images = images is not None and overview.scope == SEEDS_AND_IMAGES
        parts = {
            error: with_images(part, images) if images is not None and covers_images else part
            for error, part in over_seeds.items()
        }
        speaks = _speakers(parts, [estimates.speaks[number] for number in members])
        # The family that is read holds one error per contrast: its correction is over those, whatever their error.
        spoken = _judge(
            Estimate(*(np.array([getattr(parts[error], name)[index] for index, error in enumerate(speaks)])
                       for name in Estimate._fields)), overview, curvature, declared.look, claimed)  # fmt: skip
        repeats = np.array([_replicates(design, contrasts[n], estimates.differences[:, n]) for n in members])
        for error, part in parts.items():
            alone = _judge(part, overview, curvature, declared.look, claimed)
            headline = np.array([speaker == error for speaker in speaks])
            judged = verdicts.Judged(*(np.where(headline, a, b) for a, b in zip(spoken, alone, strict=True)))
            sizes = np.where(headline, *(max(int(np.isfinite(of.p).sum()), 1) for of in (spoken, alone)))
            precision = _precision(over_seeds[error], images if covers_images else None, repeats)
            prospects = _prospects(part, precision, overview, sizes, declared.look)
            level = overview.alpha if declared.look is None else float(declared.look.nominal(overview.alpha))
            sources = _sources(over_seeds[error], images, overview, level, nested=design.images_by_seed)
            for index, number in enumerate(members):
                if error == MODERATED and not headline[index]:
                    continue  # it exists only where the verdict is read from it
                rows[number, error] = _row(
                    design, overview, contrasts[number], estimates, number, error, family, part, judged, prospects,
                    sources, index,
                    n=float(repeats[index]), family_size=int(sizes[index]), headline=bool(headline[index]),
                    level=level,
                )  # fmt: skip
    return [
        rows[number, error]
        for number in range(len(contrasts))
        for error in estimates.by_error
        if (number, error) in rows
    ]


def _judge(
    part: Estimate, overview: Overview, curvature: NDArray[np.bool_], look: Look | None,
    claimed: Sequence[Settled | None],
) -> verdicts.Judged:  # fmt: skip
    return verdicts.judge(
        part, delta=overview.delta, alpha=overview.alpha, higher_is_better=overview.higher_is_better,
        curvature=curvature, look=look, settled=claimed,
    )  # fmt: skip


Question = tuple[str, str, str]
"""A main effect by its kind, factor and level."""


def _question(contrast: Contrast | ContrastRow) -> Question:
    return contrast.kind, contrast.factor, contrast.level


def _settled(decided: Sequence[ContrastRow]) -> dict[Question, Settled]:
    """What the headlines of earlier looks claim."""
    return {
        _question(row): Settled(
            real=row.verdict in (verdicts.HELPS, verdicts.HURTS, verdicts.NEGLIGIBLE),
            small=row.verdict in (verdicts.NEGLIGIBLE, verdicts.EQUIVALENT),
        )
        for row in decided
        if row.headline
    }


def _at_look(rows: Sequence[ContrastRow], declared: Declared) -> list[ContrastRow]:
    """The rows of main effects and trends, the former with the look that they stem from; those that an earlier look
    has decided are that look's own."""
    if declared.look is None:
        return list(rows)
    before: dict[Question, list[ContrastRow]] = defaultdict(list)
    for row in declared.decided:
        before[_question(row)].append(row)
    now = {_question(row): row.verdict in verdicts.DECIDED for row in rows if row.kind == MAIN and row.headline}
    look, marked = declared.look, list[ContrastRow]()
    for row in rows:
        question = _question(row)
        if row.kind != MAIN:
            marked.append(row)
        elif question not in before:
            marked.append(replace(row, decided=now[question], look=look.number, seeds_used=look.seeds))
        elif row.headline:
            marked += before[question]
    return marked


def _family(contrast: Contrast, declared: Declared) -> str:
    if contrast.kind == SIMPLE and contrast.at:
        return f"{contrast.factor} at each {contrast.at[0]}"
    return FAMILY_OF_KIND.get(contrast.kind) or declared.family_of.get(contrast.factor, "main")


class _Prospects(NamedTuple):
    mde: list[float | None]
    seeds_needed: list[int | None]
    mde_family: list[float | None]
    seeds_needed_family: list[int | None]
    images_needed_family: list[int | None]
    seeds_beside_images: list[int | None]


def _precision(over_seeds: Estimate, images: ImageError | None, repeats: Array) -> power.Precision:
    """What decides the error of contrasts at other numbers of seeds and images."""
    precision = power.Precision.of_seeds(over_seeds.se, over_seeds.df, repeats)
    if images is None:
        return precision
    known = np.isfinite(images.variance)
    added, spread, flips = (np.where(known, part, 0.0) for part in images)
    return precision._replace(images=np.maximum(added, 0.0), spread=spread, flips=flips)


def _prospects(
    part: Estimate, precision: power.Precision, overview: Overview, sizes: NDArray[np.int_], look: Look | None
) -> _Prospects:
    """Minimum detectable effects, seeds and images needed, alone and as one of a family; the latter two without further
    looks."""

    def effects(alpha: Array) -> list[float | None]:
        alpha = alpha if look is None else look.nominal(alpha)
        return [_plain(value) for value in power.minimum_detectable_effects(part.se, part.df, alpha)]

    def whole(values: Array) -> list[int | None]:
        return [None if math.isnan(value) else int(value) for value in values]

    nothing: list[int | None] = [None] * len(sizes)
    alone, first_step = np.full(len(sizes), overview.alpha), overview.alpha / sizes
    prospects = _Prospects(effects(alone), nothing, effects(first_step), nothing, nothing, nothing)
    if overview.delta is None:
        return prospects
    seeds, seeds_family = (
        whole(power.seeds_needed_each(overview.delta, precision, alpha)) for alpha in (alone, first_step)
    )
    prospects = prospects._replace(seeds_needed=seeds, seeds_needed_family=seeds_family)
    if overview.images is None or not precision.images.any():
        return prospects
    needed = power.images_needed_each(overview.delta, precision, overview.images, first_step)
    return prospects._replace(images_needed_family=whole(needed.images), seeds_beside_images=whole(needed.seeds))


def _sources(
    over_seeds: Estimate, images: ImageError | None, overview: Overview, level: float, *, nested: bool
) -> list[dict[str, Any]]:
    """What each row says of its two sources of error: scope, and the error over seeds and over images alone."""
    narrow = verdicts.judge(over_seeds, alpha=level)
    rows = []
    for index in range(len(over_seeds.value)):
        added, spread = (math.nan, 1.0) if images is None else (float(part[index]) for part in images[:2])
        covered = overview.scope == SEEDS_AND_IMAGES and (nested or math.isfinite(added))
        rows.append({
            "scope": SEEDS_AND_IMAGES if covered else THESE_IMAGES,
            "se_seeds": _plain(over_seeds.se[index]),
            "df_seeds": _plain(over_seeds.df[index]),
            "low_seeds": _plain(narrow.low[index]),
            "high_seeds": _plain(narrow.high[index]),
            "se_images": _plain(math.sqrt(max(added, 0.0))) if math.isfinite(added) else None,
            "df_images": _plain(2 * added**2 / spread) if added > 0 and spread > 0 else None,
        })  # fmt: skip
    return rows


def _row(
    design: Design, overview: Overview, contrast: Contrast, estimates: Estimates, number: int, error: str, family: str,
    part: Estimate, judged: verdicts.Judged, prospects: _Prospects, sources: Sequence[Mapping[str, Any]], index: int, *,
    n: float, family_size: int, headline: bool, level: float,
) -> ContrastRow:  # fmt: skip
    verdict = str(judged.verdict[index])
    better = None
    if headline and contrast.kind in (MAIN, SIMPLE) and verdict != verdicts.NOT_ESTIMABLE:
        better = _better_in_one_more_run(design, overview, contrast, part, sources[index], index, level)
    differences = estimates.differences[:, number]
    factor_b, level_b, baseline_b = contrast.other or (None, None, None)
    at_factor, at_level = contrast.at or (None, None)
    return ContrastRow(
        kind=contrast.kind,
        family=family,
        factor=contrast.factor,
        level=contrast.level,
        baseline=contrast.baseline,
        error=error,
        estimate=_plain(part.value[index]),
        se=_plain(part.se[index]),
        df=_plain(part.df[index]),
        low=_plain(judged.low[index]),
        high=_plain(judged.high[index]),
        p=_plain(judged.p[index]),
        p_holm=_plain(judged.p_holm[index]),
        p_tost=_plain(judged.p_tost[index]),
        p_tost_holm=_plain(judged.p_tost_holm[index]),
        mde=prospects.mde[index],
        seeds_needed=prospects.seeds_needed[index],
        mde_family=prospects.mde_family[index],
        seeds_needed_family=prospects.seeds_needed_family[index],
        images_needed_family=prospects.images_needed_family[index],
        seeds_beside_images=prospects.seeds_beside_images[index],
        **sources[index],
        verdict=verdict,
        reason=_reason(design, contrast, estimates, number, error) if verdict == verdicts.NOT_ESTIMABLE else None,
        n=int(n) if n == int(n) else n,
        seeds={seed: _plain(value) for seed, value in zip(design.seeds, differences, strict=False)},
        part=contrast.part,
        headline=headline,
        family_size=family_size,
        diluted_by=_diluted(design, contrast),
        after_look=bool(design.after_look),
        aliases=contrast.aliases,
        at_factor=at_factor,
        at_level=at_level,
        factor_b=factor_b,
        level_b=level_b,
        baseline_b=baseline_b,
        p_better=better.probability if better else None,
        p_better_low=better.low if better else None,
        p_better_high=better.high if better else None,
    )


def _better_in_one_more_run(
    design: Design, overview: Overview, contrast: Contrast, part: Estimate, source: Mapping[str, Any], index: int,
    level: float,
) -> Superiority | None:  # fmt: skip
    """How probable it is that the level does better in one more run; where the interval covers images, on others."""
    value, se, df = (float(column[index]) for column in part)
    spread = spread_of_one_run(design, contrast, source["se_seeds"] or se)
    if source["scope"] == SEEDS_AND_IMAGES:
        spread = math.hypot(spread, source["se_images"] or 0.0)
    return superiority(value, se, df, spread, alpha=level, higher_is_better=overview.higher_is_better)


def _diluted(design: Design, contrast: Contrast) -> tuple[str, ...]:
    """The flat levels that a contrast averages over."""
    if not design.flat:
        return ()
    named = {contrast.factor, *(contrast.other or ())[:1], *(contrast.at or ())[:1]}
    used = [design.cells[cell] for cell in contrast.cells]
    diluting = []
    for position, factor in enumerate(design.between):
        present = {factor.levels[cell[position]] for cell in used}
        flat = [level for level in design.flat.get(factor.name, ()) if level in present]
        if flat and factor.name not in named:
            diluting.append(f"{factor.name} = {', '.join(flat)}")
    return tuple(diluting)


def _replicates(design: Design, contrast: Contrast, differences: Array) -> float:
    """Seeds behind an estimate; without blocks, runs per cell (their mean where cells differ)."""
    if design.block:
        return float(np.isfinite(differences).sum())
    runs = np.isfinite(design.y[:, contrast.own]).all(axis=2).sum(axis=0) if contrast.own.any() else np.zeros(1)
    return float(runs.mean())


def _reason(design: Design, contrast: Contrast, estimates: Estimates, number: int, error: str) -> str:
    """Why a contrast is not estimable: a clause that follows "because"."""
    differences, part = estimates.differences[:, number], estimates.by_error[error]
    if contrast.apart:
        return "its levels are judged on different images"
    if not contrast.possible and design.fraction is not None:
        return "the cells of the fraction do not determine it"
    if not contrast.possible:
        for factor, level in ((contrast.factor, contrast.level), (contrast.factor, contrast.baseline)):
            if (factor, level) in design.lost:
                return warning_sentences.every_trial_lost(design.lost[factor, level])
        return "no two cells with results differ in this alone"
    if len(design.y) == 1:
        return f"there is only one {design.block}" if design.block else "there is only one run per cell"
    if design.block and np.isfinite(differences).sum() < 2:
        return f"fewer than two {design.block}s are complete"
    if not math.isfinite(float(part.value[number])):
        return f"its cells share no {design.block or 'run'}"
    if error == POOLED and estimates.where[number] == split_plot.MIXED:
        return "some of its trainings share a stage and others do not, so that no pooled error fits"
    if part.df[number] < 1:
        return "no degrees of freedom are left for the error"
    return f"its differences do not vary between {design.block or 'run'}s, so there is no error to compare them with"


def _plain(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _speakers(parts: Mapping[str, Estimate], preferred: Sequence[str]) -> list[str]:
    """The error term each verdict is read from: the preferred one, unless it alone is not estimable."""
    usable = {error: np.isfinite(part.value) & np.isfinite(part.se) & (part.df > 0) for error, part in parts.items()}
    return [
        error if usable[error][index] else next((other for other in parts if usable[other][index]), error)
        for index, error in enumerate(preferred)
    ]


def _demoted(contrasts: Sequence[ContrastRow], flagged: Sequence[ContrastRow]) -> list[ContrastRow]:
    """The rows, those marked that average over a factor with which they clearly interact."""
    partners: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in flagged:
        partners[row.factor, row.level].append(str(row.factor_b))
        partners[str(row.factor_b), str(row.level_b)].append(row.factor)
    marked = []
    for row in contrasts:
        levels = [key for key in partners if key[0] == row.factor and (row.kind != MAIN or key[1] == row.level)]
        marked.append(replace(row, demoted_by=tuple(dict.fromkeys(name for key in levels for name in partners[key]))))
    return marked


def _warnings(impossible: Sequence[Contrast], flagged: Sequence[ContrastRow], sources: str | None) -> list[str]:
    warnings = [warning_sentences.interaction_warning(row, sources) for row in flagged]
    if impossible:
        pairs = dict.fromkeys((contrast.factor, contrast.other[0]) for contrast in impossible if contrast.other)
        warnings.append(warning_sentences.untested_interactions(list(pairs)))
    return warnings


def _disagreements(rows: Sequence[ContrastRow]) -> list[str]:
    by_contrast: dict[tuple[str | None, ...], dict[str, ContrastRow]] = defaultdict(dict)
    for row in rows:
        by_contrast[row.identity][row.error] = row
    return [
        warning_sentences.errors_disagree(by_error)
        for by_error in by_contrast.values()
        if len({row.shown_verdict for row in by_error.values() if row.verdict != verdicts.NOT_ESTIMABLE}) > 1
    ]
