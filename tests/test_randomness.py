"""Streams are named, independent of each other, and the same on every platform."""

from __future__ import annotations

import numpy as np
from scipy.stats import kstest

from sota_bench.randomness import derive, generator, splitmix64, uniform_by_id


def test_splitmix64_gives_the_published_numbers() -> None:
    """The first five of seed 1234567, as computed by Vigna's splitmix64.c (https://prng.di.unimi.it)."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(np.array([1234567], dtype=np.uint64), 5)[0].tolist() == published


def test_an_ids_numbers_depend_on_nothing_but_seed_stream_and_id() -> None:
    ids = np.array([3, 2**62 + 11, 0], dtype=np.int64)
    drawn = uniform_by_id(0, "views", ids, 4)
    assert np.array_equal(uniform_by_id(0, "views", ids[::-1], 4)[::-1], drawn)
    assert np.array_equal(uniform_by_id(0, "views", ids[:1], 2), drawn[:1, :2])
    for seed, stream in ((1, "views"), (0, "labels")):
        assert not np.isin(uniform_by_id(seed, stream, ids, 4), drawn).any()


def test_numbers_of_ids_that_follow_each_other_are_uniform_and_uncorrelated() -> None:
    drawn = uniform_by_id(5, "views", np.arange(4000), 8)
    assert drawn.min() >= 0 and drawn.max() < 1
    assert all(kstest(column, "uniform").pvalue > 1e-4 for column in drawn.T)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(8)).max() < 0.08  # between numbers of an id
    assert np.abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.08  # between ids


def test_streams_are_named_and_counted() -> None:
    taken = {
        derive(seed, stream, epoch, step) for seed in (0, 1) for stream in "ab" for epoch in (0, 1) for step in (0, 1)
    }
    assert len(taken) == 16
    assert generator(0, "a", 1, 2).random() == generator(0, "a", 1, 2).random() != generator(0, "a", 1, 3).random()
