"""What is compared with what: the weights of main effects, simple effects, trends and interactions.

Every contrast is a product of one vector per factor (over its levels), averaged over the contexts, the settings of
the other factors, in which all the levels it needs exist. That is how nested factors and one-at-a-time grids are
compared only where a comparison exists. A fractional design has no such contexts: its effects are estimated from all
cells at once, by `sota_bench.stats.fractions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats.design import Design
from sota_bench.stats.fractions import Regression
from sota_bench.stats.kernels import Array
from sota_bench.stats.levels import Factor
from sota_bench.stats.result import INTERACTION, LINEAR, MAIN, QUADRATIC, SIMPLE, Alias

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Vectors = Mapping[str, Array]


@dataclass(frozen=True)
class Contrast:
    """One comparison.

    Attributes:
        kind: main, simple, trend-linear, trend-quadratic or interaction.
        factor, level, baseline: what is compared (a trend: from its smallest to its largest level).
        other: for an interaction, the second factor with its level and baseline.
        at: for a simple effect, the factor that is held and its level.
        inner: weights of the evaluations inside a run [C, W]; they make one number of each run. Contrasts that share
            them share the array.
        contexts: weights of the runs, one row per context [O, C], sparse; no row where nothing can be compared.
        own: cells whose residual is the pooled error [C], shared likewise.
        part: "" or which cells took part, where that is not all of them.
        aliases: in a fractional design, the other effects that it carries.
        apart: whether nothing is left to compare because the levels are judged on different images.
    """

    kind: str
    factor: str
    level: str
    baseline: str
    inner: Array
    contexts: csr_array
    own: NDArray[np.bool_]
    other: tuple[str, str, str] | None = None
    at: tuple[str, str] | None = None
    part: str = ""
    aliases: tuple[Alias, ...] = ()
    apart: bool = False

    @property
    def possible(self) -> bool:
        """Whether there is a context in which all that it compares exists."""
        return bool(self.contexts.shape[0])

    @property
    def cells(self) -> NDArray[np.intp]:
        """The cells that take part, in order."""
        return np.unique(self.contexts.indices)

    @property
    def weights(self) -> Array:
        """Average over contexts [C]."""
        return np.asarray(self.contexts.mean(axis=0)).reshape(-1)

    @property
    def within(self) -> bool:
        """Whether the comparison is made inside each run, so that runs are averaged, not compared."""
        return self.possible and abs(float(self.contexts[[0]].sum())) > 0.5


def main_contrasts(design: Design) -> list[Contrast]:
    """Every level against the first one of its factor."""
    builder = _Builder(design)
    return [builder.pair(factor, level) for factor in design.factors for level in range(1, len(factor.levels))]


def trend_contrasts(design: Design) -> list[Contrast]:
    """Linear and quadratic trends of numeric factors with at least three levels."""
    builder, trends = _Builder(design), []
    for factor in design.factors:
        numbers = factor.numbers
        if numbers is None or len(numbers) < 3:
            continue
        low, high = factor.levels[int(np.argmin(numbers))], factor.levels[int(np.argmax(numbers))]
        for kind, vector in zip((LINEAR, QUADRATIC), polynomials(np.array(numbers)), strict=True):
            trend = builder.build({factor.name: vector}, {})
            trends.append(replace(trend, kind=kind, factor=factor.name, level=high, baseline=low))
    return trends


def interaction_contrasts(design: Design) -> list[Contrast]:
    """Differences of differences, for every pair of factors and every pair of their levels against the first ones."""
    builder, interactions = _Builder(design), []
    for first, second in combinations(design.factors, 2):
        for i, j in product(range(1, len(first.levels)), range(1, len(second.levels))):
            crossed = builder.build({first.name: _pair(first, i), second.name: _pair(second, j)}, {})
            other = (second.name, second.levels[j], second.levels[0])
            named = replace(crossed, factor=first.name, level=first.levels[i], baseline=first.levels[0])
            interactions.append(replace(named, kind=INTERACTION, other=other))
    return interactions if design.fraction is None else _distinct(interactions)


def _distinct(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts without those that estimate the same as an earlier one, which has them among its aliases."""
    kept: dict[tuple[bytes, ...], Contrast] = {}
    for number, contrast in enumerate(contrasts):
        name: tuple[bytes, ...] = (str(number).encode(),)
        if contrast.possible:
            weights = contrast.weights
            direction = weights / weights[np.flatnonzero(weights)[0]]
            name = (np.round(direction, 6).tobytes(), contrast.inner.tobytes())
        kept.setdefault(name, contrast)
    return list(kept.values())


