"""A probe that is trained here, where there are no pretrained weights: one small network for each fold, so that each
image is judged by a network that has not seen it (cross-fitting)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sota_bench.curate.embed import LOOK, Embedding, Features, grey
from sota_bench.curate.embedder import Embedder
from sota_bench.data.build import build_cache
from sota_bench.data.cache import PixelCache
from sota_bench.data.source import Source
from sota_bench.grid.recipe import recipe_from
from sota_bench.randomness import generator
from sota_bench.training import backbone
from sota_bench.training.crop import central_boxes, random_resized_boxes
from sota_bench.training.images import Images

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 3
BATCH, JUDGED_BATCH = 64, 256
SEEN = 60_000
"""Images that a network of one fold sees in training, some of them several times."""

MOST_EPOCHS = 30
LEARNING_RATE, WEIGHT_DECAY, SMOOTHING, LEAST_AREA = 0.01, 0.05, 0.1, 0.35
"""AdamW with one cycle; label smoothing keeps wrong labels from being learned by heart (Lukasik et al. 2020,
https://arxiv.org/abs/2003.02819)."""

Progress = Callable[[int, int], None]


def decode_once(
    source: Source, items: pd.DataFrame, size: int, folder: Path, processes: int, progress: Progress
) -> tuple[PixelCache, dict[int, str]]:
    """Decodes images into a file of pixels in ``folder``; position -> reason of those that do not decode."""
    header = build_cache(folder / "pixels", source, items, size, processes, progress)
    reasons = dict(header["left_out"])
    problems = {position: reasons[path] for position, path in enumerate(items["path"]) if path in reasons}
    return PixelCache.open(folder / "pixels"), problems


class QuickProbe:
    """Networks of a probe, one for each fold.

    Args:
        cache: decoded pixels.
        rows: int64 [N], the row of each image; -1 for one that did not decode.
        embedder: architecture and size.
        classes: K.
        seed: of weights, crops and order.
    """

    def __init__(self, cache: PixelCache, rows: np.ndarray, embedder: Embedder, classes: int, seed: int) -> None:
        self.cache, self.rows, self.embedder, self.classes, self.seed = cache, rows, embedder, classes, seed

    def fit(self, positions: np.ndarray, labels: np.ndarray, fold: int, progress: Progress) -> Features:
        """A network trained on some images.

        Args:
            positions: int64 [M], into ``rows``.
            labels: int64 [M].
            fold: names the network's random numbers.
            progress: called with (step, steps).
        """
        size = self.embedder.size
        images = Images(self.cache, self.rows[positions], labels, torch.device("cpu"))
        recipe = recipe_from({"backbone": self.embedder.backbone})
        model, _ = backbone.create(recipe, [], self.classes, size, self.seed)
        network = Features(model, self.embedder.mean, self.embedder.std).to(memory_format=torch.channels_last)
        steps = min(SEEN, MOST_EPOCHS * len(images)) // BATCH + 1
        optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        rng = generator(self.seed, f"curate/probe/{fold}")
        order = rng.permutation(len(images))
        smooth = (1 - SMOOTHING) * torch.eye(self.classes) + SMOOTHING / self.classes
        network.train()
        for step in range(steps):
            if len(order) < min(BATCH, len(images)):
                order = np.concatenate([order, rng.permutation(len(images))])
            batch, order = order[:BATCH], order[BATCH:]
            boxes = random_resized_boxes(images.heights[batch], images.widths[batch], LEAST_AREA, rng)
            pixels = images.batch(batch, boxes, rng.random(len(batch)) < 0.5, size)
            loss = F.cross_entropy(network.logits(pixels), smooth[images.labels[torch.from_numpy(batch)]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress(step + 1, steps)
        network.eval()
        return network

    def probabilities(self, network: Features, positions: np.ndarray) -> np.ndarray:
        """Class probabilities of images, float32 [M, K], averaged over each image and its mirror image."""
        parts = []
        with torch.inference_mode():
            for pixels in self._central(positions):
                views = [F.softmax(network.logits(view), dim=1) for view in (pixels, pixels.flip(3))]
                parts.append(torch.stack(views).mean(0).numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.classes), np.float32)

    def embed(self, network: Features, folder: Path, problems: dict[int, str], progress: Progress) -> Embedding:
        """Features of all images by one of the networks, in a file in ``folder``."""
        usable = np.flatnonzero(self.rows >= 0)
        count = len(self.rows)
        looks, sides = np.zeros((count, LOOK, LOOK), np.uint8), np.zeros(count, np.int32)
        heights, widths = (np.asarray(values)[self.rows[usable]] for values in (self.cache.heights, self.cache.widths))
        sides[usable] = np.minimum(heights, widths)
        features: np.ndarray | None = None
        done = 0
        with torch.inference_mode():
            for pixels in self._central(usable):
                rows = usable[done : done + len(pixels)]
                pooled = network(pixels).float().clamp(-65504, 65504).numpy()
                if features is None:
                    features = np.memmap(folder / "features.f16", np.float16, "w+", shape=(count, pooled.shape[1]))
                features[rows] = pooled
                looks[rows] = grey(pixels)
                done += len(rows)
                progress(done, len(usable))
        assert features is not None
        return Embedding(features, looks, sides, problems)

    def _central(self, positions: np.ndarray) -> Iterator[Tensor]:
        images = Images(self.cache, self.rows[positions], np.zeros(len(positions), np.int64), torch.device("cpu"))
        for first in range(0, len(images), JUDGED_BATCH):
            batch = np.arange(first, min(first + JUDGED_BATCH, len(images)))
            boxes = central_boxes(images.heights[batch], images.widths[batch], 1.0)
            yield images.batch(batch, boxes, np.zeros(len(batch), dtype=bool), self.embedder.size)
