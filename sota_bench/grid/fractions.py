"""Fractional factorial designs: few cells in which the main effects of many factors stay apart.

A fraction of resolution R keeps any R - 1 factors balanced: each combination of their levels is run equally often. With
R = 4, main effects are aliased with interactions of three factors or more, and interactions of two factors with each
other; with R = 5 interactions of two factors are apart as well (Box and Hunter, Technometrics 3, 1961).

A factor of more than two levels is coded by pseudo-factors of two levels, as many as give it a code for each level
(Addelman, Technometrics 4, 1962). Codes that are left over stand for its baseline, which is then run more often than
each other level: 3 levels are run in the ratio 2 : 1 : 1. Levels of any two factors still meet in proportion to how
often each is run, so that main effects do not mix. Runs that come out the same are one cell, which counts as often.

Designs are found as sets of vectors over GF(2): each pseudo-factor is a vector of the 2^k runs' k basic columns, and
resolution R means that no sum of fewer than R vectors of different factors is zero. The smallest k is searched, the
vectors that add the fewest words of length R first (minimum aberration: Fries and Hunter, Technometrics 22, 1980), then
among those with an odd number of letters, which reach the most factors of resolution 4. ``pyDOE3.fracfact_by_res``
searches designs of two levels too, but what it gives does not hold its resolution: 7 factors in 32 runs, asked for
resolution 5, have words of 4 letters. So the generators are found here, and ``pyDOE3.fracfact`` lays them out.
"""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

LARGEST = 12
"""Basic columns of the largest fraction: 4,096 runs."""

MOST_STEPS = 300
"""Vectors that are tried for one number of runs. Up to 32 factors of resolution 4 and 18 of resolution 5, this finds
the smallest designs that are known."""


@dataclass(frozen=True)
class Fraction:
    """A fractional factorial design.

    Attributes:
        generators: for each factor, its pseudo-factors as words of basic columns, such as ``("abc",)``.
        runs: level index of each factor in each different run -> how many runs of the design it stands for; the
            baseline first, in the order of a full design.
    """

    generators: tuple[tuple[str, ...], ...]
    runs: Mapping[tuple[int, ...], int]


@lru_cache
def fraction(levels: tuple[int, ...], resolution: int) -> Fraction | None:
    """The smallest fraction that is found.

    Args:
        levels: number of levels of each factor, at least 2.
        resolution: 4 or 5.

    Returns:
        None where no fraction of at most 2^``LARGEST`` runs is smaller than the full design.
    """
    sizes = [(count - 1).bit_length() for count in levels]
    least = sum(sorted(sizes)[1 - resolution :])
    for columns in range(least, min(LARGEST, sum(sizes) - 1) + 1):
        vectors = _search(sizes, resolution, columns)
        if vectors is not None:
            generators = tuple(tuple(_word(vector) for vector in own) for own in vectors)
            runs = _runs(generators, levels)
            return Fraction(generators, runs) if len(runs) < math.prod(levels) else None
    return None


def _search(sizes: Sequence[int], resolution: int, columns: int) -> list[tuple[int, ...]] | None:
    """For each factor, the vectors of its pseudo-factors; None where the search finds none."""
    basic: dict[int, tuple[int, ...]] = {}
    used = 0
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        if used + sizes[number] <= columns:
            basic[number] = tuple(1 << bit for bit in range(used, used + sizes[number]))
            used += sizes[number]
    if used < columns:
        return None
    words: list[Counter[int]] = [Counter({0: 1}), *(Counter[int]() for _ in range(resolution - 1))]
    for own in basic.values():
        words = _extended(words, own)
    left = [number for number in range(len(sizes)) if number not in basic]
    for odd in (False, True):
        added = _Search(columns, [sizes[number] for number in left], odd).complete(words, 0)
        if added is not None:
            vectors = basic | dict(zip(left, added, strict=True))
            return [vectors[number] for number in range(len(sizes))]
    return None


class _Search:
    """A search in depth for the vectors of the factors that are not basic columns."""

    def __init__(self, columns: int, sizes: Sequence[int], odd: bool) -> None:
        self.columns, self.sizes, self.odd = columns, sizes, odd
        self.steps = 0

    def complete(self, words: list[Counter[int]], number: int) -> list[tuple[int, ...]] | None:
        """The vectors of the factors from ``number`` on, or None."""
        if number == len(self.sizes):
            return []
        for own in self.candidates(words, self.sizes[number]):
            self.steps += 1
            if self.steps > MOST_STEPS:
                return None
            rest = self.complete(_extended(words, own), number + 1)
            if rest is not None:
                return [own, *rest]
        return None

    def candidates(self, words: list[Counter[int]], size: int) -> Iterator[tuple[int, ...]]:
        """Independent vectors that make no word shorter than the resolution, the fewest of its length first."""
        taken = set().union(*words[:-1])
        free = [vector for vector in range(1, 1 << self.columns) if vector not in taken]
        if self.odd:
            free = [vector for vector in free if vector.bit_count() % 2]
        free.sort(key=lambda vector: (words[-1][vector], vector))
        yield from _independent((), free, frozenset(free), size)


def _independent(
    own: tuple[int, ...], pool: Sequence[int], free: frozenset[int], size: int
) -> Iterator[tuple[int, ...]]:
    """Ways to choose vectors all of whose sums are free."""
    if len(own) == size:
        yield own
        return
    sums = _sums(own)
    for position, vector in enumerate(pool):
        if vector not in sums and all(vector ^ total in free for total in sums):
            yield from _independent((*own, vector), pool[position + 1 :], free, size)


def _sums(vectors: Sequence[int]) -> list[int]:
    """All sums of one or more vectors."""
    sums = [0]
    for vector in vectors:
        sums += [vector ^ total for total in sums]
    return sums[1:]


def _extended(words: list[Counter[int]], own: Sequence[int]) -> list[Counter[int]]:
    """How many sums of j elements of different factors give each vector, for each j, with one more factor."""
    extended, sums = [words[0]], _sums(own)
    for fewer, as_many in pairwise(words):
        count = Counter(as_many)
        for vector, ways in fewer.items():
            for total in sums:
                count[vector ^ total] += ways
        extended.append(count)
    return extended


def _word(vector: int) -> str:
    return "".join(letter for bit, letter in enumerate(string.ascii_lowercase) if vector >> bit & 1)


def _runs(generators: Sequence[Sequence[str]], levels: Sequence[int]) -> dict[tuple[int, ...], int]:
    """The different runs of generators, as level indices, with their number; codes without a level are the baseline."""
    from pyDOE3.doe_factorial import fracfact

    columns = sorted((word for own in generators for word in own), key=lambda word: (len(word), word))
    # A word of an even number of letters is taken with a minus, so that one run has every factor at its baseline.
    signs = fracfact(" ".join(word if len(word) % 2 else f"-{word}" for word in columns))
    high = dict(zip(columns, (signs > 0).T.astype(int), strict=True))
    codes = [sum(high[word] << place for place, word in enumerate(own)) for own in generators]
    indices = [[int(code) if code < count else 0 for code in own] for own, count in zip(codes, levels, strict=True)]
    return dict(sorted(Counter(zip(*indices, strict=True)).items()))
