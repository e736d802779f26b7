"""The images of an epoch are spread evenly over its steps."""

from __future__ import annotations

import numpy as np
import pytest

from sota_bench.training.batches import batches_of, largest_batch, steps_in_epoch


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"),
    [
        (48, 20, [16, 16, 16]),
        (66, 64, [33, 33]),
        (130, 64, [44, 43, 43]),
        (128, 64, [64, 64]),
        (3, 2, [3]),
        (5, 2, [3, 2]),
        (10, 64, [10]),
        (1, 64, [1]),
    ],
)
def test_sizes_differ_by_one_at_most(images: int, batch_size: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in batches_of(np.arange(images), batch_size)] == sizes
    assert steps_in_epoch(images, batch_size) == len(sizes)
    assert largest_batch(images, batch_size) == max(sizes)


def test_every_image_is_in_one_batch_and_no_batch_is_too_large_or_of_one_image() -> None:
    for images in range(2, 200):
        for batch_size in (2, 3, 7, 16, 64):
            order = np.random.default_rng(images).permutation(images)
            batches = batches_of(order, batch_size)
            lengths = [len(batch) for batch in batches]
            assert np.array_equal(np.concatenate(batches), order)
            assert max(lengths) - min(lengths) <= 1
            assert min(lengths) >= 2
            assert max(lengths) <= batch_size or (batch_size == 2 and max(lengths) == 3)
