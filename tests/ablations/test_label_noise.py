"""Label noise: a share of the images, the same ones always, in training alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lab import Lab
from safetensors.numpy import load_file
from scipy.stats import binomtest, chisquare

from ablations.label_noise import LabelNoise, wrong_labels
from sota_bench.grid.recipe import recipe_type
from sota_bench.technique import Batch, uniform_by_id

CLASSES = 10
IDS = np.random.default_rng(0).integers(0, 2**62, 20_000)
LABELS = np.arange(len(IDS)) % CLASSES


def noisy(share: float, seed: int = 0, ids: np.ndarray = IDS, labels: np.ndarray = LABELS) -> np.ndarray:
    return wrong_labels(labels, uniform_by_id(seed, "label-noise", ids, 2), share, CLASSES)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.8])
def test_the_share_is_achieved_and_spread_evenly_over_the_other_classes(share: float) -> None:
    changed = noisy(share) != LABELS
    assert binomtest(int(changed.sum()), len(IDS), share).pvalue > 1e-4
    distance = (noisy(share) - LABELS)[changed] % CLASSES
    assert chisquare(np.bincount(distance, minlength=CLASSES)[1:]).pvalue > 1e-4
    per_class = np.bincount(LABELS[changed], minlength=CLASSES)
    assert chisquare(per_class).pvalue > 1e-4


def test_a_larger_share_holds_a_smaller_ones_wrong_labels() -> None:
    small, large = noisy(0.1), noisy(0.4)
    changed = small != LABELS
    assert (large[changed] == small[changed]).all()
    assert (noisy(0.0) == LABELS).all()


def test_an_images_label_does_not_depend_on_the_other_images() -> None:
    chosen = np.random.default_rng(1).permutation(len(IDS))[:500]
    assert (noisy(0.4, ids=IDS[chosen], labels=LABELS[chosen]) == noisy(0.4)[chosen]).all()


def test_another_noise_seed_chooses_other_images() -> None:
    first, second = noisy(0.3) != LABELS, noisy(0.3, seed=1) != LABELS
    assert (first & second).mean() == pytest.approx(0.09, abs=0.01)  # as two independent choices


def test_two_classes_are_swapped() -> None:
    labels = np.arange(100) % 2
    draws = uniform_by_id(0, "label-noise", IDS[:100], 2)
    assert (wrong_labels(labels, draws, 1.0, 2) == 1 - labels).all()


def technique(share: float) -> LabelNoise:
    return LabelNoise(recipe_type()(label_noise=share))


def test_targets_are_one_hot_of_the_wrong_labels_and_the_share_is_described() -> None:
    noise, rng = technique(0.4), np.random.default_rng(0)
    targets = F.one_hot(torch.from_numpy(LABELS), CLASSES).float()
    changed = noise.on_targets(targets, Batch(IDS, LABELS), rng)
    assert (changed.argmax(1).numpy() == noisy(0.4)).all()
    assert (changed.sum(1) == 1).all() and (changed.max(1).values == 1).all()
    share = float((noisy(0.4) != LABELS).mean())
    assert noise.describe() == {"share_of_wrong_labels": round(share, 4)}
    resumed = technique(0.4)
    resumed.load_state(noise.state())
    assert resumed.describe() == noise.describe()
    assert rng.random() == np.random.default_rng(0).random()  # nothing was drawn from the step's own stream


def test_the_labels_that_judge_are_true(lab: Lab) -> None:
    ran = lab.run("", "label_noise = [0.0, 0.9]")
    labels = [
        load_file(str(ran.folders[trial.final.key] / "predictions.safetensors"))["labels"] for trial in ran.plan.trials
    ]
    assert labels[0].tolist() == labels[1].tolist()


def test_wrong_labels_are_the_same_in_every_epoch_seed_and_subset(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, set[tuple[int, int]]] = {}
    original = LabelNoise.on_targets

    def noted(self: LabelNoise, targets: Any, batch: Batch, rng: Any) -> Any:
        changed = original(self, targets, batch, rng)
        for image, label, given in zip(batch.image_ids, batch.labels, changed.argmax(1).tolist(), strict=True):
            seen.setdefault(int(image), set()).add((int(label), int(given)))
        return changed

    monkeypatch.setattr(LabelNoise, "on_targets", noted)
    for seeds, data in (((0, 1), ""), ((0,), "fraction = 0.5")):
        plan = lab.plan('resize = "32x3"\nlr = 0.00123', "label_noise = [0.5]", seeds, data)
        lab.run_plan(plan)
    assert len(seen) == 48
    assert all(len(labels) == 1 for labels in seen.values())
    wrong = sum(label != given for labels in seen.values() for label, given in labels)
    assert binomtest(wrong, 48, 0.5).pvalue > 1e-3
