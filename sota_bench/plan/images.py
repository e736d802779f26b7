"""The images of a grid: its source and manifest, the size at which they are kept, and each recipe's subset."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from sota_bench.data.account import Account
from sota_bench.data.manifest import Manifest
from sota_bench.data.packed import CacheKind, kind_of
from sota_bench.data.source import Source
from sota_bench.data.subset import class_split, limited
from sota_bench.errors import UserError
from sota_bench.grid.grid import Grid
from sota_bench.grid.pretrained import located
from sota_bench.grid.recipe import CoreRecipe, fields_of
from sota_bench.plan.manifest_queries import ManifestQueries, RemoteManifest, SubsetSummary
from sota_bench.plan.phases import phases_of
from sota_bench.registry import techniques
from sota_bench.stages.context import ImageChoice
from sota_bench.technique import TrainsBaseModel

LEAST_HEADROOM, MOST_HEADROOM = 1.25, 2.0
"""The stored side over the largest size in the grid, whatever its crops are: beyond twice the side the cache is four
times as large and more, for crops that are drawn rarely."""

P = ParamSpec("P")
T = TypeVar("T")

LOOKED_AT = 9
"""Images that are decoded while planning, to learn how large the source's images are."""


@dataclass
class GridImages:
    """The images of one grid.

    Attributes:
        source: where they come from.
        manifest: all of them, here or in a process of their own.
        size: pixels of the shorter side in the cache.
        upsampled: sizes in the grid that are larger than the stored images.
        cache: how they are kept.
        grid_file: where paths in its recipes start.
        technique_files: local technique files of the grid.
    """

    source: Source
    manifest: Manifest | RemoteManifest
    size: int
    upsampled: list[int]
    cache: CacheKind = "pixels"
    grid_file: Path = Path()
    technique_files: tuple[Path, ...] = ()
    _choices: dict[tuple[int, str], tuple[CoreRecipe, ImageChoice]] = field(default_factory=dict)
    _subsets: dict[ImageChoice, SubsetSummary] = field(default_factory=dict)
    _classes: dict[str, list[str]] = field(default_factory=dict)
    _contents: dict[tuple[ImageChoice, ...], tuple[str, int]] = field(default_factory=dict)

    def choice(self, recipe: CoreRecipe, task: str) -> ImageChoice:
        """The settings that select a recipe's images for a task: the recipe's data fields, without those that limit
        nothing (0 or empty)."""
        name = id(recipe), task
        if name not in self._choices:  # holding the recipe keeps its id from being given to another
            self._choices[name] = recipe, self._choose(recipe, task)
        return self._choices[name][1]

    def _choose(self, recipe: CoreRecipe, task: str) -> ImageChoice:
        values = {name: getattr(recipe, name) for name in fields_of(type(recipe), "data")}
        chosen = ImageChoice(**{name: value for name, value in values.items() if value})
        if chosen.keep is not None:
            chosen = replace(chosen, keep=str(located(chosen.keep, self.grid_file)))
        if chosen.curation is not None:
            chosen = replace(chosen, curation=str(located(chosen.curation, self.grid_file)))
        if self.joined:  # the classes of other sources are there for base models alone
            chosen = replace(chosen, classes=tuple(limited(self._classes_of(""), chosen.classes)))
        for technique in techniques(self.technique_files).values():
            if not (issubclass(technique, TrainsBaseModel) and technique.active(recipe)):
                continue
            other = technique(recipe).base_data()
            if other and task == "base":
                chosen = replace(chosen, classes=tuple(self._classes_of(other)))
            elif not other:
                base, main = class_split(self.manifest, 2, chosen.classes)
                chosen = replace(chosen, classes=tuple(base if task == "base" else main))
        return chosen

    @cached_property
    def joined(self) -> bool:
        """Whether there are images of another source for base models."""
        return self._ask(ManifestQueries.joined)

    @cached_property
    def _here(self) -> ManifestQueries | None:
        """Answers about a manifest that this process holds."""
        return ManifestQueries(self.manifest) if isinstance(self.manifest, Manifest) else None

    def _ask(self, query: Callable[Concatenate[ManifestQueries, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        if self._here is not None:
            return query(self._here, *arguments, **named)
        assert isinstance(self.manifest, RemoteManifest)
        return self.manifest.ask(query, *arguments, **named)

    def _classes_of(self, name: str) -> list[str]:
        if name not in self._classes:
            self._classes[name] = self._ask(ManifestQueries.classes_of, name)
        return self._classes[name]

    def subset(self, choice: ImageChoice) -> SubsetSummary:
        """The subset of a choice, made once."""
        if choice not in self._subsets:
            self._subsets[choice] = self._ask(ManifestQueries.subset, choice)
        return self._subsets[choice]

    def digest(self, choice: ImageChoice, split: str) -> str:
        """Digest of one split of a choice."""
        return self.subset(choice).split_digest(split)

    def contents_digest(self, choices: tuple[ImageChoice, ...]) -> tuple[str, int]:
        """SHA-256 over all images that some choice uses, and their number."""
        if choices not in self._contents:
            self._contents[choices] = self._ask(ManifestQueries.contents_digest, choices)
        return self._contents[choices]

    @cached_property
    def account(self) -> Account:
        """What the source holds, what of it is used, and what should be looked at before anything trains."""
        return self._ask(ManifestQueries.account)

    def part(self, choices: Sequence[ImageChoice], name: str) -> Manifest:
        """A manifest of the images that some choice uses."""
        return self._ask(ManifestQueries.part, choices, name)

    @cached_property
    def count(self) -> int:
        """All images."""
        return self._ask(ManifestQueries.count)

    def paths(self, count: int) -> list[str]:
        """Some images, evenly spread."""
        return self._ask(ManifestQueries.paths, count)


def grid_images(grid: Grid, source: Source, manifest: Manifest | RemoteManifest) -> GridImages:
    """Decides the stored size and checks that no phase is above it.

    Raises:
        UserError: a phase is larger than the images and the grid does not allow ``upsample``.
    """
    needed: dict[int, bool] = {}
    named: dict[int, str] = {}
    for cell in grid.cells():
        phases = phases_of(cell.recipe, grid.active(cell.recipe))
        sizes = {phase.size: "resize" for phase in phases}
        for size, name in {cell.recipe.eval_size or phases[-1].size: "eval_size", **sizes}.items():
            needed[size] = needed.get(size, True) and bool(cell.recipe.upsample)
            named[size] = "resize" if named.get(size) == "resize" else name
    size = grid.data.size or 8 * math.ceil(max(needed) * _headroom(grid) / 8)
    images = GridImages(source, manifest, size, [], grid_file=grid.file, technique_files=grid.techniques)
    images.cache = kind_of(grid.data.cache, images.count, size)
    ceiling = min(size, _typical_side(images, size))
    above = sorted(pixels for pixels in needed if pixels > ceiling)
    refused = [pixels for pixels in above if not needed[pixels]]
    if refused:
        name = named[refused[-1]]
        key = f"factors.{name}" if name in grid.factors else f"recipe.{name}"
        raise UserError(
            str(grid.file),
            "data.size" if grid.data.size and grid.data.size < refused[-1] else key,
            f"{refused[-1]} px is above the {ceiling} px at which {source.name} is stored",
            "stay at or below it, or set recipe.upsample = true (adds pixels, no detail)",
        )
    images.upsampled = above
    return images


def _headroom(grid: Grid) -> float:
    """So much that the smallest crop is not enlarged: enlarged crops are blurred, and the network is then judged on
    images that are sharper than those it was trained on."""
    crops = [float(min(cell.recipe.crop_scale**0.5, cell.recipe.eval_crop)) for cell in grid.cells()]
    return min(max(1 / min(crops), LEAST_HEADROOM), MOST_HEADROOM)


def _typical_side(images: GridImages, size: int) -> int:
    """Median shorter side in pixels of some images, at most ``size``."""
    sides = []
    for path in images.paths(LOOKED_AT):
        try:
            sides.append(min(images.source.decode(path, size).shape[:2]))
        except Exception:  # a damaged image is named when the cache is made
            continue
    return int(np.median(sides)) if sides else size
