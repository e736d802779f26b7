"""A bundle: the folder that ``export`` leaves, and how its ``config.json`` describes the network's input. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError

WEIGHTS, CONFIG, CARD, RECIPE, METRICS, ONNX = (
    "model.safetensors",
    "config.json",
    "README.md",
    "recipe.toml",
    "metrics.json",
    "model.onnx",
)

SECTION = "sota_bench"
"""Key of ``config.json`` that holds what timm has no word for; timm passes it over."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    Attributes:
        stored_size: pixels of the shorter side to which a file is first scaled down, as in the decoded cache.
        size: pixels of both sides of the network's input.
        crop: share of the shorter side that the central crop keeps.
        channels: 3 for RGB, 1 for luminance.
        mean, std: per channel, in grey levels 0 to 255.
        encoded: ``jpeg`` where the stored images were JPEGs, so that each is encoded and decoded once more; else None.
    """

    stored_size: int
    size: int
    crop: float
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    encoded: str | None = None


@dataclass(frozen=True)
class Bundle:
    """An exported model.

    Attributes:
        folder: where it is.
        classes: class names; a class's position is its index.
        preprocessing: how an image becomes the network's input.
        recipe: the recipe fields that training and evaluation were done with, as JSON values.
        evaluation: names of the techniques of its own evaluation (test-time augmentation).
    """

    folder: Path
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    recipe: Mapping[str, Any]
    evaluation: tuple[str, ...]

    def section(self) -> dict[str, Any]:
        """What ``config.json`` holds under ``SECTION``, as JSON values."""
        return {
            "preprocessing": asdict(self.preprocessing),
            "recipe": dict(self.recipe),
            "evaluation": list(self.evaluation),
        }


def read_bundle(folder: Path) -> Bundle:
    """Reads a bundle's configuration.

    Raises:
        UserError: the folder is no bundle, or its configuration is damaged.
    """
    remedy = "name a folder that `python -m sota_bench export GRID.toml --out DIR` wrote"
    if not folder.is_dir():
        raise UserError(str(folder), "", "there is no such folder", remedy)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(str(folder), "", f"it has no {name}, so it is not an exported model", remedy)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        section = config[SECTION]
        values = section["preprocessing"]
        preprocessing = Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        classes = tuple(config["label_names"])
        return Bundle(folder, classes, preprocessing, section["recipe"], tuple(section["evaluation"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"cannot be read as the configuration of an exported model ({type(error).__name__}: {error})"
        raise UserError(str(folder / CONFIG), "", problem, remedy) from error
