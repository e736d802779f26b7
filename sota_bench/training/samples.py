"""What a report shows of the first batches: some images with their targets, and the moments of the network's input."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from sota_bench.stages.results import ChannelMoments

FILE = "samples.safetensors"

SAMPLES = 8
"""Images of one batch that are kept for the report."""

SAMPLED_STEPS = 16
"""Steps of the first epoch among which that batch is chosen: the one whose targets are mixed most, to show mixing."""


class Samples:
    """Keeps images of the first steps on the device, and decides between them when the loop waits for it anyway.

    Args:
        folder: where ``samples.safetensors`` is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._candidates: list[tuple[Tensor, Tensor, Tensor]] = []

    def offer(self, pixels: Tensor, targets: Tensor) -> None:
        """Notes the first images of a batch.

        Args:
            pixels: float32 [B, C, H, W], 0..255.
            targets: float32 [B, K].
        """
        shown = targets[:SAMPLES].clone()
        mixing = 1 - shown.amax(dim=1).mean()
        self._candidates.append((mixing, pixels[:SAMPLES].round().clamp(0, 255).to(torch.uint8), shown))

    def settle(self, mixing: float) -> float:
        """Writes the images of the step whose targets are mixed most.

        Args:
            mixing: of those that are written already, 0 to 1; below 0 where there are none.

        Returns:
            The mixing of those that are written now.
        """
        for candidate, images, targets in self._candidates:
            if candidate.item() > mixing:
                mixing = candidate.item()
                tensors = {"images": images.cpu().contiguous(), "targets": targets.cpu().contiguous()}
                save_file(tensors, str(self._folder / FILE))
        self._candidates.clear()
        return mixing


def moments_of(images: Tensor) -> ChannelMoments:
    """Mean and standard deviation per channel of a batch float32 [B, C, H, W]; waits for the device."""
    return ChannelMoments(
        mean=[round(value, 4) for value in images.mean(dim=(0, 2, 3)).tolist()],
        std=[round(value, 4) for value in images.std(dim=(0, 2, 3), unbiased=False).tolist()],
    )