def simple_contrasts(design: Design, first: str, second: str) -> list[Contrast]:
    """The effects of one factor at every level of another one, both ways, with their own cells' error."""
    builder, by_name = _Builder(design), {factor.name: factor for factor in design.factors}
    effects = []
    for moving, held in ((by_name[first], by_name[second]), (by_name[second], by_name[first])):
        for at, level in product(range(len(held.levels)), range(1, len(moving.levels))):
            effect = builder.pair(moving, level, {held.name: at})
            effects.append(replace(effect, kind=SIMPLE, at=(held.name, held.levels[at])))
    return effects


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


class _Inside(NamedTuple):
    """What contrasts with the same vectors over evaluations, and the same levels held, have in common."""

    inner: Array
    own: NDArray[np.bool_]
    levels: list[NDArray[np.intp]]  # of each between-run factor, those that occur in these cells


class _Builder:
    """Builds the contrasts of one design; what many of them share is computed once."""

    def __init__(self, design: Design) -> None:
        self.design = design
        self.codes = np.array(design.cells, dtype=np.intp).reshape(len(design.cells), len(design.between))
        self.setting_codes = np.array(design.settings, dtype=np.intp).reshape(len(design.settings), len(design.inside))
        self._inside: dict[tuple[bytes, ...], _Inside] = {}
        self._contexts: dict[tuple[int, ...], NDArray[np.intp]] = {}
        sets = design.judged
        self.image_sets = None if sets is None else np.eye(int(sets.max()) + 1)[sets]
        runs = design.fraction
        self.regression = None if runs is None else Regression(design.between, self.codes, runs)

    def pair(self, factor: Factor, level: int, held: Mapping[str, int] | None = None) -> Contrast:
        """A level against the first one, with some factors held at a level."""
        contrast = self.build({factor.name: _pair(factor, level)}, held or {})
        return replace(contrast, factor=factor.name, level=factor.levels[level], baseline=factor.levels[0])

    def build(self, vectors: Vectors, held: Mapping[str, int]) -> Contrast:
        """The contrast that multiplies one vector per named factor, with some factors held at a level."""
        from scipy.sparse import csr_array

        if self.regression is not None and any(factor.name in vectors for factor in self.design.between):
            return self._regressed(self.regression, vectors, held)
        inside = self._evaluations(vectors, held)
        moving = [position for position, factor in enumerate(self.design.between) if factor.name in vectors]
        weight = inside.own.astype(float)
        for position in moving:
            weight *= vectors[self.design.between[position].name][self.codes[:, position]]
        used = np.flatnonzero(weight)
        context = self._context_of_cell(tuple(moving))[used]
        needed = np.prod([np.count_nonzero(vectors[self.design.between[position].name]) for position in moving])
        complete = np.bincount(context)[context] == needed if len(used) else np.zeros(0, dtype=bool)
        used, row = used[complete], np.unique(context[complete], return_inverse=True)[1].reshape(-1)
        shape = (int(row.max(initial=-1)) + 1, len(self.codes))
        contexts = csr_array((weight[used], (row, used)), shape=shape)
        fair = self._on_same_images(contexts)
        if not fair.all():
            contexts = csr_array(contexts[np.flatnonzero(fair)])
        part = self._part(np.unique(contexts.indices), inside, vectors)
        return Contrast(MAIN, "", "", "", inside.inner, contexts, inside.own, part=part,
                        apart=bool(len(fair)) and not fair.any())  # fmt: skip

    def _regressed(self, regression: Regression, vectors: Vectors, held: Mapping[str, int]) -> Contrast:
        """The contrast in a fractional design, from all its cells."""
        from scipy.sparse import csr_array

        between = {factor.name: position for position, factor in enumerate(self.design.between)}
        inside = self._evaluations(vectors, {name: level for name, level in held.items() if name not in between})
        over_levels = {between[name]: vector for name, vector in vectors.items() if name in between}
        for name, level in held.items():
            if name in between:
                over_levels[between[name]] = np.eye(len(self.design.between[between[name]].levels))[level]
        weights = regression.weights(over_levels) if inside.own.all() else None
        contexts = csr_array((0, len(self.codes)) if weights is None else weights[None])
        aliases = () if weights is None else regression.aliases(weights, frozenset(over_levels))
        fair = self._on_same_images(contexts)
        if not fair.all():
            contexts = csr_array((0, len(self.codes)))
        return Contrast(MAIN, "", "", "", inside.inner, contexts, inside.own, aliases=aliases,
                        apart=bool(len(fair)) and not fair.any())  # fmt: skip

    def _evaluations(self, vectors: Vectors, held: Mapping[str, int]) -> _Inside:
        """The weights of the evaluations inside each run, and the cells that have them all."""
        design = self.design
        moved = [vectors[factor.name].tobytes() if factor.name in vectors else b"" for factor in design.inside]
        compares_runs = any(factor.name in vectors for factor in design.between)
        key = (*moved, repr(sorted(held.items())).encode(), str(compares_runs).encode())
        if key in self._inside:
            return self._inside[key]
        at_cells = _matches(design.between, self.codes, held)
        occurs = design.occurs & at_cells[:, None] & _matches(design.inside, self.setting_codes, held)[None]
        own = occurs.any(axis=1)
        groups = _groups(self.setting_codes, design.inside, vectors)
        inner = np.zeros(occurs.shape)
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
        own = np.asarray(own & (inner != 0).any(axis=1))
        levels = [np.unique(column) for column in self.codes[own].T]
        return self._inside.setdefault(key, _Inside(inner, own, levels))

    def _context_of_cell(self, moving: tuple[int, ...]) -> NDArray[np.intp]:
        """The context of each cell [C]: cells that agree in all factors but the moving ones share it."""
        if moving not in self._contexts:
            fixed = np.delete(self.codes, moving, axis=1)
            number = np.zeros(len(fixed), dtype=np.intp)
            if fixed.size:
                number = np.unique(fixed, axis=0, return_inverse=True)[1].reshape(-1)
            self._contexts[moving] = number
        return self._contexts[moving]

    def _on_same_images(self, contexts: csr_array) -> NDArray[np.bool_]:
        """The contexts that compare accuracies on one set of images, or differences between such accuracies."""
        if self.image_sets is None:
            return np.ones(contexts.shape[0], dtype=bool)
        used = (abs(contexts) @ self.image_sets > 0).sum(axis=1)
        balanced = (np.abs(contexts @ self.image_sets) < 1e-9).all(axis=1)
        return np.asarray((used == 1) | balanced)

    def _part(self, used: NDArray[np.intp], inside: _Inside, vectors: Vectors) -> str:
        """Words for the cells that took part, where other factors' levels had to be left out."""
        words = []
        for position, factor in enumerate(self.design.between):
            if factor.name in vectors or not len(used):
                continue
            present = np.unique(self.codes[used, position])
            if len(present) < len(inside.levels[position]):
                names = ", ".join(factor.levels[level] for level in present)
                words.append(f"{factor.name} = {names}")
        return "; ".join(words)


def _matches(factors: tuple[Factor, ...], codes: NDArray[np.intp], held: Mapping[str, int]) -> NDArray[np.bool_]:
    """Which rows of level codes have the held levels."""
    matches = np.ones(len(codes), dtype=bool)
    for position, factor in enumerate(factors):
        if factor.name in held:
            matches &= codes[:, position] == held[factor.name]
    return matches


def _groups(codes: NDArray[np.intp], factors: tuple[Factor, ...], vectors: Vectors) -> list[Array]:
    """One weight vector over settings per setting of the factors that the vectors leave alone, where it is complete."""
    moving = [position for position, factor in enumerate(factors) if factor.name in vectors]
    weight = np.ones(len(codes))
    for position in moving:
        weight *= vectors[factors[position].name][codes[:, position]]
    needed = int(np.prod([np.count_nonzero(vectors[factors[position].name]) for position in moving]))
    fixed = np.delete(codes, moving, axis=1)
    groups = np.unique(fixed, axis=0, return_inverse=True)[1].reshape(-1) if fixed.size else np.zeros(len(codes), int)
    rows = [np.where(groups == number, weight, 0.0) for number in np.unique(groups)]
    return [row for row in rows if np.count_nonzero(row) == needed]
