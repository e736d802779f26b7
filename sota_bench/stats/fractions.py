"""Contrasts of a fractional factorial design: estimates by regression on the coded levels, and their aliases.

In a fraction no two cells need to differ in one factor alone. An effect is estimated from all cells, by least squares
of the main effects, and for an effect of two factors of their interaction too; where the fraction is complete, that is
the difference between the means of the cells at each level, in which every other factor is balanced. Where cells are
missing, a main effect is freed of all interactions of two factors by fitting these too, if the cells allow that at a
bearable cost. What an estimate carries beside the effect itself, its aliases, is found from the cells that there are:
the other effects whose columns are not orthogonal to its weights (Box and Hunter, Technometrics 3, 1961).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats.kernels import Array
from sota_bench.stats.levels import Factor
from sota_bench.stats.result import Alias

MOST_FACTORS = 3
"""Interactions of up to three factors are named as aliases; those of more are rarely of any size."""

SMALL = 1e-7
"""Shares below this are rounding."""

BEARABLE = 2.0
"""A main effect of an incomplete fraction is freed of interactions where its variance grows by this factor at most."""


class Regression:
    """The least-squares estimates of one fraction.

    Args:
        factors: the factors between runs.
        codes: level index of each factor in each cell [C, F].
        runs: runs of the design that each cell stands for [C].
    """

    def __init__(self, factors: Sequence[Factor], codes: NDArray[np.intp], runs: Array) -> None:
        self.factors, self.codes, self.runs = tuple(factors), codes, runs
        self._models: dict[tuple[int, ...], tuple[Array, Array]] = {}

    def weights(self, vectors: Mapping[int, Array]) -> Array | None:
        """The weights of the cells [C] that estimate a product of one vector over levels per factor.

        Args:
            vectors: position of a factor -> a vector over its levels; at most two, at least one of which sums to 0.

        Returns:
            None where the cells do not determine it.
        """
        moving = tuple(sorted(vectors))
        model, inverse = self._model(moving)
        target = np.zeros(model.shape[1])
        for position, vector in vectors.items():
            others = [vectors[other].sum() for other in moving if other != position]
            target[self._main(position)] = vector[1:] * (np.prod(others) if others else 1.0)
        if len(moving) == 2:
            first, second = (vectors[position][1:] for position in moving)
            target[1 + sum(len(factor.levels) - 1 for factor in self.factors) :] = np.outer(first, second).ravel()
        weights = inverse.T @ target
        if not np.allclose(model.T @ weights, target, atol=1e-9):
            return None
        if len(moving) == 1:
            weights = self._freed(weights, model, target)
        return np.where(np.abs(weights) > SMALL * np.abs(weights).max(), weights, 0.0)

    def _freed(self, weights: Array, model: Array, target: Array) -> Array:
        """The estimate of a main effect without interactions of two factors, where it has some and can be without."""
        pairs = self._all_pairs
        if np.abs(pairs.T @ weights).max(initial=0.0) < SMALL * np.linalg.norm(weights):
            return weights
        columns = np.hstack([model, pairs])
        wanted = np.concatenate([target, np.zeros(pairs.shape[1])])
        freed = np.linalg.pinv(columns, rcond=1e-10).T @ wanted
        possible = np.allclose(columns.T @ freed, wanted, atol=1e-9)
        return freed if possible and (freed**2).sum() <= BEARABLE * (weights**2).sum() else weights

    @cached_property
    def _all_pairs(self) -> Array:
        """The columns of all interactions of two factors [C, P]."""
        return np.hstack([np.zeros((len(self.codes), 0)), *self.pairs.values()])

    @property
    def pairs(self) -> dict[tuple[int, int], Array]:
        """Positions of two factors -> an orthonormal basis of the columns of their interaction [C, P]."""
        return {(term[0], term[1]): basis for term, basis in self.terms.items() if len(term) == 2}

    def aliases(self, weights: Array, own: frozenset[int]) -> tuple[Alias, ...]:
        """The effects that an estimate carries beside its own, those of the fewest factors first.

        Args:
            weights: the estimate [C].
            own: positions of the factors that it is about.
        """
        size = float(np.linalg.norm(weights))
        carried = []
        for term, basis in self.terms.items():
            share = float(np.linalg.norm(basis.T @ weights)) / size
            if not own.issuperset(term) and share > SMALL:
                names = tuple(self.factors[position].name for position in term)
                carried.append(Alias(names, min(round(share, 6), 1.0)))
        return tuple(sorted(carried, key=lambda alias: (len(alias.factors), -alias.share)))

    def _main(self, position: int) -> slice:
        before = 1 + sum(len(factor.levels) - 1 for factor in self.factors[:position])
        return slice(before, before + len(self.factors[position].levels) - 1)

    def _model(self, moving: tuple[int, ...]) -> tuple[Array, Array]:
        """The columns of the regression [C, P], and the inverse that gives its coefficients from cell means [P, C]."""
        key = moving if len(moving) == 2 else ()
        if key not in self._models:
            dummies = [
                np.eye(len(factor.levels))[self.codes[:, position]][:, 1:]
                for position, factor in enumerate(self.factors)
            ]
            columns = [np.ones((len(self.codes), 1)), *dummies]
            if key:
                first, second = (dummies[position] for position in key)
                columns.append((first[:, :, None] * second[:, None]).reshape(len(self.codes), -1))
            model = np.hstack(columns)
            root = np.sqrt(self.runs)
            self._models[key] = model, np.asarray(np.linalg.pinv(root[:, None] * model, rcond=1e-10) * root)
        return self._models[key]

    @cached_property
    def terms(self) -> dict[tuple[int, ...], Array]:
        """Main effects and interactions of up to three factors -> an orthonormal basis of their columns [C, P].

        Levels are coded to be orthogonal to the mean over runs, as often as the complete design runs each.
        """
        coded = []
        for position, factor in enumerate(self.factors):
            indicator = np.eye(len(factor.levels))[self.codes[:, position]]
            share = _designed_share(self.runs @ indicator / self.runs.sum())
            coded.append((indicator - share)[:, 1:])
        terms = {}
        for count in range(1, MOST_FACTORS + 1):
            for term in combinations(range(len(self.factors)), count):
                columns = np.ones((len(self.codes), 1))
                for position in term:
                    columns = np.einsum("ci,cj->cij", columns, coded[position]).reshape(len(self.codes), -1)
                basis, size, _ = np.linalg.svd(columns, full_matrices=False)
                terms[term] = basis[:, size > 1e-9 * max(float(size.max(initial=0.0)), 1.0)]
        return terms


def aliased_pairs(
    factors: Sequence[Factor], cells: Sequence[tuple[int, ...]], runs: Array
) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """The interactions of two factors that a fraction tells apart, each with those that it cannot tell from it.

    Args:
        factors: the factors between runs.
        cells: level indices of each cell.
        runs: runs of the design that each cell stands for [C].
    """
    bases = Regression(factors, np.array(cells, dtype=np.intp), runs).pairs
    apart: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for pair, basis in bases.items():
        for other, others in apart.items():
            size = basis.shape[1]
            if size == bases[other].shape[1] and np.isclose(np.linalg.norm(basis.T @ bases[other]) ** 2, size):
                others.append(pair)
                break
        else:
            apart[pair] = []

    def names(pair: tuple[int, int]) -> tuple[str, str]:
        return factors[pair[0]].name, factors[pair[1]].name

    return {names(pair): [names(other) for other in others] for pair, others in apart.items()}


def effect_aliases(
    factors: Sequence[Factor], cells: Sequence[tuple[int, ...]], runs: Array
) -> dict[tuple[str, ...], tuple[Alias, ...] | None]:
    """The aliases of main effects, and of those interactions of two factors that are told apart.

    Args:
        factors: the factors between runs.
        cells: level indices of each cell.
        runs: runs of the design that each cell stands for [C].

    Returns:
        Factors of an effect -> its aliases, for each the largest share over the effect's levels; None for an effect
        that the cells do not determine.
    """
    regression = Regression(factors, np.array(cells, dtype=np.intp).reshape(len(cells), len(factors)), runs)
    position = {factor.name: number for number, factor in enumerate(factors)}
    effects: list[tuple[str, ...]] = [(factor.name,) for factor in factors]
    effects += list(aliased_pairs(factors, cells, runs))
    return {effect: _worst_aliases(regression, [position[name] for name in effect]) for effect in effects}


def _worst_aliases(regression: Regression, own: list[int]) -> tuple[Alias, ...] | None:
    sizes = [range(1, len(regression.factors[place].levels)) for place in own]
    worst: dict[tuple[str, ...], Alias] = {}
    for levels in product(*sizes):
        vectors = {}
        for place, level in zip(own, levels, strict=True):
            vectors[place] = np.eye(len(regression.factors[place].levels))[level]
            vectors[place][0] = -1.0
        weights = regression.weights(vectors)
        if weights is None:
            return None
        for alias in regression.aliases(weights, frozenset(own)):
            known = worst.get(alias.factors)
            worst[alias.factors] = alias if known is None or alias.share > known.share else known
    return tuple(sorted(worst.values(), key=lambda alias: (len(alias.factors), -alias.share)))


def _designed_share(share: Array) -> Array:
    """How often a complete fraction runs each level of a factor: the nearer of all alike, and as pseudo-factors give.

    Args:
        share: how often the cells that there are have each level [L].
    """
    count = len(share)
    alike = np.full(count, 1 / count)
    codes = 2 ** (count - 1).bit_length()
    pseudo = np.full(count, 1 / codes)
    pseudo[0] = (codes - count + 1) / codes
    return min((alike, pseudo), key=lambda designed: float(np.abs(designed - share).sum()))
