"""Mixup: train on convex combinations of pairs of images and of their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from sota_bench.technique import Batch


def mixup(images: Tensor, targets: Tensor, weight: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """``x' = w x + (1 - w) x[partner]`` and the same for the targets (Zhang et al. 2018, equation 2).

    Args:
        images: float [B, C, H, W].
        targets: float [B, K], rows sum to 1; so do the result's, also where both images have one class.
        weight: float [B] or [1], lambda.
        partner: int64 [B], a permutation of the batch.

    Returns:
        Images [B, C, H, W] and targets [B, K].
    """
    pixel_weight, target_weight = weight.view(-1, 1, 1, 1), weight.view(-1, 1)
    mixed = images * pixel_weight + images[partner] * (1 - pixel_weight)
    return mixed, targets * target_weight + targets[partner] * (1 - target_weight)


class MixupSettings(Settings):
    mixup: float = setting(
        0.0, "alpha of Beta(alpha, alpha), from which lambda is drawn; 0 is off", scope="train", ge=0, le=100,
        levels=(0.0, 0.2, 0.4),
    )  # fmt: skip
    mixup_lambda: Literal["batch", "sample"] = setting(
        "batch", "one lambda per batch (the paper's code, timm) or per image (sample, as in fastai)", scope="train"
    )


class Mixup(Technique[MixupSettings]):
    name = "mixup"
    field = "mixup"
    off = 0.0
    order = 20
    exclusive_group = "mixing"
    settings_type = MixupSettings
    card = Card(
        name="Mixup",
        claim="Better calibrated, less overconfident networks, and often higher accuracy on long trainings.",
        response="ece",
        why="The network is asked to be linear between examples, so it learns when to be unsure: an image that is "
        "70% cat and 30% dog has exactly that as its target. The targets stay probabilities that sum to 1, so "
        "cross-entropy is still a proper score and the network's output can still be read as a probability. With "
        "wrong labels it is harder to memorize single examples.",
        paper="Zhang, Cisse, Dauphin and Lopez-Paz 2018, mixup: Beyond Empirical Risk Minimization "
        "(https://arxiv.org/abs/1710.09412)",
        defaults="alpha 0.2 with lambda per batch, as in the paper's ImageNet runs; 0.4 is fastai's default.",
        cost="One weighted sum of the batch with a permutation of itself; below 1% of a step of a small ResNet "
        "on a CPU.",
        fails="In short trainings it slows the fit and costs accuracy; with a large alpha it underfits.",
    )

    def on_batch(
        self, images: Tensor, targets: Tensor, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draws lambda and the partners from this technique's own stream."""
        import torch

        alpha, count = self.settings.mixup, len(images)
        draws = rng.beta(alpha, alpha, size=count if self.settings.mixup_lambda == "sample" else 1)
        weight = torch.as_tensor(draws, dtype=torch.float32).to(images.device, non_blocking=True)
        partner = torch.from_numpy(rng.permutation(count)).to(images.device, non_blocking=True)
        return mixup(images, targets, weight, partner)
