"""One checkpoint at one resolution: log-probabilities of every image of a split, and what they are worth."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sota_bench import metrics
from sota_bench.engine.messages import Outcome, Progress
from sota_bench.randomness import generator
from sota_bench.technique import Technique
from sota_bench.training import backbone, checkpoint, device as devices
from sota_bench.training.crop import central_boxes, random_resized_boxes
from sota_bench.training.images import Images
from sota_bench.training.prepared import prepared


@dataclass(frozen=True)
class BatchViews:
    """The images of one evaluation batch under several views (see ``technique.Views``)."""

    images: Images
    positions: np.ndarray
    size: int
    crop: float
    crop_scale: float
    seed: int
    batch: int

    def _take(self, boxes: np.ndarray, flip: np.ndarray | bool, size: int | None) -> Tensor:
        flips = np.broadcast_to(np.asarray(flip, dtype=bool), len(self.positions))
        return self.images.batch(self.positions, boxes, np.ascontiguousarray(flips), size or self.size)

    def _square(self, share: float, row: float, column: float) -> np.ndarray:
        return central_boxes(self.images.heights[self.positions], self.images.widths[self.positions], share, row, column)

    def center(self, size: int | None = None, flip: bool = False) -> Tensor:
        """The central square that keeps ``eval_crop`` of the shorter side, resized to ``size``."""
        return self._take(self._square(self.crop, 0.5, 0.5), flip, size)

    def corner(self, row: int, column: int, scale: float, flip: bool = False) -> Tensor:
        """A square of ``scale`` of the shorter side in a corner (``row``, ``column`` are 0 or 1), resized."""
        return self._take(self._square(scale, row, column), flip, None)

    def augmented(self, view: int) -> Tensor:
        """The training augmentation, drawn anew for each ``view`` and the same whenever it is asked for."""
        rng = generator(self.seed, "views", view, self.batch)
        heights, widths = self.images.heights[self.positions], self.images.widths[self.positions]
        boxes = random_resized_boxes(heights, widths, self.crop_scale, rng)
        return self._take(boxes, rng.random(len(self.positions)) < 0.5, None)


@lru_cache(maxsize=2)
def _loaded(folder: Path, task: str) -> tuple[nn.Module, checkpoint.Checkpoint]:
    found = checkpoint.read(folder, with_optimizer=False)
    about, state = found.about, dict(found.model)
    classes = len(about["classes"])
    if task != about["task"]:
        state.update(found.earlier_head)
        classes = int(next(iter(found.earlier_head.values())).shape[0])
    model = backbone.rebuild(about["backbone"], classes, int(about["size"]))
    model.load_state_dict(state)
    return model.eval(), found


def load_model(folder: Path, size: int, task: str, device: torch.device) -> tuple[nn.Module, checkpoint.Checkpoint]:
    """The network of a checkpoint in evaluation mode at ``size``, with the head of ``task``."""
    model, found = _loaded(folder, task)
    backbone.resize(model, size)
    return model.to(device), found


def predict(
    model: nn.Module,
    techniques: Sequence[Technique],
    images: Images,
    recipe: Any,
    size: int,
    seed: int,
    progress: Callable[[Progress], None],
) -> np.ndarray:
    """Log-probabilities float32 [N, K] of the central crop, or of the views that a technique averages."""
    device, layout = images.device, devices.layout(model, recipe.layout)
    model.to(memory_format=layout)

    def forward(pixels: Tensor) -> Tensor:
        for technique in techniques:  # normalization
            pixels = technique.on_input(pixels)
        with devices.autocast(device, recipe.precision):
            logits: Tensor = model(pixels.contiguous(memory_format=layout))
        return logits.float()

    collected = []
    started = time.perf_counter()
    with torch.inference_mode():
        for index, first in enumerate(range(0, len(images), recipe.eval_batch_size)):
            positions = np.arange(first, min(first + recipe.eval_batch_size, len(images)))
            views = BatchViews(images, positions, size, recipe.eval_crop, recipe.crop_scale, seed, index)
            scores = None
            for technique in techniques:  # test-time augmentation
                scores = technique.predict(views, forward) if scores is None else scores
            if scores is None:
                scores = torch.log_softmax(forward(views.center()), dim=1)
            collected.append(scores.float().cpu().numpy())
            done = int(positions[-1]) + 1
            rate = done / max(time.perf_counter() - started, 1e-9)
            progress(Progress(done, len(images), images_per_s=rate, note=f"{size} px"))
    return np.concatenate(collected)


def evaluate(
    params: Mapping[str, Any],
    inputs: Mapping[str, Path],
    workspace: Path,
    techniques: Callable[[Sequence[str], Any], Sequence[Technique]],
    recipe: Any,
    trained_recipe: Callable[[Mapping[str, Any]], Any],
    device: torch.device,
    progress: Callable[[Progress], None],
) -> Outcome:
    """Evaluates a checkpoint and leaves ``predictions.safetensors`` (``log_probabilities`` [N, K], ``labels`` [N]).

    Args:
        params: ``recipe``, ``techniques``, ``size``, ``split``, ``task``, ``data``, ``seed``.
        inputs: ``data`` and ``checkpoint`` folders.
        workspace: where to write.
        techniques: makes techniques from their names and a recipe.
        recipe: the settings of this evaluation.
        trained_recipe: the recipe of the checkpoint from the settings stored in it.
        device: where to run.
        progress: told after every batch.
    """
    setup = time.perf_counter()
    devices.reset_peak_memory(device)
    size, task = int(params["size"]), params["task"]
    data = prepared(inputs["data"], params["data"])
    model, found = load_model(inputs["checkpoint"], size, task, device)
    trained = techniques(found.about["techniques"], trained_recipe(found.about["recipe"]))
    checkpoint.restore_techniques(trained, found.techniques)
    chain = [*trained, *techniques(params["techniques"], recipe)]
    images = data.images(params["split"], device, int(found.about["backbone"]["arguments"]["in_chans"]))
    if len(images) == 0:
        raise ValueError(f"the {params['split']} split has no images")
    devices.synchronize(device)
    started = time.perf_counter()
    log_probabilities = predict(model, chain, images, recipe, size, int(params["seed"]), progress)
    devices.synchronize(device)
    seconds = time.perf_counter() - started
    labels = data.labels[params["split"]]
    save_file(
        {"log_probabilities": torch.from_numpy(log_probabilities), "labels": torch.from_numpy(labels)},
        str(workspace / "predictions.safetensors"),
    )
    values = metrics.summarize(log_probabilities, labels)
    values |= {"latency_ms": round(1000 * seconds / len(images), 4), "images_per_s": round(len(images) / seconds, 1)}
    values |= cost(inputs["checkpoint"], size, task)
    return Outcome(values, {"prepare": started - setup, "evaluate": seconds}, devices.peak_memory_mb(device))


@lru_cache(maxsize=32)
def _cost(built: str, name: str, classes: int, trained_size: int, size: int) -> dict[str, int]:
    model = backbone.rebuild({"name": name, "arguments": json.loads(built)}, classes, size).eval()
    channels = json.loads(built)["in_chans"]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, channels, size, size))
    weighted = [m for m in model.modules() if getattr(m, "weight", None) is not None and m.weight.ndim >= 2]
    return {
        "params": sum(p.numel() for p in model.parameters()),
        "layers": len(weighted),
        "flops": int(counter.get_total_flops()),
    }


def cost(folder: Path, size: int, task: str) -> dict[str, int]:
    """``params``, ``layers`` (with a weight of two or more dimensions) and ``flops`` of one image's forward pass at
    ``size``, counted by torch (two per multiply-add)."""
    _, found = _loaded(folder, task)
    about = found.about
    arguments = json.dumps(about["backbone"]["arguments"], sort_keys=True)
    return dict(_cost(arguments, about["backbone"]["name"], len(about["classes"]), int(about["size"]), size))
