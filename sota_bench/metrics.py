"""Quality and calibration of class probabilities, from log-probabilities [N, K] and labels [N]. numpy only.

Reference: Guo et al. 2017, On Calibration of Modern Neural Networks (ECE, reliability diagram); Brier 1950.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ECE_BINS = 15
"""Equal-width bins of confidence between 0 and 1, as in Guo et al. 2017."""


def reliability(log_probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> dict[str, list[float]]:
    """Confidence and accuracy per bin of confidence; bins are (low, high], the first includes 0.

    Returns:
        ``low, high, count, confidence, accuracy``, each of length ``bins``; an empty bin has confidence and accuracy 0.
    """
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    correct = log_probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    filled = np.maximum(count, 1)
    return {
        "low": edges[:-1].tolist(),
        "high": edges[1:].tolist(),
        "count": count.tolist(),
        "confidence": (np.bincount(which, confidence, bins) / filled).tolist(),
        "accuracy": (np.bincount(which, correct, bins) / filled).tolist(),
    }


def summarize(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All metrics of one evaluation.

    Args:
        log_probabilities: float [N, K], natural logarithm, rows sum to 1 after ``exp``.
        labels: int [N].

    Returns:
        ``accuracy`` (percent), ``nll`` (nats), ``ece`` (0 to 1, 15 equal-width bins), ``brier`` (sum over classes, 0
        to 2), ``confidence`` (mean of the largest probability), ``images``, ``reliability``.
    """
    scores = log_probabilities.astype(np.float64)
    probabilities = np.exp(scores)
    each = np.arange(len(labels))
    bins = reliability(scores, labels)
    gaps = np.abs(np.subtract(bins["accuracy"], bins["confidence"]))
    one_hot = np.zeros_like(probabilities)
    one_hot[each, labels] = 1
    return {
        "accuracy": float(100 * (scores.argmax(axis=1) == labels).mean()),
        "nll": float(-scores[each, labels].mean()),
        "ece": float((np.asarray(bins["count"]) * gaps).sum() / len(labels)),
        "brier": float(((probabilities - one_hot) ** 2).sum(axis=1).mean()),
        "confidence": float(probabilities.max(axis=1).mean()),
        "images": len(labels),
        "reliability": bins,
    }
