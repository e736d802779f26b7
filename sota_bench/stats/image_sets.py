"""Predictions per image laid out beside a table of trials, one block for each set of judging images."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sota_bench.errors import UserError
from sota_bench.stats import warning_sentences
from sota_bench.stats.crossed import ImageError, ImageScores, image_error, image_error_of_pairs, sum_of_sets
from sota_bench.stats.kernels import Weights
from sota_bench.stats.levels import key, label
from sota_bench.stats.table import require_column

if TYPE_CHECKING:
    import pandas as pd

CLOSE = 1e-3
"""How far a response may be from the mean over images, as a share of the largest value: tables hold rounded numbers."""

Position = tuple[int, int, int]


class ImageSet(NamedTuple):
    """The columns of a response that are judged on one set of images.

    Attributes:
        columns: which ones, as ``cell * settings + setting`` [C].
        scores: their values per image.
    """

    columns: NDArray[np.intp]
    scores: ImageScores


class LaidOut(NamedTuple):
    """Every set of images.

    Attributes:
        sets: none where the images of a cell differ from seed to seed, since seeds and images are not crossed then:
            the spread over seeds holds both.
        nested: whether that is so.
        notes: sentences about trials without predictions.
    """

    sets: tuple[ImageSet, ...]
    nested: bool
    notes: tuple[str, ...]


def lay_out(
    rows: pd.DataFrame,
    predictions: Mapping[str, ArrayLike],
    *,
    response: str,
    trial: str,
    judged: str | None,
    positions: Sequence[Position],
    shape: tuple[int, int, int],
    place: str,
) -> LaidOut:
    """Puts the predictions of each row where its response stands.

    Args:
        rows: finished trials, with the response as numbers.
        predictions: trial -> for each image whether it is right (bool), or a number whose mean is the response [N].
        response: column of the response.
        trial: column that names the trials.
        judged: column that names the set of images, or None for one set.
        positions: seed, cell and setting of each row.
        shape: seeds, cells and settings.
        place: what an error calls the table.

    Raises:
        UserError: numbers of images differ within a set, or predictions are not those of the response.
    """
    require_column(rows, trial, place)
    of_trial = {key(name): np.asarray(values) for name, values in predictions.items()}
    results = rows[response].to_numpy(dtype=float)
    scale = 100.0 if results.size and results.max() > 1 else 1.0
    image_sets: list[Hashable] = [key(value) for value in rows[judged]] if judged else [""] * len(rows)
    if _differ_by_seed(image_sets, positions):
        return LaidOut((), True, ())
    names = [key(name) for name in rows[trial]]
    lacking = [label(name) for name in rows[trial] if key(name) not in of_trial]
    sets = []
    for name in dict.fromkeys(image_sets):
        members = [row for row, image_set in enumerate(image_sets) if image_set == name]
        values = {row: of_trial[names[row]] for row in members if names[row] in of_trial}
        if not values:
            continue
        _refuse_lengths({label(rows[trial].iloc[row]): len(each) for row, each in values.items()}, place)
        points = {row: each.astype(np.float32) * (scale if each.dtype == bool else 1) for row, each in values.items()}
        for row, each in points.items():
            if abs(float(each.mean(dtype=float)) - results[row]) > CLOSE * max(float(np.abs(each).max()), 1e-12):
                raise UserError(
                    place, label(rows[trial].iloc[row]),
                    f"its predictions give {response} {each.mean(dtype=float):.4g}, and the table says "
                    f"{results[row]:.4g}", "give the predictions that the table was made from",
                )  # fmt: skip
        sets.append(_image_set([positions[row] for row in points], list(points.values()), shape))
    notes = (warning_sentences.predictions_missing(lacking),) if lacking and sets else ()
    return LaidOut(tuple(sets), False, notes)


def image_component(sets: Sequence[ImageSet], weights: Weights) -> ImageError:
    """What the images add to the variance of contrasts, summed over sets of images.

    Args:
        sets: of all columns; a contrast of a column that is in none gets NaN.
        weights: contrasts of the columns of the response, ``cell * settings + setting`` [K, C W].
    """
    covered = np.zeros(weights.shape[1], dtype=bool)
    for image_set in sets:
        covered[image_set.columns] = True
    total = sum_of_sets([image_error(image_set.scores, weights[:, image_set.columns]) for image_set in sets])
    outside = np.asarray(abs(weights) @ (~covered).astype(float) > 0)
    return ImageError(*(np.where(outside, np.nan, part) for part in total))


def image_component_of_pairs(sets: Sequence[ImageSet], columns: int) -> ImageError:
    """`image_component` for the difference of every two columns [C, C]; NaN for pairs of different sets."""
    parts = ImageError(*(np.full((columns, columns), np.nan) for _ in ImageError._fields))
    for image_set in sets:
        inside = np.ix_(image_set.columns, image_set.columns)
        for whole, part in zip(parts, image_error_of_pairs(image_set.scores), strict=True):
            whole[inside] = part
    return parts


def _differ_by_seed(image_sets: Sequence[Hashable], positions: Sequence[Position]) -> bool:
    """Whether some cell is judged on other images with another seed."""
    first: dict[tuple[int, int], Hashable] = {}
    return any(first.setdefault(where[1:], image_set) != image_set
               for image_set, where in zip(image_sets, positions, strict=True))  # fmt: skip


def _refuse_lengths(images: Mapping[str, int], place: str) -> None:
    (first, count), *others = images.items()
    for name, other in others:
        if other != count:
            raise UserError(
                place, name, f"its predictions are of {other:,} images, and those of {first} of {count:,}",
                "give predictions of the same images",
            )  # fmt: skip


def _image_set(
    positions: Sequence[Position], values: Sequence[NDArray[np.float32]], shape: tuple[int, int, int]
) -> ImageSet:
    seeds, _, settings = shape
    flat = np.array([cell * settings + setting for _, cell, setting in positions], dtype=np.intp)
    columns, column = np.unique(flat, return_inverse=True)
    count = np.zeros((seeds, len(columns)))
    whole = np.zeros((seeds, len(columns), len(values[0])), dtype=np.float32)
    for (seed, _, _), at, each in zip(positions, column.reshape(-1), values, strict=True):
        whole[seed, at] += each
        count[seed, at] += 1
    if count.max() > 1:  # rows of one cell and seed are averaged in the table, too
        whole /= np.maximum(count, 1).astype(np.float32)[:, :, None]
    return ImageSet(columns, ImageScores(whole, count > 0))
