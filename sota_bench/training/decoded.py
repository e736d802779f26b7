"""The decoded pixels of the ``prepare`` stage, and which of them a trial trains and is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from sota_bench.data.cache import HEADER, ImageCache, version_of
from sota_bench.data.manifest import Manifest, parse_scale
from sota_bench.data.packed import SourceCache, open_cache
from sota_bench.data.specs import source_from_spec
from sota_bench.data.split import SPLITS
from sota_bench.data.subset import Subset, choose
from sota_bench.stages.context import ImageChoice, StageContext
from sota_bench.stages.params import ImageSelection
from sota_bench.training.images import Images


@dataclass(frozen=True)
class DecodedSubset:
    """Decoded images and a subset of them.

    Attributes:
        cache: all images at the stored size.
        subset: which images are in each split, and the classes.
        labels: split -> int64 [N].
        rows: split -> int64 [N], rows of ``cache``.
    """

    cache: ImageCache
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
def _cache(folder: Path, version: tuple[int, int]) -> ImageCache:
    return open_cache(folder / "cache")


@lru_cache(maxsize=8)
def _manifest(file: Path, version: tuple[int, int]) -> Manifest:
    return Manifest.load(file)


Versions = tuple[tuple[int, int], tuple[int, int]]


@lru_cache(maxsize=32)
def _chosen(folder: Path, file: Path, versions: Versions, choice: ImageChoice) -> DecodedSubset:
    cache, manifest = _cache(folder, versions[0]), _manifest(file, versions[1])
    subset = choose(manifest, **choice.arguments())
    rows = {split: cache.rows_of(subset.contents(split)) for split in SPLITS}
    labels = {split: subset.targets(split) for split in SPLITS}
    return DecodedSubset(cache, subset, rows, labels)


@lru_cache(maxsize=64)
def _digest(folder: Path, file: Path, versions: Versions, choice: ImageChoice, split: str) -> str:
    return _chosen(folder, file, versions, choice).subset.split_digest(split)


def decoded_subset(folder: Path, context: StageContext, data: ImageSelection) -> DecodedSubset:
    """The images that a stage reads.

    The decoded pixels are filed by content alone; the manifest says which of them are in which split and class.

    Args:
        folder: the ``prepare`` stage's folder.
        context: the manifest, and the settings that select the subset from it.
        data: the split that the key promises.

    Raises:
        ValueError: the subset made from the settings is not the one that the key promises.
    """
    # damaged pixels, and a damaged manifest, are made again at the same path
    versions = (version_of(folder / "cache" / HEADER), version_of(context.manifest))
    chosen = _chosen(folder, context.manifest, versions, context.choice)
    if isinstance(chosen.cache, SourceCache) and not chosen.cache.ready:
        assert context.source is not None
        items = chosen.subset.manifest.items
        columns = zip(items["sha256"], items["path"], items["scale"], strict=True)
        files = {content: (path, parse_scale(scale)) for content, path, scale in columns}
        chosen.cache.read_from(source_from_spec(context.source), files)
    digest = _digest(folder, context.manifest, versions, context.choice, data.split)
    if digest != data.digest:
        raise ValueError(f"the {data.split} split has digest {digest[:12]}, the plan asks for {data.digest[:12]}")
    return chosen
