"""The rows of an analysis: one per contrast and error term.

Columns: ``kind`` (main, simple, trend-linear, trend-quadratic, interaction), ``family``, ``factor``, ``level``,
``baseline``, ``error`` (pooled, paired), ``estimate``, ``se``, ``df``, ``low``, ``high``, ``p``, ``p_holm``, ``mde``
(80% power at alpha), ``seeds_needed`` (seeds in total for delta, at alpha), ``verdict``; then ``p_tost``,
``p_tost_holm``, ``mde_family`` and ``seeds_needed_family`` (at alpha over the size of the family, the first step of
Holm, so that they hold for the verdict), ``n`` (seeds used), ``seeds`` (each seed's own difference), ``reason`` (why
not estimable), ``part`` (cells compared, if not all), ``headline``, ``demoted``, ``demoted_by``, ``after_look``,
``diluted_by`` (flat levels averaged over), ``at_factor`` and ``at_level`` (simple effects), ``words``. Rows of
``interactions`` have ``factor_b``, ``level_b``, ``baseline_b`` and ``flagged`` as well; there "helps" says that the
two levels do better together than their sum.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats import power, verdicts
from sota_bench.stats.contrasts import (
    INTERACTION,
    LINEAR,
    MAIN,
    QUADRATIC,
    SIMPLE,
    Contrast,
    interaction_contrasts,
    main_contrasts,
    simple_contrasts,
    trend_contrasts,
)
from sota_bench.stats.design import Design
from sota_bench.stats.estimation import PAIRED, POOLED, Estimates, estimate
from sota_bench.stats.kernels import Array, Estimate
from sota_bench.stats.plots import MIXED
from sota_bench.stats.words import sentence, subject, told

Row = dict[str, Any]
FAMILY_OF_KIND = {LINEAR: "trends", QUADRATIC: "trends", INTERACTION: "interactions"}


@dataclass(frozen=True)
class Settings:
    """What the user declared before looking: see `analyze`."""

    delta: float | None
    alpha: float
    higher_is_better: bool
    family_of: Mapping[str, str]
    simple: Literal["flagged", "all", "none"]
    unit: str


def all_rows(design: Design, settings: Settings) -> tuple[list[Row], list[Row], list[str]]:
    """Rows of contrasts, rows of interactions, and warnings about them."""
    contrasts = _judged(design, settings, [*main_contrasts(design), *trend_contrasts(design)])
    every = interaction_contrasts(design)
    possible = [contrast for contrast in every if len(contrast.contexts)]
    impossible = [contrast for contrast in every if not (len(contrast.contexts) or contrast.apart)]
    interactions = _judged(design, settings, possible)
    flagged = [row for row in interactions if row["headline"] and row["flagged"]]
    _demote(contrasts, flagged)
    names = [factor.name for factor in design.factors]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if settings.simple != "none"]
    if settings.simple == "flagged":
        pairs = [pair for pair in pairs if pair in {(row["factor"], row["factor_b"]) for row in flagged}]
    held = [contrast for a, b in pairs for contrast in simple_contrasts(design, a, b) if len(contrast.contexts)]
    if settings.simple != "none":
        held += _beside_flat(design, {(contrast.factor, contrast.at) for contrast in held})
    contrasts += _judged(design, settings, held)
    for row in [*contrasts, *interactions]:
        family = row.pop("_family_size")
        row["words"] = sentence(
            row, unit=settings.unit, block=design.block, delta=settings.delta, alpha=settings.alpha, family=family
        )
    return contrasts, interactions, _warnings(contrasts, interactions, impossible, flagged)


def _beside_flat(design: Design, known: Collection[tuple[str, tuple[str, str] | None]]) -> list[Contrast]:
    """Simple effects at the levels that are not flat, for the factors that an average over a flat level dilutes."""
    return [
        contrast
        for held, flat in design.flat.items()
        for moving in (factor.name for factor in design.factors if factor.name != held)
        for contrast in simple_contrasts(design, moving, held)
        if contrast.factor == moving and contrast.at and contrast.at[1] not in flat and len(contrast.contexts)
        and (moving, contrast.at) not in known
    ]  # fmt: skip


def flat_warnings(design: Design) -> list[str]:
    """A warning for each factor with levels at which nothing varies."""
    return [
        f"With {name} = {', '.join(levels)} nothing varies, neither between {design.block or 'run'}s nor with any "
        "other factor: a floor or a ceiling, such as guessing at chance. Averages over it are too small for the other "
        f"factors, and their errors too: read them at the other levels of {name}."
        for name, levels in design.flat.items()
    ]


def _judged(design: Design, settings: Settings, contrasts: list[Contrast]) -> list[Row]:
    """Estimate the contrasts, then judge each family under each error term."""
    if not contrasts:
        return []
    found = estimate(design, contrasts)
    families: dict[str, list[int]] = defaultdict(list)
    for number, contrast in enumerate(contrasts):
        families[_family(contrast, settings)].append(number)
    rows: dict[tuple[int, str], Row] = {}
    for family, members in families.items():
        curvature = np.array([contrasts[number].kind == QUADRATIC for number in members])

        def judge(part: Estimate, curvature: NDArray[np.bool_] = curvature) -> verdicts.Judged:
            return verdicts.judge(
                part, delta=settings.delta, alpha=settings.alpha, higher_is_better=settings.higher_is_better,
                curvature=curvature,
            )  # fmt: skip

        parts = {error: Estimate(*(array[members] for array in whole)) for error, whole in found.by_error.items()}
        speaks = _speakers(parts, [found.speaks[number] for number in members])
        # The family that is read holds one error per contrast: its correction is over those, whatever their error.
        spoken = judge(Estimate(*(np.array([getattr(parts[error], name)[place] for place, error in enumerate(speaks)])
                                  for name in Estimate._fields)))  # fmt: skip
        for error, part in parts.items():
            alone = judge(part)
            for place, number in enumerate(members):
                headline = speaks[place] == error
                judged = spoken if headline else alone
                size = max(int(np.isfinite(judged.p).sum()), 1)
                row = _row(design, settings, contrasts[number], found, number, error, part, judged, place, size)
                rows[number, error] = {"family": family, **row, "headline": headline}
    return [rows[number, error] for number in range(len(contrasts)) for error in found.by_error]


def _family(contrast: Contrast, settings: Settings) -> str:
    if contrast.kind == SIMPLE and contrast.at:
        return f"{contrast.factor} at each {contrast.at[0]}"
    return FAMILY_OF_KIND.get(contrast.kind) or settings.family_of.get(contrast.factor, "main")


def _row(
    design: Design, settings: Settings, contrast: Contrast, found: Estimates, number: int, error: str, part: Estimate,
    judged: verdicts.Judged, place: int, size: int,
) -> Row:  # fmt: skip
    differences = found.differences[:, number]
    n = _replicates(design, contrast, differences, error)
    verdict = str(judged.verdict[place])
    small = {
        name: _plain(getattr(judged, name)[place]) for name in ("low", "high", "p", "p_holm", "p_tost", "p_tost_holm")
    }
    row: Row = {
        "kind": contrast.kind,
        "factor": contrast.factor,
        "level": contrast.level,
        "baseline": contrast.baseline,
        "error": error,
        "estimate": _plain(part.value[place]),
        "se": _plain(part.se[place]),
        "df": _plain(part.df[place]),
        **small,
        **_prospects(part, place, settings, n, size),
        "verdict": verdict,
        "reason": _reason(design, contrast, found, number, error) if verdict == verdicts.NOT_ESTIMABLE else None,
        "n": n,
        "seeds": {seed: _plain(value) for seed, value in zip(design.seeds, differences, strict=False)},
        "part": contrast.part,
        "diluted_by": _diluted(design, contrast),
        "headline": False,
        "demoted": False,
        "demoted_by": [],
        "after_look": bool(design.after_look),
        "_family_size": size,
    }
    if contrast.other:
        row |= dict(zip(("factor_b", "level_b", "baseline_b"), contrast.other, strict=True))
        row["flagged"] = verdict in (verdicts.HELPS, verdicts.HURTS)
    row["at_factor"], row["at_level"] = contrast.at or (None, None)
    return row


def _diluted(design: Design, contrast: Contrast) -> list[str]:
    """The flat levels that a contrast averages over."""
    named = {contrast.factor, *(contrast.other or ())[:1], *(contrast.at or ())[:1]}
    used = [cell for cell, weight in zip(design.cells, np.abs(contrast.contexts).sum(axis=0), strict=True) if weight]
    found = []
    for position, factor in enumerate(design.between):
        present = {factor.levels[cell[position]] for cell in used}
        flat = [level for level in design.flat.get(factor.name, ()) if level in present]
        if flat and factor.name not in named:
            found.append(f"{factor.name} = {', '.join(flat)}")
    return found


def _replicates(design: Design, contrast: Contrast, differences: Array, error: str) -> float:
    """Seeds behind an estimate; without blocks, runs per cell (their mean where cells differ)."""
    if design.block:
        return int(np.isfinite(differences).sum())
    runs = np.isfinite(design.y[:, contrast.own]).all(axis=2).sum(axis=0) if contrast.own.any() else np.zeros(1)
    mean = float(runs.mean())
    return int(mean) if mean == int(mean) else mean


def _prospects(part: Estimate, place: int, settings: Settings, n: float, size: int) -> Row:
    """Minimum detectable effects and seeds needed, alone and as one of a family."""
    se, df = float(part.se[place]), float(part.df[place])
    usable = math.isfinite(se) and df > 0
    row: Row = {}
    for suffix, alpha in (("", settings.alpha), ("_family", settings.alpha / size)):
        row[f"mde{suffix}"] = power.minimum_detectable_effect(se, df, alpha) if usable else None
        row[f"seeds_needed{suffix}"] = (
            power.seeds_needed(settings.delta, se, df, n, alpha) if usable and settings.delta and n > 1 else None
        )
    return row


def _reason(design: Design, contrast: Contrast, found: Estimates, number: int, error: str) -> str:
    differences, part = found.differences[:, number], found.by_error[error]
    if contrast.apart:
        return "its levels are judged on different images, whose accuracies do not compare"
    if not len(contrast.contexts):
        return "no cells exist that differ in this alone"
    if len(design.y) == 1:
        return f"one {design.block}" if design.block else "one run per cell"
    if design.block and np.isfinite(differences).sum() < 2:
        return f"fewer than two {design.block}s are complete"
    if not math.isfinite(float(part.value[number])):
        return "its cells share no seed"
    if error == POOLED and found.where[number] == MIXED:
        return "some of its trainings share a part and others do not, so that no one pooled error fits"
    if part.df[number] < 1:
        return "no degrees of freedom are left for the error"
    return "the differences do not vary at all, so that there is no error to compare with"


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _speakers(parts: Mapping[str, Estimate], wanted: list[str]) -> list[str]:
    """The error term each verdict is read from: the wanted one, unless it alone is not estimable."""
    usable = {error: np.isfinite(part.value) & np.isfinite(part.se) & (part.df > 0) for error, part in parts.items()}
    return [
        error if usable[error][place] else next((other for other in parts if usable[other][place]), error)
        for place, error in enumerate(wanted)
    ]


def _demote(contrasts: list[Row], flagged: list[Row]) -> None:
    """A main effect or trend that is part of a clear interaction is an average of unlike things: mark it."""
    partners: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in flagged:
        partners[row["factor"], row["level"]].append(row["factor_b"])
        partners[row["factor_b"], row["level_b"]].append(row["factor"])
    for row in contrasts:
        levels = [
            key for key in partners if key[0] == row["factor"] and (row["kind"] != MAIN or key[1] == row["level"])
        ]
        row["demoted_by"] = list(dict.fromkeys(name for key in levels for name in partners[key]))
        row["demoted"] = bool(row["demoted_by"])


def _warnings(
    contrasts: list[Row], interactions: list[Row], impossible: list[Contrast], flagged: list[Row]
) -> list[str]:
    found = []
    rows = [*contrasts, *interactions]
    pooled = [row for row in rows if row["error"] == POOLED]
    own = {_identity(row): row for row in rows if row["error"] == PAIRED}
    for row in pooled:
        other = own.get(_identity(row))
        if other and told(other) != told(row):
            read = "pooled" if row["headline"] else "paired"
            found.append(
                f"The two errors disagree on {subject(row)}: {told(row)} with the error pooled over all cells "
                f"({row['df']:g} degrees of freedom), {told(other)} with its own paired error ({other['df']:g}). "
                f"The verdict is read from the {read} one."
            )
    found += [
        f"{row['factor']} {row['level']} and {row['factor_b']} {row['level_b']} interact: their main effects are "
        "averages of unlike effects; read the simple effects."
        for row in flagged
    ]
    if impossible:
        pairs = dict.fromkeys((contrast.factor, contrast.other[0]) for contrast in impossible if contrast.other)
        found.append("Interactions not estimable for want of cells: " + ", ".join(f"{a} x {b}" for a, b in pairs) + ".")
    return found


def _identity(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("kind", "factor", "level", "at_factor", "at_level", "factor_b", "level_b"))
