"""Other losses than cross-entropy: binary cross-entropy for each class, and generalized cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    from torch import Tensor

    from sota_bench.technique import Outputs


def binary_cross_entropy(logits: Tensor, targets: Tensor, threshold: float) -> Tensor:
    """Mean over images and classes of ``-t log s - (1 - t) log (1 - s)`` with ``s = sigmoid(logits)``.

    Args:
        logits: float32 [B, K].
        targets: float32 [B, K], rows sum to 1.
        threshold: classes with a larger target count as present (1) and all others as absent (0), so that both classes
            of a mixed image are fully there (Wightman et al. 2021, section 3); 0 keeps the targets as they are.

    Returns:
        float32 scalar.
    """
    import torch.nn.functional as F

    if threshold:
        targets = (targets > threshold).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets)


def generalized_cross_entropy(logits: Tensor, targets: Tensor, q: float) -> Tensor:
    """Mean over images of ``sum_k t_k (1 - p_k^q) / q`` (Zhang and Sabuncu 2018, equation 6).

    The paper's loss of each class, weighted with its target: for a hard label it is the paper's, for smoothed and mixed
    targets its expectation. Cross-entropy is the limit for q to 0, half of the mean absolute error is q = 1.

    Args:
        logits: float32 [B, K].
        targets: float32 [B, K], rows sum to 1.
        q: above 0, at most 1.

    Returns:
        float32 scalar.
    """
    import torch

    log_p = torch.log_softmax(logits, dim=1)
    return (targets * -torch.expm1(q * log_p) / q).sum(dim=1).mean()  # exact also for a small q


class LossSettings(Settings):
    loss: Literal["cross-entropy", "bce", "gce"] = setting(
        "cross-entropy",
        "training loss: cross-entropy, bce (binary cross-entropy of each class) or gce (generalized "
        "cross-entropy); NLL and the reported training loss are cross-entropy for all of them",
        scope="train",
        levels=("cross-entropy", "bce", "gce"),
    )
    bce_threshold: float = setting(
        0.2, "target above which a class counts as present, with `bce`; 0 keeps smoothed and mixed targets",
        scope="train", ge=0, lt=1,
    )  # fmt: skip
    gce_q: float = setting(
        0.7, "q of `gce`: near 0 it is cross-entropy, at 1 the mean absolute error", scope="train", gt=0, le=1
    )


class BinaryCrossEntropy(Technique[LossSettings]):
    name = "bce"
    field = "loss"
    level = "bce"
    off = "cross-entropy"
    order = 15
    settings_type = LossSettings
    card = Card(
        name="Binary cross-entropy",
        claim="Higher accuracy with Mixup and CutMix in long trainings.",
        response="accuracy",
        why="Each class is predicted independently, so an image mixed from two classes may fully show both; with a "
        "softmax, classes compete for one unit of probability.",
        paper="Wightman, Touvron and Jégou 2021, ResNet strikes back: An improved training procedure in timm, "
        "section 3 (https://arxiv.org/abs/2110.00476)",
        defaults="Targets above 0.2 count as present, as in the paper's recipes, which also undoes label smoothing. "
        "The mean over classes, as in timm.",
        cost="None.",
        fails="The mean over classes makes its gradient many times smaller than cross-entropy's: SGD needs another "
        "learning rate, AdamW does not. Its logits are trained for independent sigmoids, while NLL and calibration "
        "are measured on their softmax.",
    )

    def loss(self, loss: Tensor, outputs: Outputs) -> Tensor:
        """Takes the place of cross-entropy."""
        return binary_cross_entropy(outputs.logits, outputs.targets, self.settings.bce_threshold)


class GeneralizedCrossEntropy(Technique[LossSettings]):
    name = "gce"
    field = "loss"
    level = "gce"
    off = "cross-entropy"
    order = 15
    settings_type = LossSettings
    card = Card(
        name="Generalized cross-entropy",
        claim="Less accuracy lost to wrong labels.",
        response="accuracy",
        why="The gradient of cross-entropy weights an image by 1 / p of its label, so implausible labels, which are "
        "often wrong, weigh most. Here that weight is multiplied by p^q, so that they count less.",
        paper="Zhang and Sabuncu 2018, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy "
        "Labels, section 3.2 (https://arxiv.org/abs/1805.07836)",
        defaults="q = 0.7, as in all of the paper's experiments, without its pruning of images.",
        cost="None.",
        fails="It learns more slowly, since images that are not learned yet count less too: in short trainings, and "
        "with many classes and clean labels, it costs accuracy.",
    )

    def loss(self, loss: Tensor, outputs: Outputs) -> Tensor:
        """Takes the place of cross-entropy."""
        return generalized_cross_entropy(outputs.logits, outputs.targets, self.settings.gce_q)
