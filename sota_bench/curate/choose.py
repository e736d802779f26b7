"""Which classes and images a smaller set has, under an aim. Classes and the images of each class get one order, so that
a smaller set lies inside a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from sota_bench.data.split import position
from sota_bench.randomness import generator

Aim = Literal["random", "easy", "hard", "representative"]
AIMS: tuple[str, ...] = get_args(Aim)

BLOCK = 4000
"""Images of a class among which the next ones are looked for: time grows with the images, not with their square."""

FREQUENCIES = 512
"""Random Fourier features of the kernel (Rahimi and Recht 2007)."""


def confusions(probabilities: np.ndarray, labels: np.ndarray, rows: np.ndarray, classes: int) -> np.ndarray:
    """How often the probe would take one class for the other if there were only these two, float64 [K, K], symmetric;
    0.5 is chance.

    Args:
        probabilities: float32 [N, K], out of fold.
        labels: int64 [N].
        rows: the images that count: those that train.
        classes: K.
    """
    total, counts = np.zeros((classes, classes)), np.bincount(labels[rows], minlength=classes)
    for first in range(0, len(rows), 8192):
        part = rows[first : first + 8192]
        chances = np.asarray(probabilities[part], np.float64) + 1e-9
        own = chances[np.arange(len(part)), labels[part]][:, None]
        np.add.at(total, labels[part], chances / (chances + own))
    rates = total / np.maximum(counts, 1)[:, None]
    rates = (rates + rates.T) / 2
    np.fill_diagonal(rates, 0)
    return rates


def order_classes(aim: Aim, rates: np.ndarray, seed: int) -> list[int]:
    """The classes in the order in which they are taken.

    Args:
        aim: ``easy`` starts with the pair that the probe confuses least and adds the class that is confused least with
            those chosen; ``hard`` does the opposite; ``representative`` keeps the mean confusion of the chosen pairs
            near that of all pairs; ``random`` draws.
        rates: float64 [K, K] from :func:`confusions`.
        seed: of the draw.
    """
    count = len(rates)
    drawn = generator(seed, "curate/classes").permutation(count)
    if aim == "random" or count < 3:
        return [int(name) for name in drawn]
    pairs = rates[np.triu_indices(count, 1)]
    wanted = {"easy": -np.inf, "hard": np.inf, "representative": float(pairs.mean())}[aim]

    def distance(values: np.ndarray) -> np.ndarray:
        """How far mean confusions are from what the aim wants."""
        result: np.ndarray = values if aim == "easy" else -values if aim == "hard" else np.abs(values - wanted)
        return result

    off = distance(rates + np.where(np.eye(count, dtype=bool), np.nan, 0))
    first, second = np.unravel_index(np.nanargmin(off), off.shape)
    chosen = [int(first), int(second)]
    inside = float(rates[first, second])
    while len(chosen) < count:
        others = np.setdiff1d(np.arange(count), chosen)
        added = rates[others][:, chosen].sum(axis=1)
        after = len(chosen) * (len(chosen) + 1) / 2
        best = int(np.argmin(distance((inside + added) / after)))
        inside += float(added[best])
        chosen.append(int(others[best]))
    return chosen


def order_images(
    aim: Aim, contents: Sequence[str], scores: np.ndarray, flagged: np.ndarray, projected: np.ndarray, seed: int
) -> np.ndarray:
    """The training images of one class in the order in which they are taken, int64 [M].

    Args:
        aim: ``random`` draws; ``easy`` draws first among the half that the probe is surest of, and ``hard`` among the
            other half, both with flagged images last; ``representative`` follows the distribution of the features
            (kernel herding: Chen, Welling and Smola 2010, https://arxiv.org/abs/1203.3472), flagged images and all.
        contents: digest of each image.
        scores: float64 [M], probability of the image's own class.
        flagged: bool [M], whether an image may be wrong.
        projected: float32 [M, C], principal components of variance 1.
        seed: of the draws.
    """
    draws = np.array([position(content, f"curate/{seed}") for content in contents])
    if aim == "random" or len(draws) < 3:
        return np.argsort(draws, kind="stable")
    if aim == "representative":
        return _herd(projected, scores, draws, seed)
    sure = scores >= np.median(scores[~flagged] if (~flagged).any() else scores)
    later = ~sure if aim == "easy" else sure
    return np.lexsort((draws, later, flagged))


def _herd(projected: np.ndarray, scores: np.ndarray, draws: np.ndarray, seed: int) -> np.ndarray:
    """Greedily the image that brings the mean of the chosen ones nearest to the mean of all, in a feature space of a
    Gaussian kernel on the components and on how hard each image is."""
    difficulty = np.argsort(np.argsort(scores)) / max(1, len(scores) - 1)
    points = np.hstack([projected / np.sqrt(projected.shape[1]), 2 * difficulty[:, None]]).astype(np.float32)
    rng = generator(seed, "curate/herding")
    frequencies = rng.standard_normal((points.shape[1], FREQUENCIES)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, FREQUENCIES).astype(np.float32)
    shuffled = np.argsort(draws, kind="stable")
    order: list[int] = []
    for first in range(0, len(shuffled), BLOCK):
        block = shuffled[first : first + BLOCK]
        mapped = np.cos(points[block] @ frequencies + phases) * np.float32(np.sqrt(2 / FREQUENCIES))
        mean, weight = mapped.mean(axis=0), mapped.mean(axis=0)
        free = np.ones(len(block), dtype=bool)
        for _ in block:
            best = int(np.argmax(np.where(free, mapped @ weight, -np.inf)))
            free[best] = False
            order.append(int(block[best]))
            weight = weight + mean - mapped[best]
    return np.array(order)
