"""Claims about effects of a fractional design that it cannot tell apart from others: they are withheld.

Interactions of three factors and more are taken as absent, as is usual. An effect that is aliased with another one of
up to two factors gets no claim of its own, for the estimate is that of both together; one that carries less than half
of another one gets none where that one is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sota_bench.stats import sentences, verdicts
from sota_bench.stats.result import INTERACTION, Alias, Analysis, ContrastRow

Effects = frozenset[frozenset[str]]

NO_CLAIMS = (verdicts.UNDETECTED, verdicts.NOT_ESTIMABLE)


def clear_effects(interactions: Sequence[ContrastRow]) -> Effects:
    """The interactions that are clear, with all that each is aliased with: one of them is real."""
    clear = set()
    for row in interactions:
        if row.headline and row.flagged:
            clear |= {frozenset({row.factor, str(row.factor_b)})}
            clear |= {frozenset(alias.factors) for alias in _simple(row) if alias.strong}
    return frozenset(clear)


def without_aliased_claims(rows: Sequence[ContrastRow], clear: Effects) -> list[ContrastRow]:
    """The rows, with no verdict on those that claim what the fraction cannot tell.

    Args:
        rows: contrasts or interactions.
        clear: from :func:`clear_effects`.
    """
    return [_withheld(row, clear) for row in rows]


def _withheld(row: ContrastRow, clear: Effects) -> ContrastRow:
    if row.verdict in NO_CLAIMS or (row.kind == INTERACTION and row.verdict == verdicts.EQUIVALENT):
        return row
    strong = [alias for alias in _simple(row) if alias.strong]
    weak = [alias for alias in _simple(row) if not alias.strong and frozenset(alias.factors) in clear]
    if not strong and not weak:
        return row
    reason = sentences.aliased(strong, in_part=False) if strong else sentences.aliased(weak, in_part=True)
    return replace(row, verdict=verdicts.NOT_ESTIMABLE, reason=reason)


def _simple(row: ContrastRow) -> list[Alias]:
    """The aliases of one and two factors: those that may well be of some size."""
    return [alias for alias in row.aliases if len(alias.factors) < 3]


def alias_warnings(interactions: Sequence[ContrastRow], contrasts: Sequence[ContrastRow]) -> list[str]:
    """Sentences about clear sums of aliased interactions, and about a fraction that is no longer balanced."""
    warnings = [
        sentences.aliased_interactions(row, [alias for alias in _simple(row) if alias.strong])
        for row in interactions
        if row.headline and row.withheld
    ]
    if any(_simple(row) for row in contrasts):
        warnings.append(sentences.unbalanced_fraction())
    return warnings


def clear_factors(analysis: Analysis) -> list[str]:
    """The factors with a clear effect: alone, in a clear interaction, or in one that is aliased with others.

    An effect that is real but negligible is not worth another look.
    """
    rows = [row for row in (*analysis.headlines(), *analysis.interactions) if row.headline]
    alpha = analysis.overview.alpha
    clear = set()
    for row in rows:
        significant = row.p_holm is not None and row.p_holm < alpha
        if row.verdict in (verdicts.HELPS, verdicts.HURTS) or (row.withheld and significant):
            clear |= {row.factor, *([row.factor_b] if row.factor_b else [])}
        if row.kind == INTERACTION and row.withheld:
            clear |= {name for alias in _simple(row) if alias.strong for name in alias.factors}
    return [name for name in analysis.overview.factors if name in clear]
