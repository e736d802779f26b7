"""Groups of near copies: images that look the same although their files differ, by 64 bits that a scan keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_BITS = 3
"""Of 64 bits, as many may differ between near copies: re-encoded and rescaled photographs differ in 0 to 3."""

_BANDS = 4
"""Two numbers that differ in 3 bits are equal in one of 4 bands of 16 bits."""

_LEAST_ONES = 6
"""An image whose bits are nearly all equal is plain, like a blank sheet: plain images are no copies of each other."""

_MOST_IN_BAND = 2000
"""So many images with one band in common are a kind of picture, not copies: they are compared with their neighbours."""


def group_copies(looks: Sequence[int]) -> list[list[int]]:
    """Positions of images that are near copies, directly or through others.

    Args:
        looks: 64 bits per image, as ``ImageFacts.look``.

    Returns:
        Groups of two or more positions, each sorted, in the order of their first.
    """
    bits = np.array(looks, dtype=np.int64).view(np.uint64)
    ones = _ones(bits)
    usable = np.flatnonzero((ones >= _LEAST_ONES) & (ones <= 64 - _LEAST_ONES))
    parent = np.arange(len(bits))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = int(parent[position])
        return position

    for band in range(_BANDS):
        keys = (bits[usable] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = usable[np.argsort(keys, kind="stable")]
        sorted_keys = np.sort(keys, kind="stable")
        starts = np.flatnonzero(np.r_[True, sorted_keys[1:] != sorted_keys[:-1]]) if len(order) else []
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            block = order[start:end]
            for offset in range(1, min(len(block), _MOST_IN_BAND)):
                near = _ones(bits[block[offset:]] ^ bits[block[:-offset]]) <= MOST_BITS
                for first, second in zip(block[:-offset][near], block[offset:][near], strict=True):
                    parent[root(int(second))] = root(int(first))
    groups: dict[int, list[int]] = {}
    for position in usable.tolist():
        groups.setdefault(root(position), []).append(position)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _ones(numbers: np.ndarray) -> np.ndarray:
    """How many bits are set in each number."""
    return np.unpackbits(numbers.view(np.uint8).reshape(len(numbers), 8), axis=1).sum(axis=1)
