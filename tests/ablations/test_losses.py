"""Losses against timm's, the papers' formulas and their limits."""

from __future__ import annotations

import pytest
import timm.loss
import torch
import torch.nn.functional as F
from lab import Lab
from torch import Tensor

from ablations.losses import binary_cross_entropy, focal_loss, generalized_cross_entropy
from sota_bench.training.train import cross_entropy


def logits(rows: int = 64, classes: int = 10) -> Tensor:
    return 3 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def hard(rows: int = 64, classes: int = 10) -> Tensor:
    return F.one_hot(torch.arange(rows) % classes, classes).double()


def mixed(rows: int = 64, classes: int = 10) -> Tensor:
    """Targets as Mixup makes them: two classes, of which one may have little."""
    weight = torch.rand(rows, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return weight * hard(rows, classes) + (1 - weight) * hard(rows, classes).flip(0)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("targets", [hard(), mixed()], ids=["hard", "mixed"])
def test_binary_cross_entropy_equals_timms(threshold: float, targets: Tensor) -> None:
    theirs = timm.loss.BinaryCrossEntropy(smoothing=0.0, target_threshold=threshold or None)
    torch.testing.assert_close(binary_cross_entropy(logits(), targets, threshold), theirs(logits(), targets))


def test_both_classes_of_a_mixed_image_are_present_above_the_threshold() -> None:
    targets = torch.tensor([[0.7, 0.3, 0.0], [0.9, 0.1, 0.0]])
    scores = torch.randn(2, 3, generator=torch.Generator().manual_seed(2))
    present = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    expected = F.binary_cross_entropy(scores.sigmoid(), present)
    torch.testing.assert_close(binary_cross_entropy(scores, targets, 0.2), expected)


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_generalized_cross_entropy_is_the_papers_formula(q: float) -> None:
    """Equation 6: ``(1 - f_j(x)^q) / q`` of the label's probability."""
    probabilities, labels = logits().softmax(1), hard().argmax(1)
    expected = ((1 - probabilities[torch.arange(len(labels)), labels] ** q) / q).mean()
    torch.testing.assert_close(generalized_cross_entropy(logits(), hard(), q), expected)


@pytest.mark.parametrize("targets", [hard(), mixed()], ids=["hard", "mixed"])
def test_generalized_cross_entropy_between_its_limits(targets: Tensor) -> None:
    """Cross-entropy for q to 0; for q = 1 half of the mean absolute error, of which a mixed target is the mean."""
    torch.testing.assert_close(
        generalized_cross_entropy(logits(), targets, 1e-9), cross_entropy(logits(), targets), rtol=1e-7, atol=0
    )
    absolute = torch.stack([
        (F.one_hot(torch.full((len(targets),), label), 10) - logits().softmax(1)).abs().sum(1) for label in range(10)
    ], dim=1)  # fmt: skip
    expected = (targets * absolute).sum(1).mean() / 2
    torch.testing.assert_close(generalized_cross_entropy(logits(), targets, 1.0), expected)


@pytest.mark.parametrize("q", [0.01, 0.7, 1.0])
def test_generalized_cross_entropy_is_finite_for_hopeless_and_perfect_logits(q: float) -> None:
    scores = torch.tensor([[1e4, 0.0], [-1e4, 0.0], [0.0, 0.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    generalized_cross_entropy(scores, targets, q).backward()
    assert scores.grad is not None and scores.grad.isfinite().all()


def test_its_gradient_is_that_of_cross_entropy_weighted_with_p_to_the_q() -> None:
    """Zhang and Sabuncu 2018, section 3.2."""
    ours, theirs = logits().requires_grad_(), logits().requires_grad_()
    generalized_cross_entropy(ours, hard(), 0.7).backward()
    weight = logits().softmax(1)[hard().bool()] ** 0.7
    (weight * F.cross_entropy(theirs, hard(), reduction="none")).mean().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_each_level_trains_its_own_network_and_reports_cross_entropy(lab: Lab) -> None:
    """Of the first step, before any update, the same: the networks and the batches are paired."""
    ran = lab.run("lr = 1e-9", 'loss = ["cross-entropy", "bce", "gce"]')
    losses = [ran.trained(trial=trial).values["curve"][0]["loss"] for trial in range(3)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)
    trained = lab.run("", 'loss = ["cross-entropy", "bce", "gce"]')
    assert len({trained.trained(trial=trial).values["curve"][0]["loss"] for trial in range(3)}) == 3


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_loss_of_two_classes_is_torchvisions(gamma: float) -> None:
    """A softmax over (z, 0) is torchvision's sigmoid of z."""
    from torchvision.ops import sigmoid_focal_loss

    scores = 3 * torch.randn(64, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    present = (torch.arange(64) % 2).double()
    expected = sigmoid_focal_loss(scores, present, alpha=-1, gamma=gamma, reduction="mean")
    both, targets = torch.stack((scores, torch.zeros(64)), dim=1), torch.stack((present, 1 - present), dim=1)
    torch.testing.assert_close(focal_loss(both, targets, gamma), expected)


@pytest.mark.parametrize("targets", [hard(), mixed()], ids=["hard", "mixed"])
def test_focal_loss_is_cross_entropy_at_gamma_0_and_finite_where_all_is_known(targets: Tensor) -> None:
    torch.testing.assert_close(focal_loss(logits(), targets, 0.0), cross_entropy(logits(), targets))
    sure = (hard().float() * 200).requires_grad_()
    for gamma in (0.5, 2.0):
        focal_loss(sure, targets.float(), gamma).backward()
        assert sure.grad is not None
        assert sure.grad.isfinite().all()
