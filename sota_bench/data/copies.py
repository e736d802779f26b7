"""Groups of near copies: images that look the same although their files differ, by the thumbnails that a scan keeps.

Two images are near copies where their difference hashes (one bit for each pair of neighbours in the 8 x 9 grey levels:
which is brighter; Krawetz 2013, "dHash") differ in few bits, and the grey levels themselves hardly differ. On 13,394
photographs of Imagenette the hash alone calls 8 groups copies that are none, most of them skies; none of these pairs
differs by less than 9 grey levels, and photographs that were encoded again or scaled down differ by 1 to 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np

from sota_bench.data.decode import THUMBNAIL

MOST_BITS = 6
"""Of 64 bits, as many may differ between near copies."""

MOST_LEVELS = 4.0
"""Grey levels by which the thumbnails of near copies may differ on average."""

_BANDS = 4
"""Images are compared that agree in a quarter of the bits, by rows or by columns: so all that differ in 3 bits, and
nearly all that differ in 6."""

_LEAST_CONTRAST = 4.0
"""Standard deviation in grey levels of a thumbnail with less to see: blank images are no copies of each other."""

_MOST_NEIGHBOURS = 200
"""So many images with one band in common are a kind of picture: each is compared with as many neighbours."""


def group_copies(thumbnails: Sequence[bytes]) -> list[list[int]]:
    """Positions of images that are near copies, directly or through others.

    Args:
        thumbnails: grey levels of each image, as ``ImageFacts.thumbnail``.

    Returns:
        Groups of two or more positions, each sorted, in the order of their first.
    """
    height, width = THUMBNAIL
    size = height * width
    joined = b"".join(thumbnail.ljust(size, b"\0") for thumbnail in thumbnails)  # numpy drops zeros at an end
    levels = np.frombuffer(joined, dtype=np.uint8).reshape(len(thumbnails), height, width).astype(np.int16)
    if not len(levels):
        return []
    brighter = levels[:, :, 1:] > levels[:, :, :-1]
    by_rows, by_columns = (_packed(bits) for bits in (brighter, brighter.transpose(0, 2, 1)))
    usable = np.flatnonzero(levels.reshape(len(levels), -1).std(axis=1) >= _LEAST_CONTRAST)
    return connected_groups(_near_pairs(levels, usable, by_rows, by_columns))


def connected_groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Numbers that pairs connect, directly or through others.

    By hand, since every plan of a folder comes through here and importing scipy's DisjointSet takes 0.15 s.

    Args:
        pairs: of numbers; a number with itself connects nothing.

    Returns:
        Groups of two or more numbers, each sorted, in the order of their first.
    """
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for first, second in pairs:
        for number in (first, second):
            parent.setdefault(number, number)
        parent[root(second)] = root(first)
    groups: dict[int, list[int]] = {}
    for number in sorted(parent):
        groups.setdefault(root(number), []).append(number)
    return sorted(group for group in groups.values() if len(group) > 1)


def _near_pairs(
    levels: np.ndarray, usable: np.ndarray, by_rows: np.ndarray, by_columns: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Pairs of images that are near copies, some of them several times.

    Args:
        levels: int16 [N, H, W].
        usable: int64 [M], positions of the images that are compared.
        by_rows, by_columns: uint64 [N], difference hashes.
    """
    for bits, band in product((by_rows, by_columns), range(_BANDS)):
        keys = (bits[usable] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = usable[np.argsort(keys, kind="stable")]
        ordered = np.sort(keys, kind="stable")
        for offset in range(1, _MOST_NEIGHBOURS):
            first = np.flatnonzero(ordered[offset:] == ordered[:-offset])
            if not len(first):
                break
            pairs = order[first], order[first + offset]
            near = _set_bits(bits[pairs[0]] ^ bits[pairs[1]]) <= MOST_BITS
            pairs = pairs[0][near], pairs[1][near]
            near = np.abs(levels[pairs[0]] - levels[pairs[1]]).mean(axis=(1, 2)) <= MOST_LEVELS
            yield from zip(pairs[0][near].tolist(), pairs[1][near].tolist(), strict=True)


def _packed(bits: np.ndarray) -> np.ndarray:
    """64 bits of each image as one number."""
    packed: np.ndarray = np.packbits(bits.reshape(len(bits), -1), axis=1).view(np.uint64).ravel()
    return packed


def _set_bits(numbers: np.ndarray) -> np.ndarray:
    """How many bits are set in each number."""
    counts: np.ndarray = np.unpackbits(numbers.view(np.uint8).reshape(len(numbers), 8), axis=1).sum(axis=1)
    return counts
