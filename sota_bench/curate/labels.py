"""Likely wrong labels: how probable each image's own class is to a classifier that has not seen it, and how many of
them confident learning takes for wrong (Northcutt, Jiang and Chuang 2021, https://arxiv.org/abs/1911.00068)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5
COMPONENTS = 192
"""Principal components of the features that the classifier sees."""

MOST_FITTED, FITTED_PER_CLASS = 20_000, 40
"""Images on which one classifier is fitted at most, or this many for each class where that is more: enough for a linear
one, and memory stays flat."""

MISSING = 'cleanlab is not installed, so no label is flagged; python -m pip install "sota-bench[curate]"'

_TOGETHER = ("group", "near_copies", "sha256")

Progress = Callable[[int, int], None]


def folds_of(items: pd.DataFrame, seed: int, folds: int) -> np.ndarray:
    """The fold of each image, int64 [N], by a hash of its content, or of what it shares with others (a patient, near
    copies): an image that was seen as a copy would vouch for its own label.

    Args:
        items: columns ``sha256``, ``near_copies`` and ``group``.
        seed: of the hash.
        folds: how many.
    """
    keys = [group or copies or sha for group, copies, sha in zip(*(items[name] for name in _TOGETHER), strict=True)]
    digests = [hashlib.sha256(f"{seed}/curate/fold/{key}".encode()).digest() for key in keys]
    return np.array([int.from_bytes(digest[:6], "big") % folds for digest in digests], dtype=np.int64)


def components(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Principal components of features, each of variance 1, float32 [N, C].

    Args:
        features: float16 [N, D]; read in parts.
        rows: those that decide mean and directions.
    """
    width = features.shape[1]
    mean, second = np.zeros(width), np.zeros((width, width))
    for part in _parts(rows):
        values = np.asarray(features[part], dtype=np.float64)
        mean += values.sum(0)
        second += values.T @ values
    mean /= len(rows)
    variances, directions = np.linalg.eigh(second / len(rows) - np.outer(mean, mean))
    order = np.argsort(variances)[::-1][: min(COMPONENTS, len(rows) - 1)]
    order = order[variances[order] > 1e-6 * variances.max()]
    matrix = (directions[:, order] / np.sqrt(variances[order])).astype(np.float32)
    projected = np.empty((len(features), len(order)), np.float32)
    for part in _parts(np.arange(len(features))):
        projected[part] = (np.asarray(features[part], np.float32) - mean.astype(np.float32)) @ matrix
    return projected


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[first : first + 8192] for first in range(0, len(rows), 8192)]


def out_of_fold(
    projected: np.ndarray, labels: np.ndarray, train: np.ndarray, folds: np.ndarray, classes: int, progress: Progress
) -> np.ndarray:
    """Class probabilities of each image by a linear classifier that has not seen it, float32 [N, K].

    Args:
        projected: float32 [N, C] from :func:`components`.
        labels: int64 [N].
        train: bool [N]. Training images are judged by classifiers of the other folds; all others by one that was fitted
            on all training images, so that images which confirm never take part in choosing.
        folds: int64 [N], from 0.
        classes: K.
        progress: called with (done, total).
    """
    import torch

    from sota_bench.training.probe import fit_linear, standardize

    probabilities = np.zeros((len(labels), classes), np.float32)
    count = int(folds.max()) + 1
    for fold in range(count + 1):
        judged = train & (folds == fold) if fold < count else ~train
        fitted = np.flatnonzero(train & (folds != fold))
        if not judged.any() or not len(fitted):
            continue
        fitted = spread(fitted, max(MOST_FITTED, FITTED_PER_CLASS * classes))
        known, asked = (torch.from_numpy(projected[rows]).double() for rows in (fitted, np.flatnonzero(judged)))
        known, asked = standardize(known, asked)
        weight, offset = fit_linear(known, torch.from_numpy(labels[fitted]), classes)
        probabilities[judged] = torch.softmax(asked @ weight.T + offset, dim=1).float().numpy()
        progress(fold + 1, count + 1)
    return probabilities


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly spread."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


@dataclass(frozen=True)
class LabelCheck:
    """What is known about the labels of N images.

    Attributes:
        scores: float64 [N], the probability of each image's own class, 0 (certainly wrong) to 1.
        suggested: int64 [N], the most probable class.
        wrong: bool [N], whether confident learning takes the label for wrong.
        checked: whether confident learning was there to ask.
    """

    scores: np.ndarray
    suggested: np.ndarray
    wrong: np.ndarray
    checked: bool


def check_labels(probabilities: np.ndarray, labels: np.ndarray, usable: np.ndarray) -> LabelCheck:
    """Judges labels by out-of-fold probabilities.

    Args:
        probabilities: float32 [N, K].
        labels: int64 [N].
        usable: bool [N], which images were judged.
    """
    rows = np.flatnonzero(usable)
    scores = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    suggested = probabilities.argmax(1)
    wrong = np.zeros(len(labels), dtype=bool)
    try:
        from cleanlab.experimental.label_issues_batched import LabelInspector
    except ImportError:
        return LabelCheck(scores, suggested, wrong, False)
    logging.getLogger("cleanlab").setLevel(logging.ERROR)
    inspector = LabelInspector(
        num_class=probabilities.shape[1], verbose=False, n_jobs=1,
        quality_score_kwargs={"method": "self_confidence"},
        num_issue_kwargs={"estimation_method": "off_diagonal_calibrated"},
    )  # fmt: skip
    for part in _parts(rows):
        inspector.update_confident_thresholds(labels[part], probabilities[part])
    for part in _parts(rows):
        inspector.score_label_quality(labels[part], probabilities[part])
    wrong[rows[inspector.get_label_issues()]] = True
    return LabelCheck(scores, suggested, wrong & (suggested != labels), True)
