"""Analysis of variance with pooled error: Type II sums of squares by comparing models, so that empty cells are allowed.

statsmodels' `anova_lm` computes the same for full tables (the tests compare both), but not for rank-deficient ones:
nested factors and one-at-a-time grids leave cells empty by design.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from sota_bench.stats.design import Design
from sota_bench.stats.fractions import aliased_pairs
from sota_bench.stats.kernels import ROUNDING, Array
from sota_bench.stats.result import AnovaRow

# Above this many factors, interactions of more than three of them stay part of the model but are not listed.
LISTED_IN_FULL = 4

MOST_COLUMNS = 400
"""An unbalanced table that needs more columns than this in least squares gets no analysis of variance."""


def anova_rows(design: Design) -> tuple[AnovaRow, ...]:
    """One row per term; none for an unbalanced table of too many cells.

    Terms of between-run factors are tested on run means against the residual of cells and seeds; terms with a
    within-run factor are tested on deviations from their run's mean against the residual of cell by setting. A
    fractional design has main effects and interactions of two factors; aliased ones are one term, ``a:b = c:d``.
    """
    order = len(design.factors) if len(design.factors) <= LISTED_IN_FULL else 3
    order = order if design.fraction is None else 2
    names = [factor.name for factor in design.factors]
    aliased = {} if design.fraction is None else aliased_pairs(design.between, design.cells, design.fraction)
    same = {pair for pairs in aliased.values() for pair in pairs}
    terms = [term for size in range(1, order + 1) for term in combinations(names, size) if term not in same]
    inside = {factor.name for factor in design.inside}
    common = design.occurs.all(axis=0) if len(design.cells) else np.zeros(len(design.settings), dtype=bool)
    rows: list[AnovaRow] = []
    if common.any():
        means = design.y[:, :, common].mean(axis=2)
        rows += _stratum(design, means[:, :, None], [term for term in terms if not inside & set(term)], False)
    rows += _stratum(design, design.y, [term for term in terms if inside & set(term)], True) if inside else []
    position = {":".join(term): number for number, term in enumerate(terms)}  # terms with fewer factors come first
    shown = {":".join(pair): " = ".join(":".join(each) for each in (pair, *others)) for pair, others in aliased.items()}
    rows.sort(key=lambda row: position[row.term])
    return tuple(replace(row, term=shown.get(row.term, row.term)) for row in rows)


def _stratum(design: Design, y: Array, terms: list[tuple[str, ...]], within: bool) -> list[AnovaRow]:
    seed, cell, setting = np.nonzero(np.isfinite(y))
    if not terms or not len(seed):
        return []
    if np.isfinite(y).all() and _is_full(design, within):
        return _balanced(design, y, terms, within)
    sizes = {factor.name: len(factor.levels) for factor in design.factors}
    if len(design.cells) * y.shape[2] > MOST_COLUMNS or _columns(sizes) > MOST_COLUMNS:
        return []
    values = y[seed, cell, setting]
    run = np.unique(seed * len(design.cells) + cell, return_inverse=True)[1]
    levels = {factor.name: np.array([c[i] for c in design.cells])[cell] for i, factor in enumerate(design.between)}
    levels |= {
        factor.name: np.array([w[i] for w in design.settings])[setting]
        for i, factor in enumerate(design.inside)
        if within
    }

    def centre(columns: Array) -> Array:
        if not within:
            return columns
        totals = np.zeros((run.max() + 1, columns.shape[1]))
        np.add.at(totals, run, columns)
        return columns - (totals / np.bincount(run)[:, None])[run]

    coded = {
        name: np.vstack([np.eye(sizes[name] - 1), -np.ones(sizes[name] - 1)])[codes] for name, codes in levels.items()
    }

    def columns_of(term: tuple[str, ...]) -> Array:
        columns = np.ones((len(values), 1))
        for name in term:
            columns = np.einsum("ni,nj->nij", columns, coded[name]).reshape(len(values), -1)
        return centre(columns)

    blocks = np.ones((len(values), 1))
    if design.block and not within:
        blocks = np.eye(len(design.y))[seed]
    base = centre(blocks) if within else blocks
    response = centre(values[:, None])[:, 0]
    saturated = centre(np.eye(len(design.cells) * y.shape[2])[cell * y.shape[2] + setting])
    error, rank = _residual(np.hstack([base, saturated]), response)
    df_error = len(values) - rank - (run.max() + 1 if within else 0)
    noise = error / df_error if df_error > 0 and error > (ROUNDING * np.abs(values).max()) ** 2 * len(values) else None
    # In the order of the factors, as the terms are: a within-run factor may come first.
    named = [factor.name for factor in design.factors if factor.name in levels]
    every = [term for size in range(1, len(named) + 1) for term in combinations(named, size)]
    inside = {factor.name for factor in design.inside}
    listed = {
        term: columns_of(term)
        for term in every
        if (term in terms or (len(term) <= 3 and design.fraction is None)) and (not within or inside & set(term))
    }
    base, listed, response = _triangular(base, listed, response)
    rows = []
    for term in terms:
        others = [columns for name, columns in listed.items() if not set(term) <= set(name)]
        reduced, rank_reduced = _residual(np.hstack([base, *others]), response)
        full, rank_full = _residual(np.hstack([base, *others, listed[term]]), response)
        df = rank_full - rank_reduced
        rows.append(_row(term, df, int(df_error), float(reduced - full), noise, within))
    return rows


def _row(term: tuple[str, ...], df: int, df_error: int, sum_sq: float, noise: float | None, within: bool) -> AnovaRow:
    """The F test of one term; ``noise`` is the error's mean square, None without any."""
    from scipy.special import fdtrc

    ratio = max(sum_sq / df / noise, 0.0) if noise and df > 0 else None
    return AnovaRow(
        term=":".join(term),
        df=df,
        df_error=df_error,
        sum_sq=max(sum_sq, 0.0) if df > 0 else None,
        F=ratio,
        p=None if ratio is None else float(fdtrc(df, df_error, ratio)),
        stratum="within run" if within else "between runs",
    )


