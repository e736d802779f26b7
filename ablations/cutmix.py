"""CutMix: paste a rectangle of another image, and mix the labels by the area that each image keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from sota_bench.technique import Batch


def cut_boxes(height: int, width: int, weight: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Rectangles of the image's own shape that cover ``1 - lambda`` of it before they are cut off at its border.

    Args:
        height, width: of the images, in pixels.
        weight: lambda, float [N].
        rows, columns: int [N], the rectangles' centres in pixels, anywhere in the image.

    Returns:
        int64 [N, 4]: top, left, bottom, right (the last two exclusive).
    """
    import numpy as np

    side = np.sqrt(1 - weight)
    tall, wide = (height * side).astype(np.int64), (width * side).astype(np.int64)
    corners = (rows - tall // 2, columns - wide // 2, rows + (tall + 1) // 2, columns + (wide + 1) // 2)
    return np.stack(corners, axis=1).clip(0, [height, width, height, width])


def cutmix(images: Tensor, targets: Tensor, partner: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels inside the box come from the partner (Yun et al. 2019, equation 1).

    The targets are mixed by the area that was really pasted, not by the lambda from which the box was drawn: a box that
    the border cuts off pastes less.

    Args:
        images: float [B, C, H, W].
        targets: float [B, K], rows sum to 1; so do the result's, also where both images have one class.
        partner: int64 [B], a permutation of the batch.
        boxes: int64 [B, 4] or [1, 4]: top, left, bottom, right.

    Returns:
        Images [B, C, H, W] and targets [B, K].
    """
    import torch

    height, width = images.shape[2:]
    top, left, bottom, right = boxes[:, :, None, None].unbind(1)  # each [B or 1, 1, 1]
    row = torch.arange(height, device=images.device)[:, None]
    column = torch.arange(width, device=images.device)
    inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    pasted = inside.sum(dim=(1, 2)).to(targets.dtype)[:, None] / (height * width)
    mixed = torch.where(inside[:, None], images[partner], images)
    return mixed, targets * (1 - pasted) + targets[partner] * pasted


class CutMixSettings(Settings):
    cutmix: float = setting(
        0.0, "alpha of Beta(alpha, alpha), from which the share of the image that is kept is drawn; 0 is off",
        scope="train", ge=0, le=100, levels=(0.0, 1.0),
    )  # fmt: skip
    cutmix_lambda: Literal["batch", "sample"] = setting(
        "batch", "one rectangle per batch (the paper's code, torchvision) or per image (sample)", scope="train"
    )


class CutMix(Technique[CutMixSettings]):
    """Takes turns with Mixup where both are on: each batch draws one of them, as timm does."""

    name = "cutmix"
    field = "cutmix"
    off = 0.0
    order = 20
    exclusive_group = "mixing"
    settings_type = CutMixSettings
    card = Card(
        name="CutMix",
        claim="Higher accuracy on long trainings, and better localization than Mixup gives.",
        response="accuracy",
        why="The network has to recognize an object from a part of it, and every pixel it sees is natural: nothing "
        "is blended. The target says how much of each image is visible.",
        paper="Yun, Han, Oh, Chun, Choe and Yoo 2019, CutMix: Regularization Strategy to Train Strong Classifiers with "
        "Localizable Features (https://arxiv.org/abs/1905.04899)",
        defaults="alpha 1 (uniform), from the paper.",
        cost="One copy of the batch; below 1% of a training step of a small ResNet on a CPU.",
        fails="In short trainings it slows the fit. Where the class lies in a small part of the image, the pasted "
        "label may name an object that is not in the rectangle.",
    )

    def on_batch(
        self, images: Tensor, targets: Tensor, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draws rectangles and partners from this technique's own stream."""
        import torch

        alpha, (count, _, height, width) = self.settings.cutmix, images.shape
        draws = count if self.settings.cutmix_lambda == "sample" else 1
        weight = rng.beta(alpha, alpha, size=draws)
        boxes = cut_boxes(height, width, weight, rng.integers(height, size=draws), rng.integers(width, size=draws))
        partner = torch.from_numpy(rng.permutation(count)).to(images.device, non_blocking=True)
        return cutmix(images, targets, partner, torch.from_numpy(boxes).to(images.device, non_blocking=True))
