"""The stored predictions of a run's trials, and what they say of single classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.responses import response_named
from sota_bench.stages.results import StageResult
from sota_bench.store import DamagedArtifact, MissingArtifact, Store


@dataclass(frozen=True)
class Predictions:
    """What one trial says of the images that judge it.

    Attributes:
        correct: whether the most probable class is the true one [N].
        nll: negative log-probability of the true class in nats, float32 [N].
        labels: true classes, int64 [N].
        classes: names of the K classes.
    """

    correct: NDArray[np.bool_]
    nll: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Images of each class [K]."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    @cached_property
    def recalls(self) -> dict[str, float]:
        """Percent of the images of each class that are right; classes without an image are left out."""
        right = np.bincount(self.labels[self.correct], minlength=len(self.classes))
        return {
            name: 100 * float(hits) / int(count)
            for name, hits, count in zip(self.classes, right, self.counts, strict=True)
            if count
        }

    def constant_guess(self, response: str) -> tuple[float, str] | None:
        """What a response is for the best answer that is the same for every image, and what that answer is.

        Args:
            response: a name of `sota_bench.responses`.
        """
        shares = self.counts[self.counts > 0] / max(len(self.labels), 1)
        if response == "accuracy":
            return 100 * float(shares.max()), f"always answering {self.classes[int(self.counts.argmax())]}"
        if response == "balanced_accuracy":
            return 100 / len(shares), "always answering the same class"
        if response == "nll":
            return -float((shares * np.log(shares)).sum()), "predicting the frequencies of the classes"
        return None

    def per_image(self, response: str) -> NDArray[np.float64] | NDArray[np.bool_] | None:
        """Numbers [N] whose mean is a response of the trial; None where it is no mean over images.

        Args:
            response: a name of `sota_bench.responses`.
        """
        if response == "accuracy":
            return self.correct
        if response == "nll":
            return self.nll.astype(np.float64)
        share = np.zeros(len(self.classes))
        if response == "balanced_accuracy":
            share[self.counts > 0] = 1 / (self.counts > 0).sum()
        elif (name := response_named(response).class_name) in self.recalls:
            share[self.classes.index(str(name))] = 1.0
        else:
            return None
        weights = 100 * len(self.labels) * share / np.maximum(self.counts, 1)
        return np.asarray(self.correct * weights[self.labels])


def per_image(predictions: Mapping[str, Predictions], response: str) -> dict[str, NDArray[Any]]:
    """Trial -> the numbers [N] whose mean is a response; empty for responses that are no mean over images.

    Args:
        predictions: by trial.
        response: a name of `sota_bench.responses`.
    """
    values = {trial: each.per_image(response) for trial, each in predictions.items()}
    return {trial: numbers for trial, numbers in values.items() if numbers is not None}


def predictions_of(plan: Plan, results: Mapping[str, StageResult], store: Store) -> dict[str, Predictions]:
    """Trial -> its predictions, in one order for all trials with the same images.

    Trials whose predictions are gone or damaged are left out.
    """
    by_key: dict[str, Predictions | None] = {}
    by_trial: dict[str, Predictions] = {}
    for trial in plan.trials:
        if trial.inapplicable is not None or trial.final.key not in results:
            continue
        key = trial.final.key
        if key not in by_key:
            by_key[key] = _load(plan, trial, store)
        predictions = by_key[key]
        if predictions is not None:
            by_trial[trial.trial.id] = predictions
    return by_trial


def _load(plan: Plan, trial: TrialPlan, store: Store) -> Predictions | None:
    from safetensors.numpy import load_file

    try:
        stored = load_file(store.checked_file(trial.final.key, "predictions.safetensors"))
        scores, labels = stored["log_probabilities"], stored["labels"]
    except (MissingArtifact, DamagedArtifact, KeyError):
        return None
    images = plan.images
    classes = images.subset(images.choice(trial.trial.cell.recipe, "main")).classes
    nll = -scores[np.arange(len(labels)), labels]
    return Predictions(scores.argmax(axis=1) == labels, nll, labels, tuple(classes))