def _is_full(design: Design, within: bool) -> bool:
    """Whether every combination of levels occurs."""
    cells = int(np.prod([len(factor.levels) for factor in design.between]))
    settings = int(np.prod([len(factor.levels) for factor in design.inside]))
    return len(design.cells) == cells and (not within or len(design.settings) == settings)


def _columns(sizes: dict[str, int]) -> int:
    """Columns of all main effects and of the interactions of up to three factors."""
    free = [size - 1 for size in sizes.values()]
    return int(sum(np.prod(chosen) for order in (1, 2, 3) for chosen in combinations(free, order)))


def _balanced(design: Design, y: Array, terms: list[tuple[str, ...]], within: bool) -> list[AnovaRow]:
    """The rows of a complete factorial, where sums of squares are those of differences of marginal means.

    Args:
        design: its factors; cells and settings are in the order of their levels.
        y: complete response [S, C, W], W = 1 for the stratum between runs.
        terms: the terms to test.
        within: whether they are tested on deviations from their run's mean.
    """
    seeds, cells, settings = y.shape
    values = y - y.mean(axis=2, keepdims=True) if within else y
    error = values - values.mean(axis=0)
    df_error = cells * (seeds - 1) * ((settings - 1) if within else 1)
    if design.block and not within:
        error = error - error.mean(axis=1, keepdims=True)
        df_error = (cells - 1) * (seeds - 1)
    square = float((error**2).sum())
    exists = df_error > 0 and square > (ROUNDING * np.abs(y).max()) ** 2 * y.size
    factors = [*design.between, *(design.inside if within else ())]
    means = values.mean(axis=0).reshape([len(factor.levels) for factor in factors])
    axes = {factor.name: axis for axis, factor in enumerate(factors)}
    rows = []
    for term in terms:
        kept = [axes[name] for name in term]
        effect = means.mean(axis=tuple(axis for axis in range(means.ndim) if axis not in kept), keepdims=True)
        for axis in kept:  # each marginal mean off in turn leaves the interaction alone
            effect = effect - effect.mean(axis=axis, keepdims=True)
        df = int(np.prod([means.shape[axis] - 1 for axis in kept]))
        sum_sq = float((effect**2).sum()) * y.size / effect.size
        rows.append(_row(term, df, df_error, sum_sq, square / df_error if exists else None, within))
    return rows


def _triangular(
    base: Array, listed: dict[tuple[str, ...], Array], values: Array
) -> tuple[Array, dict[tuple[str, ...], Array], Array]:
    """The same least-squares problems with as many rows as columns, by one orthogonal transformation of all of them."""
    parts = [base, *listed.values(), values[:, None]]
    if sum(part.shape[1] for part in parts) >= len(values):
        return base, listed, values
    triangle = np.linalg.qr(np.hstack(parts), mode="r")
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    first, *middle, last = np.split(triangle, ends, axis=1)
    return first, dict(zip(listed, middle, strict=True)), last[:, 0]


def _residual(design: Array, values: Array) -> tuple[float, int]:
    """Residual sum of squares and rank of a least-squares fit."""
    effects, _, rank, _ = np.linalg.lstsq(design, values, rcond=1e-10)
    return float(((values - design @ effects) ** 2).sum()), int(rank)
