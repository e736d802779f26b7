"""From factors to cells: which combinations of levels each design asks for, in a stable order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sota_bench.grid.fractions import Fraction, fraction
from sota_bench.grid.levels import level_text
from sota_bench.grid.recipe import CoreRecipe
from sota_bench.grid.tables import Design

MAX_TRIALS = 100_000
DEFAULT_RESOLUTION = 4


@dataclass(frozen=True)
class Cell:
    """One level per factor.

    Attributes:
        id: ``c00``, ``c01`` ... in the order of the design.
        levels: factor -> resolved level.
        recipe: every hyper-parameter, resolved.
    """

    id: str
    levels: Mapping[str, Any]
    recipe: CoreRecipe

    @cached_property
    def text(self) -> dict[str, str]:
        """Factor -> level as text, as tables and figures name it."""
        return {factor: level_text(level) for factor, level in self.levels.items()}


@dataclass(frozen=True)
class Trial:
    """A cell run with one seed; ``id`` is ``c00-s0``."""

    id: str
    cell: Cell
    seed: int


@dataclass(frozen=True)
class Layout:
    """Which combinations of levels are cells.

    Attributes:
        design: ``full`` is the product with the last factor fastest; ``one-at-a-time`` is the first level of every
            factor, then each other level alone; ``leave-one-out`` is the last level of every factor, then each one
            back at its first; ``fractional`` is a balanced part of the product (see `sota_bench.grid.fractions`).
        resolution: of a fractional design.
        crossed: factors that a fractional design runs in full, because they only change the evaluation.
    """

    design: Design
    resolution: int = DEFAULT_RESOLUTION
    crossed: frozenset[str] = frozenset()

    def count(self, factors: Mapping[str, Sequence[Any]]) -> int:
        """How many cells there are; 0 where no fraction is smaller than the full design."""
        sizes = [len(levels) for levels in factors.values()]
        if self.design == "full":
            return math.prod(sizes)
        if self.design == "one-at-a-time":
            return 1 + sum(size - 1 for size in sizes)
        if self.design == "leave-one-out":
            return 1 + sum(size > 1 for size in sizes)
        part = self._part(factors)
        whole = math.prod(len(levels) for name, levels in factors.items() if name in self.crossed)
        return 0 if part is None else len(part.runs) * whole

    def divided(self, factors: Mapping[str, Sequence[Any]]) -> list[str]:
        """The factors that a fractional design divides: those of two levels or more that change the training."""
        return [name for name, levels in factors.items() if name not in self.crossed and len(levels) > 1]

    def combinations(self, factors: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
        """The cells, as factor -> level.

        Args:
            factors: factor -> its levels, the baseline first.
        """
        if self.design == "fractional":
            yield from self._fraction(factors)
            return
        if self.design == "full":
            for combination in itertools.product(*factors.values()):
                yield dict(zip(factors, combination, strict=True))
            return
        alone = self.design == "one-at-a-time"
        middle = {factor: levels[0 if alone else -1] for factor, levels in factors.items()}
        yield middle
        for factor, levels in factors.items():
            others = list(levels)[1:] if alone else list(levels)[:1] if len(levels) > 1 else []
            for level in others:
                yield middle | {factor: level}

    def runs(self, factors: Mapping[str, Sequence[Any]], cell: Mapping[str, Any]) -> int:
        """How many runs of a fractional design a cell stands for: more than one where a factor has more levels than
        two, and runs of such factors came out the same. 1 in other designs."""
        part = self._part(factors)
        if part is None:
            return 1
        return part.runs[tuple(list(factors[name]).index(cell[name]) for name in self.divided(factors))]

    def _part(self, factors: Mapping[str, Sequence[Any]]) -> Fraction | None:
        if self.design != "fractional":
            return None
        return fraction(tuple(len(factors[name]) for name in self.divided(factors)), self.resolution)

    def _fraction(self, factors: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
        """In the order of a full design, the baseline first."""
        part, divided = self._part(factors), self.divided(factors)
        whole = [name for name in factors if name not in divided]
        cells = []
        for run in part.runs if part else ():
            for others in itertools.product(*(range(len(factors[name])) for name in whole)):
                index = dict(zip([*divided, *whole], [*run, *others], strict=True))
                cells.append([index[name] for name in factors])
        for cell in sorted(cells):
            yield {name: levels[index] for (name, levels), index in zip(factors.items(), cell, strict=True)}


def identifier(prefix: str, number: int, total: int) -> str:
    """``c07``: padded to the width of the last number and to two digits at least, so that names sort as they run."""
    return f"{prefix}{number:0{max(2, len(str(total - 1)))}d}"
