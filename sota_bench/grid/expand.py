"""From factors to cells: which combinations of levels each design asks for, in a stable order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sota_bench.grid.levels import level_text
from sota_bench.grid.recipe import CoreRecipe
from sota_bench.grid.tables import Design

MAX_TRIALS = 100_000


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


def count(design: Design, factors: Mapping[str, Sequence[Any]]) -> int:
    """How many cells :func:`combinations` gives."""
    sizes = [len(levels) for levels in factors.values()]
    if design == "full":
        return math.prod(sizes)
    if design == "one-at-a-time":
        return 1 + sum(size - 1 for size in sizes)
    return 1 + sum(size > 1 for size in sizes)


def combinations(design: Design, factors: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """The cells of a design, as factor -> level.

    Args:
        design: ``full`` is the product with the last factor fastest; ``one-at-a-time`` is the first level of every
            factor, then each other level alone; ``leave-one-out`` is the last level of every factor, then each one
            back at its first.
        factors: factor -> its levels, the baseline first.
    """
    if design == "full":
        for combination in itertools.product(*factors.values()):
            yield dict(zip(factors, combination, strict=True))
        return
    alone = design == "one-at-a-time"
    middle = {factor: levels[0 if alone else -1] for factor, levels in factors.items()}
    yield middle
    for factor, levels in factors.items():
        others = list(levels)[1:] if alone else list(levels)[:1] if len(levels) > 1 else []
        for level in others:
            yield middle | {factor: level}


def identifier(prefix: str, number: int, total: int) -> str:
    """``c07``: padded to the width of the last number and to two digits at least, so that names sort as they run."""
    return f"{prefix}{number:0{max(2, len(str(total - 1)))}d}"
