"""Stages that a technique computes once for all trials that need it: statistics of the data, Fisher information."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sota_bench.data.cache import channel_statistics
from sota_bench.grid.recipe import recipe_from
from sota_bench.registry import instances
from sota_bench.stages.context import StageContext
from sota_bench.stages.params import PrecomputeParams
from sota_bench.stages.protocol import Progress, RunContext, StageOutcome
from sota_bench.stages.results import PrecomputeResult
from sota_bench.technique import Precomputes
from sota_bench.training import backbone, checkpoint
from sota_bench.training import device as devices
from sota_bench.training.crop import central_boxes
from sota_bench.training.decoded import decoded_subset
from sota_bench.training.images import Images
from sota_bench.training.loaded import LoadedCheckpoint, load_checkpoint

COMPUTED = "computed.safetensors"

SHOWN = 16
"""Numbers of one result, up to which they are kept for the report."""


@dataclass(frozen=True)
class Inputs:
    """What :meth:`Precomputes.compute` is given (see ``technique.PrecomputeInputs``).

    Attributes:
        seed: of the trial.
        images: the training images.
        loaded: the network before the rise with its techniques, or None.
        size: pixels at which it was trained; 0 without one.
        earlier: what the technique computed at the rise before.
        progress: called after every batch.
        limits: how many images were asked for, each time.
    """

    seed: int
    images: Images
    loaded: LoadedCheckpoint | None
    size: int
    earlier: Mapping[str, Tensor]
    progress: Callable[[Progress], None]
    limits: list[int] = field(default_factory=list)

    @property
    def model(self) -> nn.Module | None:
        """The network before the rise; None where there is none."""
        return self.loaded.model if self.loaded else None

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation float64 [C] of the training pixels, in units of 0..255."""
        return channel_statistics(self.images.cache, self.images.rows, channels=self.images.in_chans)

    def batches(self, limit: int | None, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalized central crops float32 [B, C, size, size] and labels int64 [B] of ``limit`` images, spread
        evenly over the training images."""
        count = len(self.images) if limit is None else min(limit, len(self.images))
        self.limits.append(len(self.images) if limit is None else limit)
        spread = np.linspace(0, len(self.images) - 1, count).round().astype(np.int64)
        for first in range(0, count, batch_size):
            positions = spread[first : first + batch_size]
            boxes = central_boxes(self.images.heights[positions], self.images.widths[positions], 1.0)
            pixels = self.images.batch(positions, boxes, np.zeros(len(positions), dtype=bool), self.size)
            labels = self.images.labels[torch.from_numpy(positions)].to(pixels.device)
            yield self.loaded.on_input(pixels) if self.loaded else pixels, labels
            self.progress(Progress(first + len(positions), count))


def precompute(params: PrecomputeParams, context: StageContext, run: RunContext) -> StageOutcome:
    """Runs a technique's ``compute`` and leaves ``computed.safetensors`` in the workspace.

    Args:
        params: whose stage this is, and what it is computed from.
        context: the subset of the images.
        run: ``data``, ``checkpoint`` where the technique computes from one, and ``earlier``, what it computed at the
            rise before; the workspace and the device.
    """
    device, files = torch.device(run.device), context.technique_files
    recipe = recipe_from(params.recipe, files)
    (technique,) = instances([params.technique], recipe, files)
    if not isinstance(technique, Precomputes):
        raise TypeError(f"the technique {technique.name} has no stage of its own; it does not inherit Precomputes")
    started = time.perf_counter()
    devices.reset_peak_memory(device)
    data = decoded_subset(run.inputs["data"], context, params.data)
    loaded, size = None, params.size or 0
    if "checkpoint" in run.inputs:
        loaded = load_checkpoint(run.inputs["checkpoint"], size, params.task, files, device)
    model = loaded.model if loaded else None
    images = data.images("train", device if loaded else torch.device("cpu"), recipe.in_chans)  # statistics: no network
    ready = time.perf_counter()
    earlier = _earlier(run.inputs["earlier"], params, model, device) if "earlier" in run.inputs else {}
    given = Inputs(params.seed, images, loaded, size, earlier, run.progress)
    computed = technique.compute(given)
    checkpoint.write_tensors(run.workspace / COMPUTED, computed)
    devices.synchronize(device)
    small = {name: value for name, value in computed.items() if value.numel() <= SHOWN}
    result = PrecomputeResult(
        computed={name: [round(number, 6) for number in value.flatten().tolist()] for name, value in small.items()},
        images=len(images),
        most_images=max(given.limits, default=len(images)),
    )
    seconds = {"prepare": ready - started, "train": time.perf_counter() - ready}
    return StageOutcome(result.to_json(), seconds, devices.peak_memory_mb(device))


def _earlier(
    folder: Path, params: PrecomputeParams, model: nn.Module | None, device: torch.device
) -> dict[str, Tensor]:
    """What the stage of the rise before computed, without the head where that was another task's."""
    computed = load_file(str(folder / COMPUTED), device=str(device))
    other = set() if model is None or params.earlier_task == params.task else backbone.classifier_names(model)
    return {name: value for name, value in computed.items() if name not in other}
