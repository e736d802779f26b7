"""Test-time augmentation: average the predictions of several views of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    from torch import Tensor

    from sota_bench.technique import Forward, Views


def average(logits: Sequence[Tensor], of: str, weights: Sequence[float] | None = None) -> Tensor:
    """Log-probabilities [B, K] of the average over views.

    Args:
        logits: per view float [B, K].
        of: ``probabilities`` averages after the softmax, ``logits`` before it.
        weights: per view, summing to 1; equal when left out.
    """
    import torch

    shares = torch.tensor(weights or [1 / len(logits)] * len(logits), device=logits[0].device).view(-1, 1, 1)
    stacked = torch.stack(list(logits))
    if of == "logits":
        return torch.log_softmax((stacked * shares).sum(0), dim=1)
    return torch.logsumexp(torch.log_softmax(stacked, dim=2) + shares.log(), dim=0)


class TestTimeAugmentationSettings(Settings):
    tta: Literal["off", "flip", "five-crop", "multi-scale", "augmented"] = setting(
        "off",
        "off, flip (the image and its mirror image), five-crop (centre and corners), multi-scale, or augmented (training "
        "augmentation, weighted as fastai does); false and true mean off and flip",
        scope="evaluate",
        levels=("off", "flip", "five-crop", "multi-scale", "augmented"),
    )
    tta_average: Literal["probabilities", "logits"] = setting(
        "probabilities", "what is averaged over the views", scope="evaluate"
    )

    @field_validator("tta", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return {False: "off", True: "flip"}.get(value, value) if isinstance(value, bool) else value


class TestTimeAugmentation(Technique):
    name = "tta"
    field = "tta"
    off = "off"
    applies_to = "evaluation"
    settings = TestTimeAugmentationSettings
    card = Card(
        name="Test-time augmentation",
        claim="Higher accuracy and better calibration from the same network, paid for at inference.",
        why="Each view is another noisy look at the same object, and averaging cancels part of the noise. It happens at "
        "inference, so it never retrains: one training serves every level.",
        paper="Krizhevsky, Sutskever and Hinton 2012, ImageNet Classification with Deep Convolutional Neural Networks, "
        "section 4.1 (https://doi.org/10.1145/3065386)",
        defaults="flip: two views, the average of probabilities.",
        cost="One forward pass for each view: flip doubles the latency, five-crop makes it five times.",
        fails="Views that change the class (mirrored text), or a network that is already invariant to them.",
    )

    def predict(self, views: Views, forward: Forward) -> Tensor:
        """Averages over the level's views."""
        logits = [forward(view) for view in self._views(views)]
        return average(logits, self.recipe.tta_average)

    def _views(self, views: Views) -> list[Tensor]:
        level = self.recipe.tta
        if level == "flip":
            return [views.center(), views.center(flip=True)]
        corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
        return [views.center(), *(views.corner(row, column, 0.875) for row, column in corners)]
