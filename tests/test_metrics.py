"""Metrics of probabilities: equal to torchmetrics and torch, and to what closed forms say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from sota_bench.metrics import ECE_BINS, reliability, summarize


def predictions(count: int = 500, classes: int = 7, sharpness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(0, sharpness, (count, classes)) + 2 * np.eye(classes)[labels]
    return torch.log_softmax(torch.from_numpy(logits), 1).numpy(), labels


@pytest.mark.parametrize("sharpness", [0.0, 0.5, 2.0, 30.0])
def test_equal_to_torchmetrics_and_torch(sharpness: float) -> None:
    scores, labels = predictions(sharpness=sharpness)
    summary = summarize(scores, labels)
    probabilities, truth = torch.from_numpy(np.exp(scores)), torch.from_numpy(labels)
    ece = MulticlassCalibrationError(7, n_bins=15, norm="l1")(probabilities, truth)
    accuracy = MulticlassAccuracy(7, average="micro")(probabilities, truth)
    assert summary["ece"] == pytest.approx(float(ece), abs=1e-5)  # torchmetrics adds up in float32
    assert summary["accuracy"] == pytest.approx(100 * float(accuracy), abs=1e-4)
    assert summary["nll"] == pytest.approx(float(F.nll_loss(torch.from_numpy(scores), truth)), rel=1e-9)
    square = F.mse_loss(probabilities, F.one_hot(truth, 7).double(), reduction="sum") / len(labels)
    assert summary["brier"] == pytest.approx(float(square), rel=1e-9)
    assert summary["confidence"] == pytest.approx(float(probabilities.max(1).values.mean()), rel=1e-9)
    assert summary["images"] == 500


def test_two_classes_are_the_binary_scores() -> None:
    """With K = 2 the multi-class Brier score is twice the binary one."""
    chance = np.array([0.9, 0.2, 0.6, 0.5])
    truth = np.array([1, 0, 0, 1])
    summary = summarize(np.log(np.stack([1 - chance, chance], axis=1)), truth)
    assert summary["brier"] == pytest.approx(2 * np.mean((chance - truth) ** 2))
    assert summary["nll"] == pytest.approx(-np.mean(np.log(np.where(truth == 1, chance, 1 - chance))))


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_a_network_that_knows_nothing(classes: int) -> None:
    """Uniform: NLL is log K, Brier 1 - 1/K, confidence 1/K; ECE is the gap to the share of class 0."""
    labels = np.arange(2 * classes) % classes
    summary = summarize(np.full((2 * classes, classes), -math.log(classes)), labels)
    assert summary["nll"] == pytest.approx(math.log(classes))
    assert summary["brier"] == pytest.approx(1 - 1 / classes)
    assert summary["confidence"] == pytest.approx(1 / classes)
    assert summary["ece"] == pytest.approx(0, abs=1e-12)
    assert summary["accuracy"] == pytest.approx(100 / classes)


def test_a_network_that_knows_everything() -> None:
    scores = np.where(np.eye(4, dtype=bool), 0.0, -1e3)
    summary = summarize(scores, np.arange(4))
    assert [summary[name] for name in ("accuracy", "nll", "brier", "ece", "confidence")] == [100, 0, 0, 0, 1]


def test_a_network_that_is_sure_and_wrong() -> None:
    scores = np.where(np.eye(2, dtype=bool), 0.0, -50.0)
    summary = summarize(scores, np.array([1, 0]))
    assert (summary["accuracy"], summary["nll"]) == (0, 50)
    assert summary["brier"] == pytest.approx(2)
    assert summary["ece"] == pytest.approx(1)


def test_bins_are_open_below_and_closed_above() -> None:
    """Guo et al. 2017: bin m holds ((m - 1)/M, m/M]; certainty is in the last one."""
    confidence = np.array([0.5, 0.500001, 0.75, 1.0])
    scores = np.log(np.stack([confidence, np.maximum(1 - confidence, 1e-300)], axis=1))
    summary = reliability(scores, np.zeros(4, int), bins=4)
    assert summary["count"] == [0, 1, 2, 1]
    assert summary["low"] == [0, 0.25, 0.5, 0.75]
    assert summary["high"] == [0.25, 0.5, 0.75, 1]


def test_the_diagram_holds_every_image_once_and_gives_the_ece() -> None:
    scores, labels = predictions()
    summary = summarize(scores, labels)
    bins = summary["reliability"]
    assert sum(bins["count"]) == 500
    assert len(bins["count"]) == ECE_BINS == 15
    counts = np.array(bins["count"])
    assert float(counts @ bins["accuracy"]) / 5 == pytest.approx(summary["accuracy"])
    assert float(counts @ bins["confidence"]) / 500 == pytest.approx(summary["confidence"])
    gaps = np.abs(np.subtract(bins["accuracy"], bins["confidence"]))
    assert float(counts @ gaps) / 500 == pytest.approx(summary["ece"])


@settings(max_examples=60, deadline=None)
@given(
    logits=arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(2, 6)), elements=st.floats(-80, 80, width=32)),
    shift=st.integers(0, 5),
)
def test_every_metric_is_finite_and_in_its_range(logits: np.ndarray, shift: int) -> None:
    scores = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
    summary = summarize(scores, (np.arange(len(scores)) + shift) % logits.shape[1])
    assert 0 <= summary["accuracy"] <= 100
    assert 0 <= summary["ece"] <= 1
    assert 0 <= summary["brier"] <= 2 + 1e-6
    assert summary["nll"] >= -1e-6
    assert math.isfinite(summary["nll"])
    assert 1 / logits.shape[1] - 1e-6 <= summary["confidence"] <= 1 + 1e-6
