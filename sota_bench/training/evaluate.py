"""Evaluates a checkpoint at one resolution: log-probabilities of every image of a split, and metrics of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sota_bench import metrics
from sota_bench.grid.recipe import CoreRecipe, recipe_from
from sota_bench.randomness import uniform_by_id
from sota_bench.registry import instances
from sota_bench.stages.context import StageContext
from sota_bench.stages.params import EvaluateParams
from sota_bench.stages.protocol import Progress, RunContext, StageOutcome
from sota_bench.stages.results import EvaluateResult
from sota_bench.technique import Technique, overrides
from sota_bench.training import device as devices
from sota_bench.training.clock import ResourceMeter
from sota_bench.training.crop import TRIES, central_boxes, resized_boxes
from sota_bench.training.decoded import decoded_subset
from sota_bench.training.images import Images
from sota_bench.training.loaded import LoadedCheckpoint, load_checkpoint
from sota_bench.training.small_maps import as_convolutions, patch_small_maps
from sota_bench.training.tracking import judged_weights

WARM_UP = 8
"""Images that warm up an evaluation of fewer than two whole batches."""

CPU_PART = 64
"""Images of a batch that a CPU computes at once. More are not faster on two cores, and the feature maps of a whole
batch need new memory: mapping its pages takes as long as the arithmetic."""


@dataclass(frozen=True)
class BatchViews:
    """The views of one evaluation batch (see ``technique.Views``).

    Attributes:
        images, positions: the split, and which of its images are in the batch.
        size: pixels of both sides of a view.
        crop: the share of the shorter side that the plain view keeps.
        crop_scale, flip: the augmentation that the network was trained with.
        seed: of the trial, from which random views are drawn.
    """

    images: Images
    positions: np.ndarray
    size: int
    crop: float
    crop_scale: float
    flip: bool
    seed: int

    def center(self, flip: bool = False) -> Tensor:
        """The central square that keeps ``crop`` of the shorter side, resized to ``size``."""
        return self.square(0.5, 0.5, self.crop, flip)

    def square(self, row: float, column: float, share: float, flip: bool = False) -> Tensor:
        """A square of ``share`` of the shorter side, resized; ``row`` and ``column`` say where it lies, 0 to 1."""
        boxes = central_boxes(*self._sides(), share, row, column)
        return self.images.batch(self.positions, boxes, np.full(len(self.positions), flip), self.size)

    def augmented(self, view: int) -> Tensor:
        """A random crop as in training for each ``view``, drawn from each image's content, so that neither the size of
        batches nor the other images matter."""
        ids = self.images.image_ids[self.positions]
        draws = uniform_by_id(self.seed, f"views/{view}", ids, 4 * TRIES + 1)
        boxes = resized_boxes(*self._sides(), self.crop_scale, draws[:, 1:].T.reshape(4, TRIES, len(ids)))
        flip = (draws[:, 0] < 0.5) & self.flip
        return self.images.batch(self.positions, boxes, flip, self.size)

    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        return self.images.heights[self.positions], self.images.widths[self.positions]


Forward = Callable[[Tensor], Tensor]
"""Pixels float32 [B, C, H, W] 0..255 on the device to logits float32 [B, K]."""


def forward_pass(
    model: nn.Module, techniques: Sequence[Technique], device: torch.device, recipe: CoreRecipe
) -> Forward:
    """The network as a function of pixels.

    Args:
        model: the network, in evaluation mode on the device.
        techniques: those whose ``on_input`` comes before it, such as normalization.
        device: where it computes.
        recipe: memory layout and precision.
    """
    layout = devices.memory_format(model, recipe.layout)
    model.to(memory_format=layout)

    def forward(pixels: Tensor) -> Tensor:
        for technique in techniques:
            pixels = technique.on_input(pixels)
        parts = pixels.split(CPU_PART if device.type == "cpu" else len(pixels))
        with devices.autocast(device, recipe.precision):
            logits: list[Tensor] = [model(part.contiguous(memory_format=layout)) for part in parts]
        return torch.cat(logits).float()

    return forward


def log_probabilities(views: BatchViews, techniques: Sequence[Technique], forward: Forward) -> np.ndarray:
    """Log-probabilities float32 [B, K] of a batch: of its central crops, or of the views that a technique averages."""
    scores = None
    for technique in techniques:  # test-time augmentation
        scores = technique.predict(views, forward) if scores is None else scores
    if scores is None:
        scores = torch.log_softmax(forward(views.center()), dim=1)
    return scores.float().cpu().numpy()  # waits for the device


def predict(
    model: nn.Module,
    techniques: Sequence[Technique],
    images: Images,
    recipe: CoreRecipe,
    trained: CoreRecipe,
    size: int,
    seed: int,
    progress: Callable[[Progress], None],
) -> tuple[np.ndarray, float]:
    """Predicts every image of a split.

    Args:
        model: the network, in evaluation mode at ``size``.
        techniques: those it was trained with, then those of this evaluation.
        images: the split.
        recipe: the settings of this evaluation.
        trained: the settings of the training, whose augmentation random views repeat.
        size: pixels of both sides.
        seed: of the trial.
        progress: called after every batch.

    Returns:
        Log-probabilities float32 [N, K] of the central crop, or of the views that a technique averages; and the latency
        in seconds per image, the median over whole batches without the first, which warms up.
    """
    forward = forward_pass(model, techniques, images.device, recipe)

    def scored(positions: np.ndarray) -> np.ndarray:
        views = BatchViews(images, positions, size, recipe.eval_crop, trained.crop_scale, trained.flip, seed)
        return log_probabilities(views, techniques, forward)

    batch = recipe.eval_batch_size
    collected, per_image = list[np.ndarray](), list[float]()
    started = time.perf_counter()
    with torch.inference_mode():
        if len(images) < 2 * batch:  # the only whole batch is timed, so something smaller warms up
            scored(np.arange(min(WARM_UP, len(images))))
        for first in range(0, len(images), batch):
            begun = time.perf_counter()
            positions = np.arange(first, min(first + batch, len(images)))
            if first + batch < len(images):
                images.expect(np.arange(first + batch, min(first + 2 * batch, len(images))))
            collected.append(scored(positions))
            if not per_image or len(positions) == batch:  # a smaller last batch costs more per image
                per_image.append((time.perf_counter() - begun) / len(positions))
            done = int(positions[-1]) + 1
            rate = done / max(time.perf_counter() - started, 1e-9)
            progress(Progress(done, len(images), images_per_s=rate, note=f"{size} px"))
    return np.concatenate(collected), float(np.median(per_image[1:] or per_image))


def evaluate(params: EvaluateParams, context: StageContext, run: RunContext) -> StageOutcome:
    """Evaluates a checkpoint and leaves ``predictions.safetensors`` (``log_probabilities`` [N, K], ``labels`` [N]).

    Args:
        params: what is evaluated, at which size, on which images.
        context: the subset of the images.
        run: ``data`` and ``checkpoint`` folders, the workspace and the device.
    """
    device = torch.device(run.device)
    recipe = recipe_from(params.recipe, context.technique_files)
    setup, usage = time.perf_counter(), ResourceMeter(device)
    devices.reset_peak_memory(device)
    size = params.size
    data = decoded_subset(run.inputs["data"], context, params.data)
    own = instances(params.techniques, recipe, context.technique_files)
    weights = judged_weights(own)
    loaded = load_checkpoint(run.inputs["checkpoint"], size, params.task, context.technique_files, device, weights)
    patch_small_maps(loaded.model)
    chain = [*loaded.techniques, *own]
    for technique in chain:
        if overrides(type(technique), "evaluation_model"):
            model = technique.evaluation_model(loaded.model).eval()
            loaded = replace(loaded, model=model, architecture=f"{loaded.architecture} {technique.name}")
    images = data.images(params.split, device, loaded.channels)
    if len(images) == 0:
        raise ValueError(f"the {params.split} split has no images")
    devices.synchronize(device)
    started = time.perf_counter()
    log_probabilities, latency = predict(
        loaded.model, chain, images, recipe, loaded.recipe, size, params.seed, run.progress
    )
    seconds = time.perf_counter() - started
    labels = data.labels[params.split]
    save_file(
        {"log_probabilities": torch.from_numpy(log_probabilities), "labels": torch.from_numpy(labels)},
        str(run.workspace / "predictions.safetensors"),
    )
    result = EvaluateResult(
        **metrics.summarize(log_probabilities, labels),
        latency_ms=round(1000 * latency, 4),
        images_per_s=round(len(images) / seconds, 1),
        **cost(loaded, size),
        **usage.use().model_dump(),
    )
    parts = {"prepare": started - setup, "evaluate": seconds}
    return StageOutcome(result.to_json(), parts, devices.peak_memory_mb(device))


_COSTS: dict[tuple[str, int], dict[str, int]] = {}


def cost(loaded: LoadedCheckpoint, size: int) -> dict[str, int]:
    """Returns ``params``, ``layers`` (with a weight of two or more dimensions) and ``flops`` of an image's forward pass
    at ``size`` (two per multiply-add), counted by torch once for all checkpoints of an architecture."""
    key = (loaded.architecture, size)
    if key not in _COSTS:
        model, device = loaded.model, next(loaded.model.parameters()).device
        image = torch.zeros(1, loaded.channels, size, size, device=device)
        # Attention written out as products: torch's counter does not know the CPU's fused kernel.
        with (FlopCounterMode(display=False) as counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH),
              as_convolutions()):  # fmt: skip
            model(image)
        weights = (getattr(module, "weight", None) for module in model.modules())
        _COSTS[key] = {
            "params": sum(p.numel() for p in model.parameters()),
            "layers": sum(isinstance(weight, Tensor) and weight.ndim >= 2 for weight in weights),
            "flops": int(counter.get_total_flops()),
        }
    return dict(_COSTS[key])
