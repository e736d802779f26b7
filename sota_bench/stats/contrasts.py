"""What is compared with what: the weights of main effects, simple effects, trends and interactions.

Every contrast is a product of one vector per factor (over its levels), averaged over the contexts, the settings of
the other factors, in which all the levels it needs exist. That is how nested factors and one-at-a-time grids are
compared only where a comparison exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats.design import Design
from sota_bench.stats.kernels import Array
from sota_bench.stats.levels import Factor
from sota_bench.stats.result import INTERACTION, LINEAR, MAIN, QUADRATIC, SIMPLE


@dataclass(frozen=True)
class Contrast:
    """One comparison.

    Attributes:
        kind: main, simple, trend-linear, trend-quadratic or interaction.
        factor, level, baseline: what is compared (a trend: from its smallest to its largest level).
        other: for an interaction, the second factor with its level and baseline.
        at: for a simple effect, the factor that is held and its level.
        inner: weights of the evaluations inside a run [C, W]; they make one number of each run.
        contexts: weights of the runs, one row per context [O, C]; no row where nothing can be compared.
        own: cells whose residual is the pooled error [C].
        part: "" or which cells took part, where that is not all of them.
        apart: whether nothing is left to compare because the levels are judged on different images.
    """

    kind: str
    factor: str
    level: str
    baseline: str
    inner: Array
    contexts: Array
    own: NDArray[np.bool_]
    other: tuple[str, str, str] | None = None
    at: tuple[str, str] | None = None
    part: str = ""
    apart: bool = False

    @property
    def weights(self) -> Array:
        """Average over contexts [C]."""
        return np.asarray(self.contexts.mean(axis=0))

    @property
    def within(self) -> bool:
        """Whether the comparison is made inside each run, so that runs are averaged, not compared."""
        return bool(len(self.contexts)) and abs(float(self.contexts[0].sum())) > 0.5


def main_contrasts(design: Design) -> list[Contrast]:
    """Every level against the first one of its factor."""
    return [_named(design, factor, level) for factor in design.factors for level in range(1, len(factor.levels))]


def trend_contrasts(design: Design) -> list[Contrast]:
    """Linear and quadratic trends of numeric factors with at least three levels."""
    found = []
    for factor in design.factors:
        numbers = factor.numbers
        if numbers is None or len(numbers) < 3:
            continue
        low, high = factor.levels[int(np.argmin(numbers))], factor.levels[int(np.argmax(numbers))]
        for kind, vector in zip((LINEAR, QUADRATIC), polynomials(np.array(numbers)), strict=True):
            built = _build(design, {factor.name: vector}, {})
            found.append(replace(built, kind=kind, factor=factor.name, level=high, baseline=low))
    return found


def interaction_contrasts(design: Design) -> list[Contrast]:
    """Differences of differences, for every pair of factors and every pair of their levels against the first ones."""
    found = []
    for first, second in combinations(design.factors, 2):
        for i, j in product(range(1, len(first.levels)), range(1, len(second.levels))):
            vectors = {first.name: _pair(first, i), second.name: _pair(second, j)}
            built = _build(design, vectors, {})
            other = (second.name, second.levels[j], second.levels[0])
            named = replace(built, factor=first.name, level=first.levels[i], baseline=first.levels[0])
            found.append(replace(named, kind=INTERACTION, other=other))
    return found


def simple_contrasts(design: Design, first: str, second: str) -> list[Contrast]:
    """The effects of one factor at every level of another one, both ways, with their own cells' error."""
    by_name = {factor.name: factor for factor in design.factors}
    found = []
    for moving, held in ((by_name[first], by_name[second]), (by_name[second], by_name[first])):
        for at, level in product(range(len(held.levels)), range(1, len(moving.levels))):
            one = _named(design, moving, level, {held.name: at})
            found.append(replace(one, kind=SIMPLE, at=(held.name, held.levels[at])))
    return found


def polynomials(x: Array) -> tuple[Array, Array]:
    """Linear and quadratic contrasts over levels at ``x``, orthogonal for any spacing.

    The linear one is the fitted slope times the range of x: the change from the smallest to the largest level along
    the line. The quadratic one is scaled so that its positive weights sum to 1: a mean of some levels minus a mean of
    the others (for three equal steps: the ends minus the middle), positive where the curve is convex.

    Args:
        x: distinct level values [K], K >= 3.
    """
    scaled = (x - x.mean()) / (x.max() - x.min())
    basis, _ = np.linalg.qr(np.vander(scaled, 3, increasing=True))
    linear = scaled / (scaled**2).sum()
    quadratic = basis[:, 2] * np.sign(basis[np.argmax(x), 2])
    return linear, quadratic / quadratic[quadratic > 0].sum()


