"""Label noise: some training images get a wrong class, for studies of what that costs and what helps against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sota_bench.technique import Card, Settings, Technique, setting, uniform_by_id

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from sota_bench.technique import Batch, CoreRecipe


def wrong_labels(labels: np.ndarray, draws: np.ndarray, share: float, classes: int) -> np.ndarray:
    """Gives a share of the images another class, each other class with the same probability (symmetric noise).

    An image that is wrong at one share is wrong at every larger one, and then has the same class.

    Args:
        labels: int64 [B], true classes.
        draws: float64 [B, 2], uniform in 0 to 1: whether the label is wrong, and which class it gets.
        share: 0 to 1.
        classes: K, at least 2.

    Returns:
        int64 [B].
    """
    offset = 1 + (draws[:, 1] * (classes - 1)).astype(labels.dtype)
    noisy: np.ndarray = (labels + (draws[:, 0] < share) * offset) % classes
    return noisy


class LabelNoiseSettings(Settings):
    label_noise: float = setting(
        0.0, "share of the training images that get a wrong class; 0 is off", scope="train", ge=0, lt=1,
        levels=(0.0, 0.2),
    )  # fmt: skip
    label_noise_seed: int = setting(
        0, "seed that chooses these images, the same ones in every trial, epoch and subset", scope="train", ge=0,
        le=2**31,
    )  # fmt: skip


class LabelNoise(Technique[LabelNoiseSettings]):
    """The labels that judge are never touched."""

    name = "label-noise"
    field = "label_noise"
    off = 0.0
    order = 0
    settings_type = LabelNoiseSettings
    card = Card(
        name="Label noise",
        claim="Costs accuracy by design: use it to see which technique loses the least to wrong labels.",
        response="accuracy",
        why="Networks first learn patterns that many images share, and later memorize single images, including those "
        "with wrong labels. Techniques that slow memorization help.",
        paper="Zhang, Bengio, Hardt, Recht and Vinyals 2017, Understanding deep learning requires rethinking "
        "generalization, section 2 (https://arxiv.org/abs/1611.03530)",
        defaults="0.2, the lightest share in most studies of symmetric noise. The content of an image and "
        "label_noise_seed decide whether it is wrong, so shares are nested and all training seeds see the same labels.",
        cost="None.",
        fails="It never helps. Symmetric noise is easier than human errors, which confuse classes that look alike.",
    )

    def __init__(self, recipe: CoreRecipe) -> None:
        super().__init__(recipe)
        self._seen, self._wrong = 0, 0

    def on_targets(self, targets: Tensor, batch: Batch, rng: np.random.Generator) -> Tensor:
        """One-hot targets float32 [B, K] of the labels with noise."""
        import torch
        import torch.nn.functional as F

        classes = targets.shape[1]
        draws = uniform_by_id(self.settings.label_noise_seed, self.name, batch.image_ids, 2)
        labels = wrong_labels(batch.labels, draws, self.settings.label_noise, classes)
        self._seen += len(labels)
        self._wrong += int((labels != batch.labels).sum())
        on_device = torch.from_numpy(labels).to(targets.device, non_blocking=True)
        return F.one_hot(on_device, classes).to(targets.dtype)

    def state(self) -> dict[str, Tensor]:
        """How many labels were seen and wrong."""
        import torch

        return {"seen": torch.tensor(self._seen), "wrong": torch.tensor(self._wrong)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on counting."""
        self._seen, self._wrong = int(state["seen"]), int(state["wrong"])

    def describe(self) -> dict[str, Any]:
        """The share of wrong labels among those that were trained on."""
        return {"share_of_wrong_labels": round(self._wrong / max(1, self._seen), 4)}
