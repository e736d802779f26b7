"""A teacher in training: its predictions of the images that the student sees."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sota_bench.grid.recipe import CoreRecipe
from sota_bench.technique import Forward
from sota_bench.training import device as devices
from sota_bench.training.loaded import load_checkpoint, read_once
from sota_bench.training.small_maps import patch_small_maps


def load_teacher(folder: Path, files: tuple[Path, ...], recipe: CoreRecipe, device: torch.device) -> Forward:
    """A teacher as a function of images float32 [B, C, H, W] 0..255 to its logits float32 [B, K], without gradient.

    The teacher normalizes images as in its own training, sees them at the size that it was trained at last, and
    computes in the student's precision.

    Args:
        folder: of the teacher's last training stage.
        files: local technique files of the grid.
        recipe: the student's.
        device: where to.
    """
    size = int(read_once(folder).metadata["size"])
    loaded = load_checkpoint(folder, size, None, files, device)
    layout = devices.memory_format(loaded.model, recipe.layout)
    loaded.model.to(memory_format=layout).requires_grad_(False)
    patch_small_maps(loaded.model)

    def predict(pixels: Tensor) -> Tensor:
        with torch.no_grad():
            if pixels.shape[-1] != size:
                pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
            inputs = loaded.on_input(pixels).contiguous(memory_format=layout)
            with devices.autocast(device, recipe.precision):
                logits: Tensor = loaded.model(inputs)
        return logits.float()

    return predict
