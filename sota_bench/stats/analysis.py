"""The whole analysis of a table: contrasts with their errors, interactions, analysis of variance, warnings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from sota_bench.errors import UserError
from sota_bench.stats import warning_sentences
from sota_bench.stats.result import SEEDS_AND_IMAGES, THESE_IMAGES, Analysis, ContrastRow, Overview, Scope

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from sota_bench.stats.design import Design
    from sota_bench.stats.sequential import Look

ACCURACY = re.compile(r"(?i)(^|[^a-z])(acc|accuracy|top[-_ ]?[15]|recall|precision|f1)([^a-z]|$)")
"""Columns whose usual unit is percent."""

LOWER_IS_BETTER = re.compile(
    r"(?i)(^|[^a-z])(loss|nll|ece|brier|err|error|perplexity|rmse|mse|mae|forgetting|minutes|seconds|latency)([^a-z]|$)"
)
"""Columns of which less is better."""


def analyze(
    table: pd.DataFrame,
    *,
    response: str,
    factors: Mapping[str, Sequence[object]] | Sequence[str],
    block: str | None = "seed",
    within: Sequence[str] = (),
    delta: float | None = None,
    higher_is_better: bool | None = None,
    alpha: float = 0.05,
    families: Mapping[str, Sequence[str]] | None = None,
    simple: Literal["flagged", "all", "none"] = "flagged",
    added_seeds: Sequence[object] = (),
    unit: str | None = None,
    allow_missing: bool = False,
    shares: str | None = None,
    judged: str | None = None,
    images: int | None = None,
    fractional: bool = False,
    sources: str | None = None,
    predictions: Mapping[str, ArrayLike] | None = None,
    trial: str = "trial",
    scope: Scope = SEEDS_AND_IMAGES,
    look: Look | None = None,
    decided: Sequence[ContrastRow] = (),
    place: str = "table",
) -> Analysis:
    """Contrasts, interactions and verdicts of a factorial experiment with repeated seeds.

    Each contrast has several errors: ``pooled`` (residual of ``y = cell + seed``, df = (S - 1)(C - 1)), ``paired``
    (the contrast's own per-seed differences, df = S - 1), and, where the verdict is read from it, ``moderated``: the
    paired one, with as much of the pooled one as fits it; see `sota_bench.stats.moderation`. ``headline`` marks the
    error that is read. It is the paired one where gains may vary from seed to seed without the other cells' showing
    it: within-run factors, which are compared inside each run only, and comparisons inside a group of trainings that
    share a part.

    Args:
        table: one row per trial (and per evaluation, with within-run factors). A column ``status`` other than "done"
            marks trials without a result; ``added_after_look`` (true or false) marks seeds that were added later.
        response: numeric column. Accuracies are in percent.
        factors: names with their levels in order (the first is the baseline), or names alone: then levels come in
            order of first appearance, one that is false, off or 0 first.
        block: column whose levels pair the trials, or None for a plain factorial.
        within: factors whose levels are evaluations of one run; they may be named in ``factors`` too.
        delta: smallest effect of interest, in the units of the response.
        higher_is_better: whether a positive difference helps; by default what the response's name says: lower is better
            for losses, errors and times, higher for everything else.
        alpha: level of intervals and of each family.
        families: family name -> factors whose main contrasts share one Holm correction; the rest share "main".
            Trends, interactions and simple effects are families of their own.
        simple: for which pairs of factors to give simple effects: those with a clear interaction, all, or none.
        added_seeds: blocks that were added after a look at the results.
        unit: unit of the response in words; by default "pp" for accuracies and percentages, and "" otherwise.
        allow_missing: leave out finished rows whose response is empty, with a warning, instead of refusing them.
        shares: column that names the part of a training that trials of one block have in common, such as a first
            stage; empty where there is none. Such trials are no independent repetitions (a split-plot experiment).
        judged: column that names the images a trial is judged on: only accuracies on the same ones are compared.
        images: how many images each accuracy was measured on: where one of them counts too much for ``delta``, more
            images are advised instead of more seeds. Taken from ``predictions`` where they are given.
        fractional: whether the rows are a fractional factorial design, in which no two cells need to differ in one
            factor alone: effects are estimated by regression on the levels, and each row names its aliases. A column
            ``fraction_runs`` (how many runs of the design a cell stands for) says the same.
        sources: column that names the data set of each row. Data sets are fixed blocks: an effect is averaged over
            them within each seed, given at each of them, and compared between them; the data sets themselves, which
            are judged on different images, are not. Verdicts are about these data sets, each counting alike.
        predictions: trial -> for each image whether it is right (bool), or a number whose mean is the response. With
            them, intervals and verdicts cover seeds and images; see `sota_bench.stats.crossed`.
        trial: column that names the trials of ``predictions``.
        scope: what intervals and verdicts cover: "seeds and images", other seeds and other images like these; or
            "these images", other seeds alone. Without predictions it is the latter.
        look: which of the planned looks this is, for a run that goes on until it is decided: p-values and intervals
            allow for all of them. Cells may then have fewer seeds than others.
        decided: the rows of main contrasts that earlier looks have decided; they stay as they are.
        place: what an error calls the table, such as its file name.

    Raises:
        UserError: for a table or a setting that cannot be analysed.
    """
    from sota_bench.stats.anova import anova_rows
    from sota_bench.stats.design import read_design
    from sota_bench.stats.rows import Declared, all_rows
    from sota_bench.stats.screening import screen

    if delta is not None and not (math.isfinite(delta) and delta > 0):
        raise UserError(place, "delta", f"{delta} is not a smallest effect of interest", "give a positive number")
    if not 0 < alpha < 0.5:
        raise UserError(place, "alpha", f"{alpha} is not a level", "give a number such as 0.05")
    if images is not None and images < 1:
        raise UserError(place, "images", f"{images} is not a number of images", "give how many judge each trial")
    design = read_design(
        table, response=response, factors=factors, block=block, within=within, added_seeds=added_seeds,
        allow_missing=allow_missing, shares=shares, judged=judged or sources, predictions=predictions, trial=trial,
        fractional=fractional, sources=sources, planned_gaps=look is not None, place=place,
    )  # fmt: skip
    if design.image_sets:
        images = max(image_set.scores.images for image_set in design.image_sets)
    scale_warnings = _check_scale(design, unit, delta, place)
    names = [factor.name for factor in design.factors]
    for family, members in (families or {}).items():
        for member in members:
            if member not in names:
                raise UserError(
                    place, f"families.{family}", f"{member!r} is no factor", f"there are {', '.join(names)}"
                )
    overview = Overview(
        response=response,
        factors={factor.name: list(factor.levels) for factor in design.factors},
        block=block,
        within=tuple(factor.name for factor in design.inside),
        delta=delta,
        alpha=alpha,
        higher_is_better=higher_is_better if higher_is_better is not None else not LOWER_IS_BETTER.search(response),
        unit=unit if unit is not None else "pp" if design.percent or ACCURACY.search(response) else "",
        seeds=design.seeds,
        added_after_look=design.after_look,
        cells=len(design.cells),
        rows=design.counts,
        images=images,
        fractional=design.fraction is not None,
        sources=sources,
        scope=scope if design.image_sets or design.images_by_seed else THESE_IMAGES,
        looks=look.plan.seeds if look else (),
    )
    declared = Declared(
        {member: family for family, members in (families or {}).items() for member in members}, simple, look,
        tuple(decided),
    )  # fmt: skip
    rows = all_rows(design, overview, declared)
    screening = screen(design, alpha) if len(design.y) == 1 and sources is None else None
    warnings = list(scale_warnings)
    if len(design.y) == 1:
        part = screening.part if screening else ""
        warnings.append(warning_sentences.screening_only(block, screened=screening is not None, part=part))
    warnings += [warning_sentences.flat_levels(name, levels, block) for name, levels in design.flat.items()]
    anova, notes = tuple(row for row in anova_rows(design) if row.term != sources), list(rows.notes)
    if sources is not None:
        notes.insert(0, warning_sentences.over_sources(overview.factors[sources]))
    if design.images_by_seed:
        notes.append(warning_sentences.images_by_seed(block))
    if not anova and len(design.cells) > 1:
        notes.append(warning_sentences.anova_left_out(len(design.cells)))
    return Analysis(
        overview,
        anova,
        rows.contrasts,
        rows.interactions,
        screening,
        (*warnings, *design.notes, *rows.warnings),
        tuple(notes),
    )


def nothing_to_compare(
    table: pd.DataFrame,
    response: str,
    delta: float | None,
    *,
    unit: str = "pp",
    higher_is_better: bool = True,
    warnings: Sequence[str] = (),
) -> Analysis:
    """The analysis of trials that cannot be compared, such as those of one cell: how many there are.

    Args:
        table: one row per trial, with ``seed`` and ``status``.
        response: numeric column.
        delta: smallest effect of interest, in the units of the response.
        unit: unit of the response in words.
        higher_is_better: whether a positive difference helps.
        warnings: sentences that say why there is no comparison.
    """
    done = table.loc[table["status"] == "done", "seed"]
    return Analysis(
        Overview(
            response=response,
            factors={},
            delta=delta,
            higher_is_better=higher_is_better,
            unit=unit,
            seeds=tuple(dict.fromkeys(done.tolist())),
            rows={str(status): int(count) for status, count in table["status"].value_counts().items()},
        ),
        warnings=tuple(warnings),
    )


def _check_scale(design: Design, unit: str | None, delta: float | None, place: str) -> list[str]:
    """A warning about accuracies that look like fractions; with a delta in points they would give wrong verdicts.

    Raises:
        UserError: a delta in percentage points meets fractions: an accuracy, whatever its delta, or any response
            within 0 to 1 of which no difference can exceed delta. Whoever names the unit is believed.
    """
    import numpy as np

    values = design.y[np.isfinite(design.y)]
    if unit is not None or design.percent or not values.size or values.min() < 0 or not 0 < values.max() <= 1:
        return []
    span = f"the values lie between {values.min():g} and {values.max():g}"
    if ACCURACY.search(design.response):
        if delta is not None:
            raise UserError(
                place, design.response, f"{span}, like fractions, and delta is in percentage points",
                "multiply the column by 100, or name the unit of both with --unit",
            )  # fmt: skip
        return [warning_sentences.looks_like_fractions(design.response, span)]
    if delta is not None and delta >= 1:
        raise UserError(
            place, design.response, f"{span}, so no difference can be larger than a delta of {delta:g}",
            "multiply fractions by 100, or give delta in the unit of the response",
        )  # fmt: skip
    return []
