"""Mixup: equal to timm and torchvision on the same draws, targets that stay probabilities, turns with CutMix."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lab import Lab, batch_of
from timm.data.mixup import Mixup as TimmMixup
from torchvision.transforms import v2

from ablations.cutmix import CutMix
from ablations.label_smoothing import LabelSmoothing, smooth
from ablations.mixup import Mixup, mixup
from sota_bench.grid.recipe import recipe_type
from sota_bench.randomness import generator
from sota_bench.training.train import cross_entropy

CLASSES = 5


def batch(count: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images 0..255, labels, and their one-hot targets."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=rng)
    return torch.rand(count, 3, 6, 10, generator=rng) * 255, labels, F.one_hot(labels, CLASSES).float()


def technique(count: int, how: str, alpha: float = 0.4) -> Mixup:
    return Mixup(recipe_type()(mixup=alpha, mixup_lambda=how))


@pytest.mark.parametrize("mode", ["batch", "elem"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_timm_on_the_same_draws(mode: str, smoothing: float) -> None:
    images, labels, targets = batch()
    theirs = TimmMixup(mixup_alpha=0.4, mode=mode, label_smoothing=smoothing, num_classes=CLASSES)
    name = "_params_per_batch" if mode == "batch" else "_params_per_elem"
    drawn = getattr(theirs, name)(*([] if mode == "batch" else [8]))
    with patch.object(theirs, name, return_value=drawn):
        their_images, their_targets = theirs(images.clone(), labels)
    weight = torch.as_tensor(np.atleast_1d(drawn[0]), dtype=torch.float32)
    ours = mixup(images, smooth(targets, smoothing), weight, torch.arange(8).flip(0))
    torch.testing.assert_close(ours[0], their_images, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours[1], their_targets, rtol=0, atol=1e-6)


def test_equals_torchvision_on_the_same_draws() -> None:
    images, labels, targets = batch()
    torch.manual_seed(1)
    their_images, their_targets = v2.MixUp(alpha=0.4, num_classes=CLASSES)(images, labels)
    torch.manual_seed(1)
    weight = torch._sample_dirichlet(torch.tensor([0.4, 0.4]))[0]
    ours = mixup(images, targets, weight[None], torch.arange(8).roll(1))
    torch.testing.assert_close(ours[0], their_images, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours[1], their_targets, rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", ["batch", "sample"])
@pytest.mark.parametrize("count", [1, 2, 7, 16])
@pytest.mark.parametrize("alpha", [1e-6, 0.2, 100.0])
def test_targets_stay_probabilities_for_any_batch(how: str, count: int, alpha: float) -> None:
    images, _, targets = batch(count)
    mixed, soft = technique(count, how, alpha).on_batch(images, targets, batch_of(count), generator(0, "mixup"))
    assert mixed.shape == images.shape
    assert mixed.dtype == torch.float32
    assert float(mixed.min()) >= 0 and float(mixed.max()) <= 255
    torch.testing.assert_close(soft.sum(1), torch.ones(count), rtol=0, atol=1e-6)
    assert bool((soft >= 0).all())


def test_two_images_of_one_class_keep_their_hard_target() -> None:
    images, _, _ = batch(6)
    targets = F.one_hot(torch.full((6,), 2), CLASSES).float()
    _, soft = technique(6, "sample").on_batch(images, targets, batch_of(6), generator(0, "mixup"))
    torch.testing.assert_close(soft, targets, rtol=0, atol=1e-6)


def test_one_lambda_for_a_batch_or_one_for_each_image() -> None:
    images = torch.arange(64.0).view(64, 1, 1, 1).expand(64, 3, 2, 2)
    targets = torch.eye(64)
    for how, distinct in (("batch", 1), ("sample", 64)):
        _, soft = technique(64, how, 2.0).on_batch(images, targets, batch_of(64), generator(4, "mixup"))
        kept = soft.diagonal()
        assert len({round(float(value), 5) for value in kept[kept < 1]}) >= distinct * 0.9
        assert how == "sample" or len({round(float(value), 5) for value in kept[kept < 1]}) == 1


def test_lambda_is_drawn_from_its_beta_distribution() -> None:
    from scipy.stats import kstest

    weights, pixels = [], torch.zeros(2, 3, 1, 1)
    for step in range(800):
        _, soft = technique(2, "batch", 0.7).on_batch(pixels, torch.eye(2), batch_of(2), generator(0, "mixup", 0, step))
        if float(soft[0, 1]) > 0:  # the two images were paired with each other
            weights.append(float(soft[0, 0]))
    assert 300 < len(weights) < 500
    assert kstest(weights, "beta", (0.7, 0.7)).pvalue > 1e-3


def test_the_loss_is_that_of_soft_targets_and_smoothing_is_whole() -> None:
    """The trap: a loss interpolated between a smoothed and a hard one smooths by half."""
    images, labels, targets = batch()
    logits = torch.randn(8, CLASSES, generator=torch.Generator().manual_seed(0))
    weight, partner = torch.tensor([0.3]), torch.randperm(8, generator=torch.Generator().manual_seed(1))
    _, soft = mixup(images, smooth(targets, 0.1), weight, partner)
    ours = cross_entropy(logits, soft)
    first = F.cross_entropy(logits, labels, label_smoothing=0.1)
    second = F.cross_entropy(logits, labels[partner], label_smoothing=0.1)
    torch.testing.assert_close(ours, 0.3 * first + 0.7 * second)
    _, hard = mixup(images, targets, weight, partner)
    torch.testing.assert_close(ours, F.cross_entropy(logits, hard, label_smoothing=0.1))
    torch.testing.assert_close(soft, smooth(hard, 0.1))
    half = 0.3 * first + 0.7 * F.cross_entropy(logits, labels[partner])
    assert abs(float(ours - half)) > 1e-3


def test_smoothing_comes_before_mixing_and_both_take_turns_in_one_group() -> None:
    assert LabelSmoothing.order < Mixup.order
    assert Mixup.exclusive_group == CutMix.exclusive_group == "mixing"


@pytest.mark.parametrize("on", ["mixup = 0.4", "cutmix = 1.0", "mixup = 0.4\ncutmix = 1.0"])
def test_a_training_sees_whole_targets_in_every_batch(lab: Lab, monkeypatch: Any, on: str) -> None:
    """Through the loop, with smoothing, a batch size that is odd and does not divide them (48 = 4 x 12)."""
    from sota_bench.training import train

    seen: list[torch.Tensor] = []

    def spy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(targets.clone())
        return cross_entropy(logits, targets)

    monkeypatch.setattr(train, "cross_entropy", spy)
    factors = f"lr = [0.00{len(on)}]"  # a training of its own, so that it is not taken from the session
    ran = lab.run(f"{on}\nlabel_smoothing = 0.2\nbatch_size = 13", factors)
    assert [len(targets) for targets in seen] == [12, 12, 12, 12]
    floor = 0.2 / 4
    for targets in seen:
        torch.testing.assert_close(targets.sum(1), torch.ones(len(targets)), rtol=0, atol=1e-5)
        torch.testing.assert_close(targets.min(dim=1).values, torch.full((len(targets),), floor), rtol=0, atol=1e-5)
        others = targets.sort(dim=1).values[:, :2]
        torch.testing.assert_close(others, torch.full((len(targets), 2), floor), rtol=0, atol=1e-5)
    assert "accuracy" not in ran.trained().values["curve"][0]


def test_turns_are_drawn_for_each_batch() -> None:
    from sota_bench.technique import Step
    from sota_bench.training.hooks import Hooks

    recipe = recipe_type()(mixup=0.4, cutmix=1.0)
    hooks = Hooks([Mixup(recipe), CutMix(recipe)], seed=0)
    turns = [hooks.on_batch(Step(0, index, index, 0.0)) for index in range(200)]
    assert all(len(turn) == 1 for turn in turns)
    count = sum(isinstance(turn[0], Mixup) for turn in turns)
    assert 70 < count < 130
