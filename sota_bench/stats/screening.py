"""One seed: no error to test against, so effects are screened by their own spread (Lenth's pseudo standard error).

Lenth, "Quick and easy analysis of unreplicated factorials", Technometrics 31(4), 1989. Effects inside a run vary less
than effects between runs, so each kind is screened among its own, as in an unreplicated split-plot experiment
(Montgomery, Design and Analysis of Experiments, chapter 14).
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, product

import numpy as np

from sota_bench.stats import split_plot
from sota_bench.stats.contrasts import polynomials
from sota_bench.stats.design import Design
from sota_bench.stats.fractions import Regression, aliased_pairs
from sota_bench.stats.kernels import Array
from sota_bench.stats.result import ScreenedEffect, ScreenedStratum, Screening

# Fewer effects than this leave Lenth's estimate without meaning (its df is a third of their number).
FEWEST_EFFECTS = 3

BETWEEN, WITHIN, INSIDE = "between runs", "between runs that share a part", "within run"
NOT_SCREENED = "not screened"


def lenth(effects: Array, alpha: float = 0.05) -> tuple[float, float, float]:
    """Pseudo standard error, margin of error and simultaneous margin of error of an unreplicated factorial.

    ``s0 = 1.5 median |e|``; ``PSE = 1.5 median of the |e| below 2.5 s0``; the margins are PSE times quantiles of t
    with m / 3 degrees of freedom, at ``1 - alpha / 2`` and at ``(1 + (1 - alpha)^(1/m)) / 2``.

    Args:
        effects: m effects of equal variance [m].
        alpha: two-sided level.
    """
    from scipy.stats import t

    size = np.abs(np.asarray(effects, dtype=float))
    rough = 1.5 * np.median(size)
    inner = size[size < 2.5 * rough]
    pse = float(1.5 * np.median(inner)) if len(inner) else 0.0
    count = len(size)
    single, joint = 1 - alpha / 2, (1 + (1 - alpha) ** (1 / count)) / 2
    return pse, pse * float(t.ppf(single, count / 3)), pse * float(t.ppf(joint, count / 3))


def screen(design: Design, alpha: float = 0.05) -> Screening | None:
    """Screening of a full factorial with one seed: all its effects, with Lenth's margins.

    Effects are scaled as differences of two half-table means (level minus baseline for two-level factors), so that
    those of one stratum have the same variance. ``quantile`` is each effect's place on its stratum's half-normal plot.
    Where cells are missing, the largest full factorial with some factors held at their baseline is screened. Of a
    fractional design, main effects and interactions of two factors are screened, aliased ones as one.

    Returns:
        Strata and effects; None where no such table has three effects of one stratum.
    """
    from scipy.stats import norm

    by_stratum: dict[str, list[tuple[str, float]]] = defaultdict(list)
    held: tuple[int, ...] = ()
    if design.fraction is not None:
        by_stratum[BETWEEN] = _fractional_effects(design, design.fraction)
    else:
        values, cells = _table(design)
        largest = _held(np.isfinite(values))
        if largest is None:
            return None
        held = largest
        at = tuple(slice(0, 1) if axis in held else slice(None) for axis in range(values.ndim))
        for stratum, term, value in _effects(design, values[at], cells[at]):
            by_stratum[stratum].append((term, value))
    strata, effects = [], []
    for stratum in sorted(by_stratum, key=(BETWEEN, WITHIN, INSIDE).index):
        terms = by_stratum[stratum]
        size = np.abs([value for _, value in terms])
        margins = lenth(size, alpha) if len(terms) >= FEWEST_EFFECTS else (None, None, None)
        strata.append(ScreenedStratum(stratum, len(terms), *margins))
        quantiles = norm.ppf(0.5 + 0.5 * (np.argsort(np.argsort(size)) + 0.5) / len(terms))
        effects += [
            ScreenedEffect(term, value, float(quantile), stratum, _outside(abs(value), *margins[1:]))
            for (term, value), quantile in zip(terms, quantiles, strict=True)
        ]
    if all(stratum.pse is None for stratum in strata):
        return None
    part = "; ".join(f"{design.factors[axis].name} = {design.factors[axis].levels[0]}" for axis in held)
    return Screening(tuple(strata), tuple(effects), part)


def _outside(size: float, margin: float | None, joint: float | None) -> str:
    if margin is None or joint is None:
        return NOT_SCREENED
    return "simultaneous margin" if size > joint else "margin" if size > margin else "inside"


def _table(design: Design) -> tuple[Array, Array]:
    """Responses, NaN where missing, and the number of each one's cell: one axis per factor, in their order."""
    shape = tuple(len(factor.levels) for factor in design.factors)
    values, cells = np.full(shape, np.nan), np.zeros(shape)
    names = [factor.name for factor in (*design.between, *design.inside)]
    order = [names.index(factor.name) for factor in design.factors]
    for (c, cell), (w, setting) in product(enumerate(design.cells), enumerate(design.settings)):
        levels = (*cell, *setting)
        results = design.y[:, c, w][np.isfinite(design.y[:, c, w])]
        position = tuple(levels[i] for i in order)
        values[position], cells[position] = results.mean() if len(results) else np.nan, c
    return values, cells


