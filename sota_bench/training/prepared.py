"""Opens what the ``prepare`` stage left: the decoded pixels, and which of them a trial trains and is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sota_bench.data.cache import PixelCache, version_of
from sota_bench.data.manifest import Manifest
from sota_bench.data.subset import Subset, choose
from sota_bench.training.images import Images


@dataclass(frozen=True)
class Prepared:
    """Decoded images and a subset of them.

    Attributes:
        cache: memory-mapped pixels.
        subset: which images are in each split, and the classes.
        labels: split -> int64 [N].
        rows: split -> int64 [N], rows of ``cache``.
    """

    cache: PixelCache
    subset: Subset
    rows: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]

    @property
    def classes(self) -> list[str]:
        """Class names; a label is an index into them."""
        return list(self.subset.classes)

    def images(self, split: str, device: torch.device, in_chans: int) -> Images:
        """One split (``train``, ``select`` or ``test``) as batches on ``device``."""
        return Images(self.cache, self.rows[split], self.labels[split], device, in_chans)


@lru_cache(maxsize=8)
def _opened(folder: Path, version: tuple[int, int]) -> tuple[Manifest, PixelCache]:
    return Manifest.load(folder / "manifest.csv"), PixelCache.open(folder / "cache")


@lru_cache(maxsize=32)
def _chosen(folder: Path, version: tuple[int, int], choice: tuple[tuple[str, Any], ...]) -> Prepared:
    manifest, cache = _opened(folder, version)
    settings: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in choice}
    subset = choose(manifest, **settings)
    splits = ("train", "select", "test")
    rows = {split: cache.rows_of(subset.contents(split)) for split in splits}
    labels = {split: subset.targets(split) for split in splits}
    return Prepared(cache, subset, rows, labels)


@lru_cache(maxsize=64)
def _digest(folder: Path, version: tuple[int, int], choice: tuple[tuple[str, Any], ...], split: str) -> str:
    return _chosen(folder, version, choice).subset.split_digest(split)


def prepared(folder: Path, data: Mapping[str, Any]) -> Prepared:
    """The images that a stage's ``params["data"]`` names.

    Args:
        folder: the ``prepare`` stage's folder.
        data: ``split`` and its ``digest``, and ``choice``, the settings that select the subset from the manifest.

    Raises:
        ValueError: the subset made from the settings is not the one that the key promises.
    """
    choice = tuple(
        sorted((name, tuple(value) if isinstance(value, list) else value) for name, value in data["choice"].items())
    )
    version = version_of(folder / "cache" / "pixels.u8")  # damaged pixels are made again at the same path
    found = _chosen(folder, version, choice)
    digest = _digest(folder, version, choice, data["split"])
    if digest != data["digest"]:
        raise ValueError(f"the {data['split']} split has digest {digest[:12]}, the plan asks for {data['digest'][:12]}")
    return found
