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


def generator(seed: int, stream: str, epoch: int = 0, step: int = 0) -> np.random.Generator:
    """numpy's Philox generator for one (seed, stream, epoch, step)."""
    return np.random.Generator(np.random.Philox(derive(seed, stream, epoch, step)))