def _held(present: Array) -> tuple[int, ...] | None:
    """The factors to hold at their baseline so that the largest full factorial of at least four cells is left."""
    best: tuple[int, tuple[int, ...]] | None = None
    for count in range(present.ndim):
        for held in combinations(range(present.ndim), count):
            part = present[tuple(0 if axis in held else slice(None) for axis in range(present.ndim))]
            if part.all() and part.size > FEWEST_EFFECTS and (best is None or part.size > best[0]):
                best = part.size, held
    return None if best is None else best[1]


def _effects(design: Design, values: Array, cells: Array) -> list[tuple[str, str, float]]:
    """All effects of a complete table as (stratum, term, effect), one per degree of freedom, scaled alike."""
    factors = design.factors
    moving = [axis for axis in range(values.ndim) if values.shape[axis] > 1]
    bases = {axis: _basis(len(factors[axis].levels), factors[axis].numbers) for axis in moving}
    effects = []
    for chosen in (c for size in range(1, len(moving) + 1) for c in combinations(moving, size)):
        for index in product(*(range(len(bases[axis])) for axis in chosen)):
            weights = np.ones(values.shape)
            for axis, row in zip(chosen, index, strict=True):
                along = [-1 if other == axis else 1 for other in range(values.ndim)]
                weights = weights * bases[axis][row].reshape(along)
            weights /= np.sqrt((weights**2).sum())
            parts = [
                factors[axis].name + (f"[{row + 1}]" if values.shape[axis] > 2 else "")
                for axis, row in zip(chosen, index, strict=True)
            ]
            inside = any(factors[axis].within for axis in chosen)
            stratum = INSIDE if inside else _between(design, weights, cells)
            effect = 2.0 / np.sqrt(values.size) * float((weights * values).sum())
            effects.append((stratum, ":".join(parts), effect))
    return effects


def _fractional_effects(design: Design, runs: Array) -> list[tuple[str, float]]:
    """Main effects and interactions of two factors between runs as (term, effect), orthogonal to those before."""
    codes = np.array(design.cells, dtype=np.intp)
    values = np.nanmean(design.y, axis=(0, 2))
    regression = Regression(design.between, codes, runs)
    names = [factor.name for factor in design.between]
    same = aliased_pairs(design.between, design.cells, runs)
    columns = {(position,): regression.terms[(position,)] for position in range(len(names))} | {
        pair: basis for pair, basis in regression.pairs.items() if (names[pair[0]], names[pair[1]]) in same
    }
    found, effects = np.full((len(values), 1), len(values) ** -0.5), []
    for term, basis in columns.items():
        new = basis - found @ (found.T @ basis)
        directions, size, _ = np.linalg.svd(new, full_matrices=False)
        directions = directions[:, size > 1e-6]
        label = ":".join(names[position] for position in term)
        others = same.get((names[term[0]], names[term[1]]), []) if len(term) == 2 else []
        label = " = ".join([label, *(":".join(other) for other in others)])
        for number, direction in enumerate(directions.T, 1):
            towards = direction * np.sign(direction @ codes[:, list(term)].prod(axis=1) or 1.0)
            which = f"[{number}]" if directions.shape[1] > 1 else ""
            effects.append((label + which, 2.0 * len(values) ** -0.5 * float(towards @ values)))
        found = np.hstack([found, directions])
    return effects


def _between(design: Design, weights: Array, cells: Array) -> str:
    """Whether an effect between runs compares runs that share a part of their training."""
    if design.plots is None:
        return BETWEEN
    by_cell = np.zeros(len(design.cells))
    np.add.at(by_cell, cells.astype(int).ravel(), weights.ravel())
    return WITHIN if split_plot.placed(by_cell, design.plots) in (split_plot.WITHIN, split_plot.MIXED) else BETWEEN


def _basis(levels: int, numbers: tuple[float, ...] | None) -> Array:
    """Orthonormal contrasts [levels - 1, levels]: polynomials for three numbers, else each against the ones before."""
    if numbers is not None and levels == 3:
        rows = np.array(polynomials(np.array(numbers)))
    else:
        rows = np.array([[*([-1.0] * i), float(i), *([0.0] * (levels - i - 1))] for i in range(1, levels)])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
