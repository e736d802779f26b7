"""What a worker needs to run a stage and what does not decide its result: paths, and how often it saves itself. Not
part of the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sota_bench.stages.values import Json

CHECKPOINT_S = 300.0
"""Seconds between two checkpoints inside a phase, where nothing else is asked for."""


@dataclass(frozen=True)
class ImageChoice:
    """The settings that select a subset of a manifest (see ``data.subset.choose``). The digest of what they select is
    part of the key, they are not.

    Attributes:
        fraction: share of each class's training images, or None for all.
        classes: how many classes or which, or None for all.
        per_class: training images of each class at most, or None.
        eval_images: images of each evaluation split at most, or None.
        keep: file of a manifest that lists the training images, or None.
        train_labels: column of other labels that the training images get, or None.
        split_seed: draws which images train and which choose, or None for those that the manifest names.
        curation: file of a curated manifest, which lists the training images and their classes, or None.
    """

    fraction: float | None = None
    classes: int | tuple[str, ...] | None = None
    per_class: int | None = None
    eval_images: int | None = None
    keep: str | None = None
    train_labels: str | None = None
    split_seed: int | None = None
    curation: str | None = None

    def arguments(self) -> dict[str, Any]:
        """The settings that limit something, as arguments of ``data.subset.choose``."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class PrepareContext:
    """Of a stage that decodes images.

    Attributes:
        manifest: the file that lists all images.
        source: what opens the source of the images (``Source.spec``).
        choices: the subsets that the grid uses; the images of any of them are decoded.
        processes: how many decode.
    """

    manifest: Path
    source: Mapping[str, Json]
    choices: tuple[ImageChoice, ...]
    processes: int


@dataclass(frozen=True)
class StageContext:
    """Of every other stage.

    Attributes:
        choice: the subset that it reads.
        manifest: the file that lists all images.
        technique_files: local technique files of the grid.
        weights: where pretrained weights lie: ``""`` for none, ``timm`` for the hub, or a path.
        checkpoint_s: seconds between two checkpoints inside a phase.
        accumulate: whether a step that does not fit into memory is computed in smaller parts.
        source: what opens the source of the images, where no cache holds them; else None.
    """

    choice: ImageChoice
    manifest: Path
    technique_files: tuple[Path, ...] = ()
    weights: str = ""
    checkpoint_s: float = CHECKPOINT_S
    accumulate: bool = True
    source: Mapping[str, Json] | None = None
