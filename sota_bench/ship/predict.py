"""Predictions of a bundle on image files, with the pixels and the arithmetic of the evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor

from sota_bench.data.cache import PixelCache
from sota_bench.data.decode import BadImage, decode_image
from sota_bench.data.packed import packed, unpacked
from sota_bench.errors import UserError
from sota_bench.grid.recipe import CoreRecipe, recipe_from
from sota_bench.registry import active
from sota_bench.ship.bundle import ONNX, Bundle
from sota_bench.ship.files import ImageFile
from sota_bench.technique import Technique, overrides
from sota_bench.training.backbone import classify_in_fp32
from sota_bench.training.evaluate import BatchViews, Forward, forward_pass, log_probabilities
from sota_bench.training.images import Images
from sota_bench.training.small_maps import patch_small_maps


@dataclass(frozen=True)
class Prediction:
    """What the network says about one file.

    Attributes:
        path: as people name it.
        probabilities: float32 [K], in the order of the bundle's classes; empty where there is an error.
        error: why there is none, "" where there is one.
    """

    path: str
    probabilities: np.ndarray
    error: str = ""


class StoredNormalization(Technique):
    """The statistics of a bundle, taken off as in the training."""

    def __init__(self, recipe: CoreRecipe, mean: Sequence[float], std: Sequence[float]) -> None:
        self.recipe = recipe
        self._mean = torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1)

    def on_input(self, images: Tensor) -> Tensor:
        """Normalized images float32 [B, C, H, W]."""
        return (images - self._mean.to(images.device)) / self._std.to(images.device)


def torch_forward(bundle: Bundle, device: torch.device, recipe: CoreRecipe) -> Forward:
    """The network of a bundle in torch, in the layout and precision of its evaluation.

    Raises:
        UserError: the weights cannot be loaded.
    """
    try:
        model = timm.create_model(f"local-dir:{bundle.folder}", pretrained=True)
    except Exception as error:  # whatever timm raises on a damaged folder
        problem = f"timm cannot open it ({' '.join(str(error).split())[:200]})"
        raise UserError(str(bundle.folder), "", problem, "export it again") from error
    model.to(device).eval()
    classify_in_fp32(model)
    patch_small_maps(model)
    images = bundle.preprocessing
    return forward_pass(model, [StoredNormalization(recipe, images.mean, images.std)], device, recipe)


def onnx_forward(bundle: Bundle) -> Forward:
    """The network of a bundle in ONNX Runtime, on the CPU in fp32; its normalization is inside.

    Raises:
        UserError: ONNX Runtime is not installed, or the bundle has no model.onnx that it can open.
    """
    from sota_bench.ship.onnx import session

    if not (bundle.folder / ONNX).is_file():
        raise UserError(str(bundle.folder), "", f"it has no {ONNX}", "export it again with --onnx")
    run = session(bundle.folder / ONNX).run

    def forward(pixels: Tensor) -> Tensor:
        (logits,) = run(None, {"images": pixels.numpy()})
        return torch.from_numpy(logits)

    return forward


class Predictor:
    """A bundle, loaded.

    Args:
        bundle: which.
        device: ``cpu`` or ``cuda:i``.
        levels: recipe fields of the evaluation that replace the bundle's own, such as ``{"tta": "flip"}``.
        onnx: whether ONNX Runtime computes instead of torch, on the CPU.

    Raises:
        UserError: the weights cannot be loaded, or a level does not exist.
    """

    def __init__(
        self, bundle: Bundle, device: str, levels: Mapping[str, object] | None = None, onnx: bool = False
    ) -> None:
        self.bundle, self.device = bundle, torch.device("cpu" if onnx else device)
        self.recipe = recipe_from({**bundle.recipe, **(levels or {})})
        self.views = [technique for technique in active(self.recipe) if overrides(type(technique), "predict")]
        self.forward = onnx_forward(bundle) if onnx else torch_forward(bundle, self.device, self.recipe)

    def __call__(self, files: Iterable[ImageFile]) -> Iterator[Prediction]:
        """Predictions in the order of the files; two batches of them are in memory at a time, of which one is decoded
        while the other is computed."""
        stream = iter(files)
        with ThreadPoolExecutor() as pool:
            batch = list(islice(stream, self.recipe.eval_batch_size))
            decoded = pool.map(self._decoded, batch)
            while batch:
                following = list(islice(stream, self.recipe.eval_batch_size))
                ahead = pool.map(self._decoded, following)
                yield from self._batch(batch, list(decoded))
                batch, decoded = following, ahead

    def _decoded(self, file: ImageFile) -> np.ndarray | str:
        """uint8 [H, W, 3], or why there is none."""
        if file.content is None:
            return file.error
        try:
            image = decode_image(file.content, self.bundle.preprocessing.stored_size)
            return unpacked(packed(image)) if self.bundle.preprocessing.encoded else image
        except BadImage as error:
            return str(error)

    def _batch(self, files: Sequence[ImageFile], decoded: Sequence[np.ndarray | str]) -> Iterator[Prediction]:
        whole = [image for image in decoded if not isinstance(image, str)]
        digests = [
            hashlib.sha256(file.content or b"").hexdigest()
            for file, image in zip(files, decoded, strict=True)
            if not isinstance(image, str)
        ]
        scores = iter(np.exp(self._log_probabilities(whole, digests)) if whole else ())
        for file, image in zip(files, decoded, strict=True):
            if isinstance(image, str):
                yield Prediction(file.path, np.empty(0, np.float32), image)
            else:
                yield Prediction(file.path, next(scores))

    def _log_probabilities(self, decoded: Sequence[np.ndarray], digests: Sequence[str]) -> np.ndarray:
        """float32 [N, K], by the code that evaluates trials."""
        sizes = np.array([image.size for image in decoded])
        index: dict[str, np.ndarray] = {
            "offset": np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
            "height": np.array([image.shape[0] for image in decoded], dtype=np.int32),
            "width": np.array([image.shape[1] for image in decoded], dtype=np.int32),
            "sha256": np.array(digests),
        }
        preprocessing, recipe = self.bundle.preprocessing, self.recipe
        pixels = np.concatenate([image.ravel() for image in decoded])
        cache = PixelCache(Path(), preprocessing.stored_size, pixels, index)
        rows = np.arange(len(decoded))
        images = Images(cache, rows, np.zeros_like(rows), self.device, preprocessing.channels)
        views = BatchViews(images, rows, preprocessing.size, recipe.eval_crop, recipe.crop_scale, recipe.flip, seed=0)
        with torch.inference_mode():
            return log_probabilities(views, self.views, self.forward)
