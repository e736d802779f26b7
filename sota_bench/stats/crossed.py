"""Seeds and images as crossed random effects: what another sample of images would change in a contrast.

The responses of single images are crossed: every training of a cell judges the same images. For one contrast, the value
of image i under seed s is

    d_si = effect + seed_s + image_i + flip_si

and the variance of its mean over S seeds and N images is var(seed) / S + var(image) / N + var(flip) / (S N). The spread
of the per-seed differences over S estimates the first and the third term, whichever error term it comes from; this
module estimates the second one, without bias, and adds it. It is the variance over images of the image means, less what
the flips leave in them: the method of moments for a two-way layout (Searle, Casella and McCulloch, Variance Components,
1992, chapter 4). The tests check it against Owen's pigeonhole bootstrap (Annals of Applied Statistics 1(2), 2007).

A response qualifies where it is the mean of one number per image: accuracy (0 or 100), NLL, Brier score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats.kernels import Array, Estimate, Weights

CHUNK = 20_000_000
"""Numbers in one intermediate array: contrasts are done in groups that need no more (80 MB in float32)."""


@dataclass(frozen=True)
class ImageScores:
    """The response of every image in every run, for cells that are judged on the same images.

    Attributes:
        values: [..., S, C, N] in the units of the response, 0 where a run is missing; float32.
        present: which runs there are [S, C].
    """

    values: NDArray[np.float32]
    present: NDArray[np.bool_]

    @property
    def images(self) -> int:
        """How many images judge each run."""
        return int(self.values.shape[-1])


class ImageError(NamedTuple):
    """What the sample of images adds to the variance of contrasts, [..., K].

    Attributes:
        variance: of the estimate, due to images; unbiased, so it may be negative; NaN where it cannot be known.
        spread: the sampling variance of ``variance``.
        flips: the part of the variance over seeds that more images would shrink too: var(flip) / (S N).
    """

    variance: Array
    spread: Array
    flips: Array


def image_error(scores: ImageScores, weights: Weights) -> ImageError:
    """The image component of contrasts.

    Missing runs are allowed: each cell is averaged over the runs that it has. A cell with a single run shows no flips,
    which stay in ``variance`` then (it is too large, not too small).

    Args:
        scores: per-image values of C cells under S seeds.
        weights: contrasts [K, C].
    """
    one = int(np.prod(scores.values.shape[:-3])) * scores.images
    group = max(1, CHUNK // max(one, 1))
    parts = [_image_error(scores, weights[start : start + group]) for start in range(0, weights.shape[0], group)]
    return ImageError(*(np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)))


def image_error_of_pairs(scores: ImageScores) -> ImageError:
    """`image_error` for the difference of every two cells [..., C, C], without weights for each.

    ``spread`` is that of normal image effects here, since the fourth moments of every pair would take as many
    products as there are pairs.

    Args:
        scores: per-image values of C cells under S seeds.
    """
    count, means = _cell_means(scores)
    images, seeds, scale = scores.images, len(scores.present), _flip_scale(count).astype(np.float32)[:, None]
    if images < 2:
        return _unknown((*means.shape[:-1], means.shape[-2]))
    total, flipped = _of_pairs(_centred(means)), np.zeros((*means.shape[:-1], means.shape[-2]))
    for seed in range(seeds):
        flipped += _of_pairs(_centred(scale * _flips(scores, means, seed)))
    known = (count[:, None] > 0) & (count > 0)
    spread = 2 * total**2 / (images - 1) + 2 * flipped**2 / (images - 1) / max(seeds - 1, 1)
    return ImageError(*(np.where(known, part, np.nan) for part in (total - flipped, spread, flipped)))


def sum_of_sets(parts: list[ImageError]) -> ImageError:
    """The image component of contrasts over several sets of images, each with its own share of the cells."""
    return ImageError(*(np.sum(columns, axis=0) for columns in zip(*parts, strict=True)))


def with_images(over_seeds: Estimate, images: ImageError) -> Estimate:
    """Estimates whose error covers seeds and images: variances add up, with Satterthwaite's degrees of freedom.

    Satterthwaite, Biometrics Bulletin 2(6), 1946. A negative component counts as 0.

    Args:
        over_seeds: contrasts with their error over seeds.
        images: their image component; where it is NaN the error over seeds stays.
    """
    seeds, added = over_seeds.se**2, np.maximum(images.variance, 0.0)
    known = np.isfinite(added) & np.isfinite(seeds) & (over_seeds.df > 0)
    total = np.where(known, seeds + added, seeds)
    doubt = seeds**2 / np.where(over_seeds.df > 0, over_seeds.df, 1.0) + np.where(added > 0, images.spread, 0.0) / 2
    usable = known & (doubt > 0)
    df = np.where(usable, total**2 / np.where(usable, doubt, 1.0), over_seeds.df)
    return Estimate(over_seeds.value, np.sqrt(total), df)


def _image_error(scores: ImageScores, weights: Weights) -> ImageError:
    count, means = _cell_means(scores)
    images = scores.images
    if images < 2:
        return _unknown((*scores.values.shape[:-3], weights.shape[0]))
    known = abs(weights) @ (count == 0).astype(float) == 0
    single = weights.astype(np.float32)
    contribution = _centred(single @ means) ** 2
    scaled, flips = single * _flip_scale(count).astype(np.float32), np.zeros_like(contribution)
    for seed in range(len(scores.present)):
        flips += _centred(scaled @ _flips(scores, means, seed)) ** 2
    contribution -= flips
    bessel = images / (images - 1)
    parts = (
        bessel * contribution.mean(axis=-1, dtype=float) / images,
        contribution.var(axis=-1, ddof=1, dtype=float) / images**3,
        bessel * flips.mean(axis=-1, dtype=float) / images,
    )
    return ImageError(*(np.where(known, part, np.nan) for part in parts))


def _cell_means(scores: ImageScores) -> tuple[Array, NDArray[np.float32]]:
    """Runs of each cell [C], and the mean over them of each image [..., C, N]."""
    count = scores.present.sum(axis=0).astype(float)
    divisor = np.maximum(count, 1).astype(np.float32)[:, None]
    return count, scores.values.sum(axis=-3) / divisor


def _of_pairs(centred: NDArray[np.float32]) -> Array:
    """Variance of the mean over images of the difference of every two rows [..., C, N] -> [..., C, C]."""
    products = (centred @ np.swapaxes(centred, -1, -2)).astype(float)
    own = np.diagonal(products, axis1=-2, axis2=-1)
    images = centred.shape[-1]
    return np.asarray((own[..., :, None] + own[..., None, :] - 2 * products) / (images - 1) / images)


def _flips(scores: ImageScores, means: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """One seed's deviations from the means of its cells, image by image [..., C, N]."""
    return np.asarray((scores.values[..., seed, :, :] - means) * scores.present[seed][:, None])


def _flip_scale(count: Array) -> Array:
    """What makes the squared deviations of n runs an unbiased variance of their mean [C]; 0 for a single run."""
    return np.where(count > 1, 1 / np.sqrt(np.maximum(count * (count - 1), 1)), 0.0)


def _centred(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(values - values.mean(axis=-1, keepdims=True))


def _unknown(shape: tuple[int, ...]) -> ImageError:
    return ImageError(*(np.full(shape, np.nan) for _ in ImageError._fields))
