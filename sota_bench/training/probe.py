"""Linear probe: how well a linear classifier on the frozen features tells the classes of an earlier task apart.

Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes (https://arxiv.org/abs/1610.01644);
as a measure of forgetting: Davari et al. 2022, Probing Representation Forgetting (https://arxiv.org/abs/2203.13381).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sota_bench import metrics
from sota_bench.grid.recipe import CoreRecipe, recipe_from
from sota_bench.registry import instances
from sota_bench.stages.context import StageContext
from sota_bench.stages.params import ProbeParams
from sota_bench.stages.protocol import Progress, RunContext, StageOutcome
from sota_bench.stages.results import ProbeResult
from sota_bench.training import device as devices
from sota_bench.training.crop import central_boxes
from sota_bench.training.decoded import decoded_subset
from sota_bench.training.images import Images
from sota_bench.training.loaded import LoadedCheckpoint, load_checkpoint
from sota_bench.training.tracking import judged_weights

MOST_IMAGES = 20_000
"""Training images that are used at most, spread evenly: enough for a linear classifier, and they fit in memory."""


def fit_linear(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression: ``mean cross-entropy + ||W||^2 / (2 N)``, by L-BFGS to its optimum.

    The penalty is scikit-learn's default (C = 1); the offset is free.

    Args:
        features: float64 [N, D], standardized.
        labels: int64 [N].
        classes: K.

    Returns:
        Weights float64 [K, D] and offsets float64 [K].
    """
    weight = torch.zeros(classes, features.shape[1], dtype=torch.float64, device=features.device, requires_grad=True)
    offset = torch.zeros(classes, dtype=torch.float64, device=features.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, offset], max_iter=1000, tolerance_grad=1e-7, tolerance_change=1e-12, history_size=20,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ weight.T + offset, labels) + weight.square().sum() / (2 * len(features))
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), offset.detach()


def standardize(train: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the mean and deviation of ``train`` per column; columns that never vary become 0 and say nothing."""
    mean, std = train.mean(0), train.std(0, correction=0)
    scale = torch.where(std > 1e-6 * std.max(), std, torch.inf)
    return (train - mean) / scale, (other - mean) / scale


def _features(
    loaded: LoadedCheckpoint,
    images: Images,
    recipe: CoreRecipe,
    size: int,
    limit: int | None,
    done: Callable[[int], None],
) -> tuple[Tensor, Tensor]:
    """Pooled features float64 [N, D] of central crops, as the head gets them, and labels int64 [N]."""
    model, count = loaded.model, len(images) if limit is None else min(limit, len(images))
    spread = np.linspace(0, len(images) - 1, count).round().astype(np.int64)
    pooled = []
    with torch.inference_mode():
        for first in range(0, count, recipe.eval_batch_size):
            positions = spread[first : first + recipe.eval_batch_size]
            boxes = central_boxes(images.heights[positions], images.widths[positions], recipe.eval_crop)
            pixels = images.batch(positions, boxes, np.zeros(len(positions), dtype=bool), size)
            with devices.autocast(images.device, recipe.precision):
                maps = model.forward_features(loaded.on_input(pixels))  # type: ignore[operator]
                pooled.append(model.forward_head(maps, pre_logits=True).double())  # type: ignore[operator]
            done(len(positions))
    return torch.cat(pooled).clone(), images.labels[torch.from_numpy(spread)].to(images.device)


def probe(params: ProbeParams, context: StageContext, run: RunContext) -> StageOutcome:
    """Fits a linear classifier on the features of training images, and judges it on another split.

    Args:
        params: what is probed, at which size, on which images.
        context: the subset of the images.
        run: ``data`` and ``checkpoint`` folders and the device; the workspace is left empty.
    """
    device = torch.device(run.device)
    recipe = recipe_from(params.recipe, context.technique_files)
    setup = time.perf_counter()
    devices.reset_peak_memory(device)
    size = params.size
    data = decoded_subset(run.inputs["data"], context, params.data)
    decoded_subset(run.inputs["data"], context, params.train_data)
    weights = judged_weights(instances(params.techniques, recipe, context.technique_files))
    loaded = load_checkpoint(run.inputs["checkpoint"], size, None, context.technique_files, device, weights)
    train, judged = (data.images(split, device, loaded.channels) for split in ("train", params.split))
    if len(judged) == 0:
        raise ValueError(f"the {params.split} split has no images")
    total, seen = min(len(train), MOST_IMAGES) + len(judged), 0

    def done(images: int) -> None:
        nonlocal seen
        seen += images
        run.progress(Progress(seen, total, note=f"probe at {size} px"))

    started = time.perf_counter()
    features, labels = _features(loaded, train, recipe, size, MOST_IMAGES, done)
    others, _ = _features(loaded, judged, recipe, size, None, done)
    features, others = standardize(features, others)
    weight, offset = fit_linear(features, labels, len(data.classes))
    scores = torch.log_softmax(others @ weight.T + offset, dim=1).cpu().numpy()
    seconds = time.perf_counter() - started
    result = ProbeResult(
        **metrics.summarize(scores, data.labels[params.split]),
        latency_ms=round(1000 * seconds / total, 4),
        features=features.shape[1],
        probed=len(features),
    )
    parts = {"prepare": started - setup, "evaluate": seconds}
    return StageOutcome(result.to_json(), parts, devices.peak_memory_mb(device))