def _pair(factor: Factor, level: int) -> Array:
    vector = np.zeros(len(factor.levels))
    vector[0], vector[level] = -1.0, 1.0
    return vector


def _named(design: Design, factor: Factor, level: int, fixed: Mapping[str, int] | None = None) -> Contrast:
    built = _build(design, {factor.name: _pair(factor, level)}, fixed or {})
    return replace(built, factor=factor.name, level=factor.levels[level], baseline=factor.levels[0])


def _build(design: Design, vectors: Mapping[str, Array], fixed: Mapping[str, int]) -> Contrast:
    """The contrast that multiplies one vector per named factor, with some factors held at a level."""
    occurs = design.occurs & _matches(design.between, design.cells, fixed)[:, None]
    occurs &= _matches(design.inside, design.settings, fixed)[None, :]
    own = occurs.any(axis=1)
    names = [factor.name for factor in design.inside]
    groups = _groups(design.settings, names, vectors)
    compares_runs = any(factor.name in vectors for factor in design.between)
    inner = np.zeros((len(design.cells), len(design.settings)))
    if compares_runs:
        # Runs are compared at the evaluation settings that all of them have.
        usable = [group for group in groups if occurs[own][:, group != 0].all()] if own.any() else []
        if usable:
            inner[own] = np.mean(usable, axis=0)
    else:
        for cell in np.flatnonzero(own):
            usable = [group for group in groups if occurs[cell, group != 0].all()]
            if usable:
                inner[cell] = np.mean(usable, axis=0)
    own &= (inner != 0).any(axis=1)
    kept = [cell for cell, use in zip(design.cells, own, strict=True) if use]
    reduced = _groups(kept, [factor.name for factor in design.between], vectors)
    contexts = np.zeros((len(reduced), len(design.cells)))
    contexts[:, own] = np.reshape(reduced, (len(reduced), len(kept)))
    fair = _on_same_images(design, contexts)
    part = _part(design, contexts[fair], kept, vectors)
    return Contrast(MAIN, "", "", "", inner, contexts[fair], own, part=part, apart=bool(len(fair)) and not fair.any())


def _on_same_images(design: Design, contexts: Array) -> NDArray[np.bool_]:
    """The contexts in which accuracies on one set of images are compared, or differences between such accuracies."""
    if design.judged is None:
        return np.ones(len(contexts), dtype=bool)
    sets = [contexts[:, design.judged == number] for number in np.unique(design.judged)]
    used = np.sum([(part != 0).any(axis=1) for part in sets], axis=0)
    balanced = np.all([np.abs(part.sum(axis=1)) < 1e-9 for part in sets], axis=0)
    return np.asarray((used == 1) | balanced)


def _matches(
    factors: tuple[Factor, ...], cells: tuple[tuple[int, ...], ...], fixed: Mapping[str, int]
) -> NDArray[np.bool_]:
    return np.array(
        [all(fixed.get(f.name, level) == level for f, level in zip(factors, cell, strict=True)) for cell in cells],
        dtype=bool,
    )


def _groups(
    cells: tuple[tuple[int, ...], ...] | list[tuple[int, ...]], names: list[str], vectors: Mapping[str, Array]
) -> list[Array]:
    """One weight vector over cells per setting of the factors that the vectors leave alone, where it is complete."""
    moving = [position for position, name in enumerate(names) if name in vectors]
    needed = int(np.prod([np.count_nonzero(vectors[names[position]]) for position in moving]))
    found: dict[tuple[int, ...], Array] = {}
    for number, cell in enumerate(cells):
        weight = float(np.prod([vectors[names[position]][cell[position]] for position in moving]))
        if weight:
            rest = tuple(level for position, level in enumerate(cell) if position not in moving)
            found.setdefault(rest, np.zeros(len(cells)))[number] = weight
    return [weights for _, weights in sorted(found.items()) if np.count_nonzero(weights) == needed]


def _part(design: Design, contexts: Array, kept: list[tuple[int, ...]], vectors: Mapping[str, Array]) -> str:
    """Words for the cells that took part, where other factors' levels had to be left out."""
    used = [cell for cell, weight in zip(design.cells, np.abs(contexts).sum(axis=0), strict=True) if weight]
    words = []
    for position, factor in enumerate(design.between):
        if factor.name in vectors or not used:
            continue
        present, all_levels = {cell[position] for cell in used}, {cell[position] for cell in kept}
        if present < all_levels:
            names = ", ".join(factor.levels[level] for level in sorted(present))
            words.append(f"{factor.name} = {names}")
    return "; ".join(words)
