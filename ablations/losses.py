"""Other losses than cross-entropy: binary cross-entropy for each class, generalized cross-entropy, and focal loss."""

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


def focal_loss(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Mean over images of ``-sum_k t_k (1 - p_k)^gamma log p_k`` (Lin et al. 2017, equation 4, of a softmax).

    The loss of each class, weighted with its target: for a hard label it is the paper's, for smoothed and mixed targets
    its expectation. Cross-entropy is gamma = 0.

    Args:
        logits: float32 [B, K].
        targets: float32 [B, K], rows sum to 1.
        gamma: 0 or more.

    Returns:
        float32 scalar.
    """
    import torch

    log_p = torch.log_softmax(logits, dim=1)
    unsure = -torch.expm1(log_p)  # 1 - p, exact also near p = 1
    return -(targets * unsure.clamp(min=torch.finfo(log_p.dtype).tiny) ** gamma * log_p).sum(dim=1).mean()


class LossSettings(Settings):
    loss: Literal["cross-entropy", "bce", "gce", "focal"] = setting(
        "cross-entropy",
        "training loss: cross-entropy, bce (binary cross-entropy of each class), gce (generalized "
        "cross-entropy) or focal; NLL and the reported training loss are cross-entropy for all of them",
        scope="train",
        levels=("cross-entropy", "bce", "gce", "focal"),
    )
    bce_threshold: float = setting(
        0.2, "target above which a class counts as present, with `bce`; 0 keeps smoothed and mixed targets",
        scope="train", ge=0, lt=1,
    )  # fmt: skip
    gce_q: float = setting(
        0.7, "q of `gce`: near 0 it is cross-entropy, at 1 the mean absolute error", scope="train", gt=0, le=1
    )
    focal_gamma: float = setting(
        2.0, "gamma of `focal`: 0 is cross-entropy; the larger it is, the less well-classified images count",
        scope="train", ge=0, le=10,
    )  # fmt: skip


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


class FocalLoss(Technique[LossSettings]):
    name = "focal"
    field = "loss"
    level = "focal"
    off = "cross-entropy"
    order = 15
    settings_type = LossSettings
    card = Card(
        name="Focal loss",
        claim="Better calibration, and more accuracy on rare classes.",
        response="ece",
        why="The loss of an image is multiplied by (1 - p)^gamma, p being the probability of its class: "
        "well-classified images count less, hard ones more, and probabilities are not driven towards 1.",
        paper="Lin, Goyal, Girshick, He and Dollár 2017, Focal Loss for Dense Object Detection "
        "(https://arxiv.org/abs/1708.02002); Mukhoti et al. 2020, Calibrating Deep Neural Networks using Focal Loss "
        "(https://arxiv.org/abs/2002.09437)",
        defaults="gamma = 2, the best value in the first paper; without its class weights.",
        cost="None.",
        fails="Images with a wrong label are hard ones too, and count more. Trained for long, it can leave "
        "probabilities too low.",
    )

    def loss(self, loss: Tensor, outputs: Outputs) -> Tensor:
        """Takes the place of cross-entropy."""
        return focal_loss(outputs.logits, outputs.targets, self.settings.focal_gamma)
