"""One seed: no error to test against, so effects are screened by their own spread (Lenth's pseudo standard error).

Lenth, "Quick and easy analysis of unreplicated factorials", Technometrics 31(4), 1989.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from sota_bench.stats.contrasts import polynomials
from sota_bench.stats.design import Design
from sota_bench.stats.kernels import Array

# Fewer effects than this leave Lenth's estimate without meaning (its df is a third of their number).
FEWEST_EFFECTS = 3


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


def screen(design: Design, alpha: float = 0.05) -> dict[str, Any] | None:
    """Screening of a full factorial with one seed: all its effects, with Lenth's margins.

    Effects are scaled as differences of two half-table means (level minus baseline for two-level factors), so that
    all have the same variance. ``quantile`` is each effect's place on a half-normal plot.

    Returns:
        ``{"pse", "margin", "simultaneous_margin", "effects": [{"term", "estimate", "quantile", "outside"}]}`` with
        ``outside`` one of "simultaneous margin", "margin" or "inside"; None where the table is not a full factorial
        of at least four cells.
    """
    from scipy.stats import norm

    factors = design.factors
    shape = tuple(len(factor.levels) for factor in factors)
    total = int(np.prod(shape))
    if total - 1 < FEWEST_EFFECTS or len(design.cells) * len(design.settings) != total:
        return None
    grid = np.full(shape, np.nan)
    names = [factor.name for factor in (*design.between, *design.inside)]
    order = [names.index(factor.name) for factor in factors]
    for c, cell in enumerate(design.cells):
        for w, setting in enumerate(design.settings):
            levels = (*cell, *setting)
            value = design.y[:, c, w]
            grid[tuple(levels[i] for i in order)] = (
                value[np.isfinite(value)].mean() if np.isfinite(value).any() else np.nan
            )
    if not np.isfinite(grid).all():
        return None
    effects = _effects(design, grid)
    values = np.array([value for _, value in effects])
    pse, margin, joint = lenth(values, alpha)
    rank = np.argsort(np.argsort(np.abs(values)))
    places = norm.ppf(0.5 + 0.5 * (rank + 0.5) / len(values))
    rows = [
        {
            "term": term,
            "estimate": float(value),
            "quantile": float(place),
            "outside": "simultaneous margin" if abs(value) > joint else "margin" if abs(value) > margin else "inside",
        }
        for (term, value), place in zip(effects, places, strict=True)
    ]
    return {"pse": pse, "margin": margin, "simultaneous_margin": joint, "effects": rows}


def _effects(design: Design, grid: Array) -> list[tuple[str, float]]:
    """All effects of a complete table, one per degree of freedom, in the scale of a two-level effect."""
    factors = design.factors
    bases = [_basis(len(factor.levels), factor.numbers) for factor in factors]
    found = []
    for size in range(1, len(factors) + 1):
        for chosen in combinations(range(len(factors)), size):
            value = grid
            # From the last axis to the first, so that positions stay valid while axes are contracted.
            for axis in reversed(range(len(factors))):
                matrix = bases[axis] if axis in chosen else np.full((1, grid.shape[axis]), grid.shape[axis] ** -0.5)
                value = np.moveaxis(np.tensordot(matrix, value, axes=(1, axis)), 0, axis)
            for index in np.ndindex(value.shape):
                parts = [
                    factors[axis].name + (f"[{index[axis] + 1}]" if grid.shape[axis] > 2 else "") for axis in chosen
                ]
                found.append((":".join(parts), 2.0 / np.sqrt(grid.size) * float(value[index])))
    return found


def _basis(levels: int, numbers: tuple[float, ...] | None) -> Array:
    """Orthonormal contrasts [levels - 1, levels]: polynomials for three numbers, else each against the ones before."""
    if numbers is not None and levels == 3:
        rows = np.array(polynomials(np.array(numbers)))
    else:
        rows = np.array([[*([-1.0] * i), float(i), *([0.0] * (levels - i - 1))] for i in range(1, levels)])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
