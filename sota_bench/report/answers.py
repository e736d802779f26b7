"""What a run answers: one analysis for each response that its grid asks about, and for each that a technique claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from sota_bench.report.run_record import RunRecord
from sota_bench.report.tables import RunTables
from sota_bench.responses import response_named
from sota_bench.stats import Analysis, analyze, nothing_to_compare, sentences, warning_sentences
from sota_bench.stats.compared import compared_cells
from sota_bench.stats.result import MAIN, ContrastRow
from sota_bench.stats.sequential import Look
from sota_bench.stats.verdicts import NOT_ESTIMABLE

CLAIM = "claim"
"""The family of the contrasts that a technique's claim is about."""


@dataclass(frozen=True)
class Answers:
    """The analyses of a run.

    Attributes:
        asked: one for each response of the grid, in its order; the first one ranks the cells.
        claims: one for each further response that a varied technique claims something about, with the contrasts of
            the techniques that claim it alone. They are secondary: the grid did not ask for them.
    """

    asked: tuple[Analysis, ...]
    claims: tuple[Analysis, ...] = ()

    @property
    def first(self) -> Analysis:
        """The analysis of the response that ranks the cells."""
        return self.asked[0]

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the first analysis, with the others asked for under ``responses``, the rest under ``claims``."""
        further = [analysis.to_dict() for analysis in self.asked[1:]]
        return {**self.first.to_dict(), "responses": further, "claims": [claim.to_dict() for claim in self.claims]}

    def table(self) -> pd.DataFrame:
        """The rows of all analyses that were asked for, with the column ``response``; see ``Analysis.table``."""
        tables = [analysis.table().assign(response=analysis.overview.response) for analysis in self.asked]
        return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def answers_of(tables: RunTables) -> Answers:
    """Every analysis of a run's trials."""
    asked = asked_analyses(tables)
    claims = [_claimed(tables, response, fields) for response, fields in claimed_responses(tables).items()]
    return Answers(asked, tuple(claim for claim in claims if claim is not None))


def asked_analyses(tables: RunTables, look: Look | None = None) -> tuple[Analysis, ...]:
    """The analysis of each response that the grid asks for.

    Args:
        tables: of the run.
        look: the planned look that is taken now, of a run that goes on until it is decided.
    """
    return tuple(analysis_of(tables, response, look) for response in tables.run.grid.response)


def compared_factors(run: RunRecord) -> dict[str, Sequence[str]]:
    """Factors with several levels."""
    return {factor: levels for factor, levels in run.grid.factors.items() if len(levels) > 1}


def cells_of_questions(tables: RunTables) -> dict[tuple[str, str], frozenset[str]]:
    """The ids of the cells that each main effect compares, by factor and level."""
    factors = compared_factors(tables.run)
    if not factors or not _has_values(tables, "accuracy"):
        return {}
    return compared_cells(
        tables.trials,
        response="accuracy",
        factors=factors,
        cell="cell",
        within=[name for name in tables.run.within if name in factors],
        judged="judged_on",
        place="trials.csv",
    )


def claimed_responses(tables: RunTables) -> dict[str, list[str]]:
    """The responses that varied techniques claim something about and the grid does not ask for -> their factors."""
    grid, claimed = tables.run.grid, dict[str, list[str]]()
    for technique in tables.techniques:
        response, factor = technique.card.response, technique.field
        if response not in grid.response and len(grid.factors.get(factor, ())) > 1:
            factors = claimed.setdefault(response, [])
            factors += [factor] if factor not in factors else []
    return claimed


def claimants(claim: Analysis) -> list[str]:
    """The factors whose techniques claim the response of an analysis of ``Answers.claims``."""
    return list(dict.fromkeys(row.factor for row in claim.headlines()))


def analysis_of(
    tables: RunTables, response: str | None = None, look: Look | None = None, sources: str | None = None
) -> Analysis:
    """The analysis of one response over a run's trials, with the grid's baselines, delta and within-run factors.

    A factor with one level is a setting; a grid of such factors alone has one cell, and nothing to compare.

    Args:
        tables: of the run.
        response: one that the grid asks for; its first one by default.
        look: the planned look that is taken now; by default the last one that the run has recorded, if any.
        sources: the column that names the data set of a trial, where there are several.
    """
    grid = tables.run.grid
    name = response or grid.response[0]
    about, delta = response_named(name), grid.smallest_effects.get(name)
    factors = compared_factors(tables.run)
    missing = bool((tables.trials["status"] == "done").any()) and not _has_values(tables, name)
    if missing or not factors:
        return nothing_to_compare(
            tables.trials, name, delta, unit=about.unit, higher_is_better=about.higher_is_better,
            warnings=[warning_sentences.no_values(about.noun)] if missing else (),
        )  # fmt: skip
    history, look = tables.looks, look or _last_look(tables)
    decided = history.decided_before(look, name) if history and look else ()
    return _analyzed(tables, name, factors, look=look, decided=decided, sources=sources)


def _last_look(tables: RunTables) -> Look | None:
    return tables.looks.last_look if tables.looks else None


def _has_values(tables: RunTables, response: str) -> bool:
    trials = tables.trials
    return bool(trials.loc[trials["status"] == "done", response].notna().any())


def _claimed(tables: RunTables, response: str, claiming: Sequence[str]) -> Analysis | None:
    """The contrasts of the factors whose techniques claim a response, as a family of their own; None where
    nothing can be estimated."""
    if not _has_values(tables, response):
        return None
    analysis = _analyzed(
        tables, response, compared_factors(tables.run), families={CLAIM: claiming}, simple="none",
        look=_last_look(tables),
    )  # fmt: skip
    rows = tuple(
        _without_look(row, analysis) for row in analysis.contrasts if row.kind == MAIN and row.family == CLAIM
    )
    if all(row.verdict == NOT_ESTIMABLE for row in rows):
        return None
    return replace(analysis, contrasts=rows, interactions=(), anova=(), warnings=(), notes=())


def _without_look(row: ContrastRow, analysis: Analysis) -> ContrastRow:
    """The row of a claim: looks correct its error too, but no look waits for it to be decided."""
    plain = replace(row, decided=None, look=None, seeds_used=None)
    return replace(plain, words=sentences.sentence(plain, analysis.overview))


def _analyzed(tables: RunTables, response: str, factors: Mapping[str, Sequence[str]], **how: Any) -> Analysis:
    run, about = tables.run, response_named(response)
    return analyze(
        tables.trials,
        response=response,
        factors=factors,
        block="seed",
        within=[name for name in run.within if name in factors],
        delta=run.grid.smallest_effects.get(response),
        higher_is_better=about.higher_is_better,
        added_seeds=run.added_seeds,
        shares="shared_with" if "shared_with" in tables.trials else None,
        judged=None if response == "minutes" else "judged_on",
        images=(run.images.select or None) if response == "accuracy" else None,
        unit=about.unit,
        predictions=tables.per_image(response),
        scope=run.grid.scope,
        allow_missing=response != "accuracy",
        place="trials.csv",
        **how,
    )
