"""Named streams of random numbers: each draw is a function of (seed, stream, epoch, step) and of nothing else.

A technique draws from the stream of its own name only, so switching it on leaves everybody else's draws as they were
(trials stay paired), and a run resumed in the middle of an epoch draws what it would have drawn.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, stream: str, epoch: int = 0, step: int = 0) -> int:
    """A 63-bit seed for (seed, stream, epoch, step), the same on every platform."""
    text = f"{seed}/{stream}/{epoch}/{step}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def uniform_by_id(seed: int, stream: str, ids: np.ndarray, count: int) -> np.ndarray:
    """Draws ``count`` numbers for each id, which depend on (seed, stream, id) alone, whatever other ids are drawn.

    A generator for each id would take longer than using its numbers. This is SplitMix64 (Steele, Lea and Flood 2014,
    https://doi.org/10.1145/2660193.2660195), whose state starts at a hash of the id.

    Args:
        ids: int64 [N], such as those of images.
        count: numbers for each id.

    Returns:
        float64 [N, count], uniform in 0 to 1 (1 excluded).
    """
    start = splitmix64(ids.astype(np.uint64) ^ np.uint64(derive(seed, stream)), 1)[:, 0]
    numbers: np.ndarray = (splitmix64(start, count) >> np.uint64(11)) * 2.0**-53
    return numbers


def splitmix64(states: np.ndarray, count: int) -> np.ndarray:
    """Returns the first ``count`` numbers of SplitMix64 for each state, uint64 [N] to [N, count]."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed: np.ndarray = states[:, None] + steps
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def generator(seed: int, stream: str, epoch: int = 0, step: int = 0) -> np.random.Generator:
    """numpy's Philox generator for one (seed, stream, epoch, step)."""
    return np.random.Generator(np.random.Philox(derive(seed, stream, epoch, step)))
