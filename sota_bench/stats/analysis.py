"""The whole analysis of a table: contrasts with both errors, interactions, analysis of variance, warnings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sota_bench.errors import UserError
from sota_bench.stats.words import told

if TYPE_CHECKING:
    import pandas as pd

    from sota_bench.stats.design import Design


@dataclass(frozen=True)
class Analysis:
    """The answer to a table, as rows of plain values (None where something does not exist, never NaN).

    Attributes:
        about: response, factors with their levels, block, within, delta, alpha, direction, seeds, counts by status.
        anova: one row per term: ``term, df, df_error, sum_sq, F, p, stratum``.
        contrasts: one row per comparison and error term; see `sota_bench.stats.rows` for the columns.
        interactions: differences of differences, with the same columns and ``factor_b, level_b, baseline_b, flagged``.
        screening: Lenth's screening where there is one seed, else None.
        warnings: sentences.
    """

    about: dict[str, Any]
    anova: list[dict[str, Any]]
    contrasts: list[dict[str, Any]]
    interactions: list[dict[str, Any]]
    screening: dict[str, Any] | None
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON; an interaction's verdict is whether it is clear, since it is no gain or loss."""
        return {
            "about": self.about,
            "anova": self.anova,
            "contrasts": self.contrasts,
            "interactions": [{**row, "verdict": told(row)} for row in self.interactions],
            "screening": self.screening,
            "warnings": self.warnings,
        }

    def to_json(self, indent: int | None = 2) -> str:
        """The same as a JSON document."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False, ensure_ascii=False)

    def headlines(self) -> list[dict[str, Any]]:
        """The main contrasts, one row each, under the error that its verdict is read from."""
        return [row for row in self.contrasts if row["kind"] == "main" and row["headline"]]

    def table(self) -> pd.DataFrame:
        """Contrasts, then interactions (kind ``interaction``), one row each, per-seed differences as JSON text."""
        import pandas as pd

        rows = [
            {
                **row,
                "verdict": told(row),
                "seeds": json.dumps(row["seeds"]),
                "demoted_by": ", ".join(row["demoted_by"]),
                "diluted_by": "; ".join(row["diluted_by"]),
            }
            for row in [*self.contrasts, *self.interactions]
        ]
        return pd.DataFrame(rows)


def analyze(
    table: pd.DataFrame,
    *,
    response: str,
    factors: Mapping[str, Sequence[object]] | Sequence[str],
    block: str | None = "seed",
    within: Sequence[str] = (),
    delta: float | None = None,
    higher_is_better: bool = True,
    alpha: float = 0.05,
    families: Mapping[str, Sequence[str]] | None = None,
    simple: Literal["flagged", "all", "none"] = "flagged",
    added_seeds: Sequence[object] = (),
    unit: str | None = None,
    allow_missing: bool = False,
    shares: str | None = None,
    judged: str | None = None,
    place: str = "table",
) -> Analysis:
    """Contrasts, interactions and verdicts of a factorial experiment with repeated seeds.

    Both error terms are given: ``pooled`` (residual of ``y = cell + seed``, df = (S - 1)(C - 1)) and ``paired``
    (the contrast's own per-seed differences, df = S - 1). The pooled one is read (``headline``), except where gains
    may vary from seed to seed without its seeing it: within-run factors, which are compared inside each run only, and
    comparisons inside a group of trainings that share a part.

    Args:
        table: one row per trial (and per evaluation, with within-run factors). A column ``status`` other than "done"
            marks trials without a result; ``added_after_look`` (true or false) marks seeds that were added later.
        response: numeric column. Accuracies are in percent.
        factors: names with their levels in order (the first is the baseline), or names alone: then levels come in
            order of first appearance, one that is false, off or 0 first.
        block: column whose levels pair the trials, or None for a plain factorial.
        within: factors whose levels are evaluations of one run; they may be named in ``factors`` too.
        delta: smallest effect of interest, in the units of the response.
        higher_is_better: whether a positive difference helps.
        alpha: level of intervals and of each family.
        families: family name -> factors whose main contrasts share one Holm correction; the rest share "main".
            Trends, interactions and simple effects are families of their own.
        simple: for which pairs of factors to give simple effects: those with a clear interaction, all, or none.
        added_seeds: blocks that were added after a look at the results.
        unit: unit of the response in words; by default "points" for accuracies and "" otherwise.
        allow_missing: leave out finished rows whose response is empty, with a warning, instead of refusing them.
        shares: column that names the part of a training that trials of one block have in common, such as a first
            stage; empty where there is none. Such trials are no independent repetitions (a split-plot experiment).
        judged: column that names the images a trial is judged on: only accuracies on the same ones are compared.
        place: what an error calls the table, such as its file name.

    Raises:
        UserError: for a table or a setting that cannot be analysed.
    """
    from sota_bench.stats.anova import anova_rows
    from sota_bench.stats.design import read_design
    from sota_bench.stats.rows import Settings, all_rows, flat_warnings
    from sota_bench.stats.screening import screen

    if delta is not None and not (math.isfinite(delta) and delta > 0):
        raise UserError(place, "delta", f"{delta} is not a smallest effect of interest", "give a positive number")
    if not 0 < alpha < 0.5:
        raise UserError(place, "alpha", f"{alpha} is not a level", "give a number such as 0.05")
    design = read_design(
        table, response=response, factors=factors, block=block, within=within, added_seeds=added_seeds,
        allow_missing=allow_missing, shares=shares, judged=judged, place=place,
    )  # fmt: skip
    warned = _fractions(design, unit, delta, place)
    names = [factor.name for factor in design.factors]
    for family, members in (families or {}).items():
        for member in members:
            if member not in names:
                raise UserError(
                    place, f"families.{family}", f"{member!r} is no factor", f"there are {', '.join(names)}"
                )
    settings = Settings(
        delta=delta,
        alpha=alpha,
        higher_is_better=higher_is_better,
        family_of={member: family for family, members in (families or {}).items() for member in members},
        simple=simple,
        unit=unit if unit is not None else "points" if response.startswith("accuracy") else "",
    )
    contrasts, interactions, notes = all_rows(design, settings)
    screening = None
    if len(design.y) == 1:
        screening = screen(design, alpha)
        one = f"one {block}" if block else "one run per cell"
        told_of = (
            "Effects are screened by Lenth's method: a place to look next, not a finding."
            if screening
            else "Too few or missing cells for a screening."
        )
        kept = f" Screened where the table is complete: {screening['part']}." if screening and screening["part"] else ""
        warned.append(f"Only {one}: no verdict is possible. {told_of}{kept}")
    about = {
        "response": response,
        "factors": {factor.name: list(factor.levels) for factor in design.factors},
        "block": block,
        "within": [factor.name for factor in design.inside],
        "delta": delta,
        "alpha": alpha,
        "higher_is_better": higher_is_better,
        "unit": settings.unit,
        "seeds": list(design.seeds),
        "added_after_look": list(design.after_look),
        "cells": len(design.cells),
        "rows": design.counts,
    }
    return Analysis(
        about,
        anova_rows(design),
        contrasts,
        interactions,
        screening,
        [*warned, *flat_warnings(design), *design.notes, *notes],
    )


def nothing_to_compare(table: pd.DataFrame, response: str, delta: float | None) -> Analysis:
    """The analysis of trials of one cell: how many there are, and no comparison.

    Args:
        table: one row per trial, with ``seed`` and ``status``.
        response: numeric column.
        delta: smallest effect of interest, in the units of the response.
    """
    about = {
        "response": response,
        "factors": {},
        "block": "seed",
        "within": [],
        "delta": delta,
        "alpha": 0.05,
        "higher_is_better": True,
        "unit": "pp",
        "seeds": list(dict.fromkeys(table.loc[table["status"] == "done", "seed"])),
        "added_after_look": [],
        "cells": 1,
        "rows": {str(status): int(count) for status, count in table["status"].value_counts().items()},
    }
    return Analysis(about, [], [], [], None, [])


def _fractions(design: Design, unit: str | None, delta: float | None, place: str) -> list[str]:
    """A warning about accuracies that look like fractions; with a delta in points they would give wrong verdicts."""
    import numpy as np

    known = design.y[np.isfinite(design.y)]
    if unit is not None or not design.response.startswith("accuracy") or not known.size:
        return []
    if known.min() < 0 or not 0 < known.max() <= 1:
        return []
    problem = f"the values look like fractions ({known.min():g} to {known.max():g}), and accuracies are in percent"
    if delta is not None:
        raise UserError(
            place, design.response, f"{problem}; delta is in percentage points", "multiply the column by 100"
        )
    return [f"{design.response}: {problem}: multiply the column by 100."]
