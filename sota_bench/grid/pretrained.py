"""What pretrained weights were made for: the size and the statistics of their images, by their own configuration."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sota_bench.grid.torch_queries import ask, serve

if TYPE_CHECKING:
    from sota_bench.grid.recipe import CoreRecipe

HUB = "timm"


@dataclass(frozen=True)
class MadeFor:
    """Images that weights expect.

    Attributes:
        size: pixels of both sides.
        mean, std: per channel, in units of 0..1.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"{self.size} px with mean {mean} and deviation {std} (pixels of 0 to 1)"


def located(written: str, grid_file: Path) -> Path:
    """An absolute path as a grid means it: relative to the grid, or failing that to the working folder."""
    path = Path(written).expanduser()
    beside = grid_file.parent / path
    return (beside if beside.exists() else path).absolute()


def made_for(weights: str, backbone: str, grid_file: Path) -> MadeFor | None:
    """What weights were made for; None where nobody says.

    Args:
        weights: ``timm``, or a local file (both: as timm describes the backbone's own weights), or a folder, whose
            ``config.json`` says it.
        backbone: as written in a grid.
        grid_file: where paths start.
    """
    if not weights:
        return None
    if weights != HUB:
        try:
            folder = located(weights, grid_file)
            if folder.is_dir():
                return _folder(folder, (folder / "config.json").stat().st_mtime_ns)
        except (OSError, ValueError):
            return None
    return _described(backbone)


@lru_cache(maxsize=64)
def _folder(folder: Path, mtime_ns: int) -> MadeFor | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return _parsed(config.get("pretrained_cfg", config)) if isinstance(config, dict) else None


@lru_cache(maxsize=64)
def _described(backbone: str) -> MadeFor | None:
    (answer,) = ask(__name__, [{"backbone": backbone}], 1)
    return _parsed(answer)


def _parsed(config: object) -> MadeFor | None:
    if not isinstance(config, Mapping):
        return None
    try:
        size = int(config["input_size"][-1])
        mean, std = (tuple(map(float, config[name])) for name in ("mean", "std"))
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    sane = size > 0 and all(map(math.isfinite, (*mean, *std))) and min(std, default=0.0) > 0
    return MadeFor(size, mean, std) if sane and len(mean) == len(std) else None


def sentences(recipes: Iterable[CoreRecipe], grid_file: Path) -> list[str]:
    """A line for each different choice of weights among recipes: what they were made for."""
    pairs: dict[tuple[str, str], None] = {}
    for recipe in recipes:
        if recipe.weights:
            pairs.setdefault((recipe.weights, recipe.backbone))
    lines = []
    for weights, backbone in pairs:
        made = made_for(weights, backbone, grid_file)
        of = "of timm's hub" if weights == HUB else f"in {weights}"
        if made is not None:
            lines.append(f"The weights {of} for {backbone} were made for images of {made}.")
    return lines


def answer(query: Mapping[str, Any]) -> dict[str, Any]:
    """How timm describes the weights of a backbone; empty where it has none."""
    import timm

    try:
        config = timm.get_pretrained_cfg(str(query["backbone"]))
    except RuntimeError:  # no such tag
        return {}
    if config is None:
        return {}
    return {name: list(getattr(config, name)) for name in ("input_size", "mean", "std")}


if __name__ == "__main__":
    serve()
