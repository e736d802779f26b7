"""One pass over the images: each is decoded once and embedded by a small network; memory stays flat, since the features
go to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sota_bench.curate.embedder import Embedder
from sota_bench.data.build import decode_in_order
from sota_bench.data.manifest import parse_scale
from sota_bench.data.source import Source
from sota_bench.errors import UserError
from sota_bench.grid.recipe import recipe_from
from sota_bench.training import backbone

if TYPE_CHECKING:
    import pandas as pd

BATCH = 64
LOOK = 24
"""Pixels of both sides of the grey picture that is kept of each image, by which copies are confirmed."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Embedding:
    """What one pass learned about N images, in the order of the rows that were given.

    Attributes:
        features: float16 [N, D], memory-mapped; zeros where an image did not decode.
        looks: uint8 [N, LOOK, LOOK], grey levels; zeros where an image did not decode.
        sides: int32 [N], the shorter side in pixels, at most the size that was decoded; 0 where it did not decode.
        problems: position -> why an image did not decode.
    """

    features: np.ndarray
    looks: np.ndarray
    sides: np.ndarray
    problems: dict[int, str]


def pretrained_network(embedder: Embedder) -> Features:
    """The network of an embedder in evaluation mode; it takes pixels 0..255, float32 [B, 3, size, size].

    Raises:
        UserError: the weights cannot be read, or do not fit.
    """
    try:
        model, _ = backbone.create(
            recipe_from({"backbone": embedder.backbone}), [], 2, embedder.size, 0, embedder.weights
        )
    except UserError as error:
        raise UserError("--weights", "", error.problem, error.remedy) from error
    network = Features(model, embedder.mean, embedder.std).to(memory_format=torch.channels_last)
    network.eval()
    return network


class Features(nn.Module):
    """Pooled features of a timm model, as its head gets them.

    Args:
        model: of timm.
        mean, std: per channel, in units of 0..1, which are taken off first.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1))

    def logits(self, pixels: Tensor) -> Tensor:
        """float32 [B, 3, H, W], 0..255, to the classifier's output, float32 [B, K]."""
        outputs: Tensor = self.model((pixels - self.mean) / self.std)
        return outputs

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 [B, 3, H, W], 0..255, to float32 [B, D]."""
        maps = self.model.forward_features((pixels - self.mean) / self.std)  # type: ignore[operator]
        pooled: Tensor = self.model.forward_head(maps, pre_logits=True)  # type: ignore[operator]
        return pooled


def embed(
    source: Source, items: pd.DataFrame, network: nn.Module, size: int, folder: Path, processes: int, progress: Progress
) -> Embedding:
    """Embeds images.

    Args:
        source: decodes them.
        items: columns ``path``, ``sha256`` and ``scale``, one row per image.
        network: pixels to features, such as :func:`pretrained_network`.
        size: pixels of both sides of the central square that it sees.
        folder: in which the features are kept.
        processes: how many decode.
        progress: called with (done, total).
    """
    count = len(items)
    looks, sides = np.zeros((count, LOOK, LOOK), np.uint8), np.zeros(count, np.int32)
    features: np.ndarray | None = None
    problems: dict[int, str] = {}
    with torch.inference_mode():
        for positions, images in _batches(source, items, size, processes):
            squares = []
            for position, image in zip(positions, images, strict=True):
                if isinstance(image, str):
                    problems[position] = image
                else:
                    sides[position] = min(image.shape[:2])
                    squares.append((position, _square(image, size)))
            if squares:
                rows = np.array([position for position, _ in squares])
                pixels = torch.stack([square for _, square in squares]).to(memory_format=torch.channels_last)
                pooled = network(pixels).float().clamp(-65504, 65504).numpy()
                if features is None:
                    shape = count, pooled.shape[1]
                    features = np.memmap(folder / "features.f16", np.float16, "w+", shape=shape)
                features[rows] = pooled
                looks[rows] = grey(pixels)
            progress(positions[-1] + 1, count)
    if features is None:
        example = next(iter(problems.values()))
        raise UserError(source.name, "", f"no image can be decoded ({example})", "check the files")
    return Embedding(features, looks, sides, problems)


def _batches(
    source: Source, items: pd.DataFrame, size: int, processes: int
) -> Iterator[tuple[list[int], list[np.ndarray | str]]]:
    files = [
        (path, sha, parse_scale(scale))
        for path, sha, scale in zip(items["path"], items["sha256"], items["scale"], strict=True)
    ]
    images: list[np.ndarray | str] = []
    for position, (_, _, image) in enumerate(decode_in_order(source, files, size, processes)):
        images.append(image)
        if len(images) == BATCH or position == len(files) - 1:
            yield list(range(position - len(images) + 1, position + 1)), images
            images = []


def _square(image: np.ndarray, size: int) -> Tensor:
    """The central square of an image, float32 [3, size, size]; smaller images are enlarged."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = torch.from_numpy(image[top : top + side, left : left + side].copy()).permute(2, 0, 1).float()
    if side == size:
        return square
    return F.interpolate(square[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def grey(pixels: Tensor) -> np.ndarray:
    """Small grey pictures of images float32 [B, 3, H, W], uint8 [B, LOOK, LOOK]."""
    small = F.interpolate(pixels.mean(1, keepdim=True), size=(LOOK, LOOK), mode="area")[:, 0]
    levels: np.ndarray = small.round().clamp(0, 255).to(torch.uint8).numpy()
    return levels
