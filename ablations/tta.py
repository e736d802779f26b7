"""Test-time augmentation: average the predictions of several views of each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    from torch import Tensor

    from sota_bench.technique import Forward, Views

CROP = 0.875
"""Side of each of the five crops as a share of the image's shorter side: 224 of 256 pixels (Krizhevsky et al. 2012)."""

ZOOMS = (1.0, 0.85, 0.7)
"""Shares of the plain view that the views of ``multi-scale`` keep: the object appears up to 1.4 times as large."""


def average(logits: Sequence[Tensor], of: str, weights: Sequence[float]) -> Tensor:
    """Log-probabilities [B, K] of the weighted average over views.

    ``probabilities``: ``log sum_v w_v softmax(z_v)``; ``logits``: ``log softmax(sum_v w_v z_v)``, the normalized
    geometric mean of the probabilities.

    Args:
        logits: per view float [B, K].
        of: what is averaged, ``probabilities`` or ``logits``.
        weights: per view, summing to 1.
    """
    import torch

    stacked = torch.stack(list(logits))
    shares = torch.tensor(weights, dtype=stacked.dtype, device=stacked.device).view(-1, 1, 1)
    if of == "logits":
        return torch.log_softmax((stacked * shares).sum(0), dim=1)
    return torch.logsumexp(torch.log_softmax(stacked, dim=2) + shares.log(), dim=0)


def weights_of(level: str, count: int, beta: float) -> list[float]:
    """The weight of each view: equal, but for ``augmented``, where the plain view, which comes first, has ``beta``.

    Args:
        level: the kind of test-time augmentation.
        count: views, the plain one included.
        beta: ``beta * plain + (1 - beta) * mean(augmented)``, as fastai's ``tta``.
    """
    if level == "augmented":
        return [beta] + [(1 - beta) / (count - 1)] * (count - 1)
    return [1 / count] * count


def views_of(level: str, views: Views, count: int) -> Iterator[Tensor]:
    """The views of one batch, one after the other: float32 [B, C, size, size] of the same images in the same order.

    Args:
        level: ``flip``, ``five-crop``, ``multi-scale`` or ``augmented``.
        views: the batch.
        count: augmented views.
    """
    if level == "five-crop":
        side = min(CROP, views.crop)
        for row, column in ((0.5, 0.5), (0, 0), (0, 1), (1, 0), (1, 1)):
            yield views.square(row, column, side)
        return
    yield views.center()
    if level == "flip":
        yield views.center(flip=True)
    elif level == "multi-scale":
        for zoom in ZOOMS[1:]:
            yield views.square(0.5, 0.5, views.crop * zoom)
    else:
        for view in range(count):
            yield views.augmented(view)


class TestTimeAugmentationSettings(Settings):
    tta: Literal["off", "flip", "five-crop", "multi-scale", "augmented"] = setting(
        "off",
        "off, flip (the image and its mirror image), five-crop (centre and corners), multi-scale (three zooms), or "
        "augmented (the plain image and random crops as in training); false means off and true means flip",
        scope="evaluate",
        levels=("off", "flip", "five-crop", "multi-scale", "augmented"),
    )
    tta_average: Literal["probabilities", "logits"] = setting(
        "probabilities", "whether probabilities or logits are averaged over the views", scope="evaluate"
    )
    tta_views: int = setting(
        4, "number of random views of `augmented`, besides the plain one", scope="evaluate", ge=1, le=64
    )
    tta_beta: float = setting(
        0.25,
        "weight of the plain view in `augmented`; the random views share the remaining weight",
        scope="evaluate",
        ge=0,
        le=1,
    )

    @field_validator("tta", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return {False: "off", True: "flip"}[value] if isinstance(value, bool) else value


class TestTimeAugmentation(Technique[TestTimeAugmentationSettings]):
    name = "tta"
    field = "tta"
    off = "off"
    applies_to = "evaluation"
    changes = "predictions"
    settings_type = TestTimeAugmentationSettings
    card = Card(
        name="Test-time augmentation",
        claim="Higher accuracy and better calibration from the same network, at a higher cost of inference.",
        response="accuracy",
        why="Each view is another noisy look at the same object, and averaging cancels part of the noise. It "
        "happens at inference, so it never retrains: one training serves every level.",
        paper="Krizhevsky, Sutskever and Hinton 2012, ImageNet Classification with Deep Convolutional Neural "
        "Networks, section 4.1 (https://doi.org/10.1145/3065386); Howard and Gugger 2020, fastai: A Layered API "
        "for Deep Learning, for `augmented` (https://arxiv.org/abs/2002.04688)",
        defaults="Averages of probabilities; augmented: 4 random views, the plain one weighted 0.25, as fastai does.",
        cost="One forward pass for each view: flip makes the latency two times as long, multi-scale three, "
        "five-crop and augmented (with 4 random views) five.",
        fails="Views that change the class (mirrored text) or lose it (a corner without the object), or a network "
        "that is already invariant to them.",
    )

    def predict(self, views: Views, forward: Forward) -> Tensor:
        """Averages over the level's views."""
        level = self.settings.tta
        logits = [forward(view) for view in views_of(level, views, self.settings.tta_views)]
        return average(logits, self.settings.tta_average, weights_of(level, len(logits), self.settings.tta_beta))
