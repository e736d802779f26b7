"""Classes and images are chosen as the aim says, and a smaller set lies inside a larger one."""

from __future__ import annotations

import hashlib
from typing import get_args

import numpy as np
import pytest

from sota_bench.curate.choose import Aim, confusions, order_classes, order_images

AIMS = get_args(Aim)


def rates() -> np.ndarray:
    """Six classes: 0, 1 and 2 are confused with each other, 3, 4 and 5 with none."""
    table = np.full((6, 6), 0.02)
    table[:3, :3] = 0.3
    np.fill_diagonal(table, 0)
    return table


def test_classes_that_are_easy_or_hard_to_tell_apart() -> None:
    assert set(order_classes("hard", rates(), 0)[:3]) == {0, 1, 2}
    assert len(set(order_classes("easy", rates(), 0)[:4]) & {0, 1, 2}) == 1
    chosen = order_classes("representative", rates(), 0)[:4]
    inside = rates()[np.ix_(chosen, chosen)][np.triu_indices(4, 1)].mean()
    whole = rates()[np.triu_indices(6, 1)].mean()
    assert abs(inside - whole) < 0.05


@pytest.mark.parametrize("aim", AIMS)
def test_every_class_and_image_has_one_place(aim: Aim) -> None:
    assert sorted(order_classes(aim, rates(), 1)) == list(range(6))
    order = order_images(aim, *images(70), seed=1)
    assert sorted(order.tolist()) == list(range(70))
    assert order.tolist() == order_images(aim, *images(70), seed=1).tolist()


@pytest.mark.parametrize("aim", AIMS)
def test_another_seed_draws_another_set(aim: Aim) -> None:
    first, second = (set(order_images(aim, *images(70), seed=seed)[:20].tolist()) for seed in (0, 1))
    assert first != second


def images(count: int) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Contents, scores, flags and features of a class; one image in ten is flagged and has the lowest scores."""
    rng = np.random.default_rng(5)
    contents = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]
    scores = rng.uniform(0.2, 1, count)
    flagged = np.arange(count) % 10 == 0
    scores[flagged] = 0.01
    return contents, scores, flagged, rng.standard_normal((count, 8)).astype(np.float32)


def test_easy_images_are_sure_and_hard_ones_are_not_and_doubtful_ones_come_last() -> None:
    contents, scores, flagged, features = images(100)
    easy, hard = (order_images(aim, contents, scores, flagged, features, 0) for aim in ("easy", "hard"))
    assert scores[easy[:40]].min() >= scores[hard[:40]].max()
    assert flagged[easy[-10:]].all() and flagged[hard[-10:]].all()


def test_a_representative_part_follows_the_features_more_closely_than_a_random_one() -> None:
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((4, 8)) * 3
    sizes = (100, 60, 30, 10)
    features = np.concatenate(
        [rng.normal(centre, 0.5, (size, 8)) for centre, size in zip(centres, sizes, strict=True)]
    ).astype(np.float32)
    cluster = np.repeat(np.arange(4), sizes)
    contents = [hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(len(features))]
    scores = rng.uniform(0, 1, len(features))
    shares = np.array(sizes) / sum(sizes)

    def distance(aim: Aim, seed: int) -> float:
        order = order_images(aim, contents, scores, np.zeros(len(features), bool), features, seed)[:20]
        return float(np.abs(np.bincount(cluster[order], minlength=4) / 20 - shares).sum())

    herded, drawn = (np.mean([distance(aim, seed) for seed in range(8)]) for aim in ("representative", "random"))
    assert herded < 0.7 * drawn


def test_confusion_counts_two_classes_at_a_time() -> None:
    probabilities = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], np.float32)
    table = confusions(probabilities, np.array([0, 1, 2]), np.arange(3), 3)
    assert table[0, 1] == pytest.approx(0.5, abs=1e-3) and table[0, 2] == pytest.approx(0, abs=1e-3)
    assert np.array_equal(table, table.T)
