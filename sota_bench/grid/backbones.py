"""The names of timm's backbones, read from its installed source, so that a grid is checked without importing torch."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from sota_bench.grid.nearest import did_you_mean

_REGISTERED = re.compile(r"^@register_model\b[^\n]*\n(?:@[^\n]*\n|#[^\n]*\n|\s*\n)*def\s+(\w+)\s*\(", re.MULTILINE)


@dataclass(frozen=True)
class SmallBackbone:
    """One row of the curated list that ``list backbones`` shows.

    Attributes:
        name: as written in a grid.
        params: trainable parameters with 10 classes and 3 input channels.
        flops: multiply-adds x 2 of one forward pass of one image at ``size`` pixels.
        size: input size in pixels at which ``flops`` was counted.
        batch_norm: whether any layer normalizes over the batch.
        fixed_size: whether the input size is fixed when the network is made (position embeddings, windows).
        blocks: as in :class:`~sota_bench.technique.NetworkFacts`.
        mixes_sizes: as there.
        drop_path: whether it takes a stochastic depth rate.
        step: every size in pixels that it takes is a multiple of this.
        least: the smallest of them that it takes.
    """

    name: str
    params: int
    flops: int
    size: int
    batch_norm: bool
    fixed_size: bool
    blocks: int
    mixes_sizes: bool
    drop_path: bool
    step: int
    least: int


@lru_cache
def backbone_families() -> dict[str, str]:
    """Architecture -> the module that registers it, for the whole of the installed timm, sorted by name."""
    spec = importlib.util.find_spec("timm")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    families: dict[str, str] = {}
    for folder in folders:
        for file in (Path(folder) / "models").glob("*.py"):
            text = file.read_text(encoding="utf-8", errors="replace")
            families.update(dict.fromkeys(_REGISTERED.findall(text), file.stem))
    return dict(sorted(families.items()))


def backbone_names() -> tuple[str, ...]:
    """Every architecture that the installed timm registers, sorted."""
    return tuple(backbone_families())


@lru_cache(maxsize=1024)
def backbone_problem(name: str) -> str | None:
    """Why ``name`` is not a backbone, with near names and as ``problem; remedy``; None when it is one.

    Args:
        name: an architecture, or an architecture and the tag of its weights (``resnet18.a1_in1k``).
    """
    names = backbone_names()
    if not names or name.split(".", 1)[0] in names:
        return None
    remedy = did_you_mean(name.split(".", 1)[0], names, "`python -m sota_bench list backbones` shows small ones")
    return f"{name[:80]!r} is not a backbone of the installed timm; {remedy}"


def size_problem(name: str, sizes: Iterable[int]) -> str | None:
    """Why a backbone cannot take images of a size, as ``problem; remedy``, as far as its name tells (``patch16``)."""
    patch = int(match[1]) if (match := re.search(r"patch(\d+)", name)) else 1
    wrong = next((size for size in sizes if size % patch), None)
    if wrong is None:
        return None
    near = patch * max(1, round(wrong / patch))
    return f"{wrong} px cannot be cut into the {patch} px patches of {name[:80]}; write for example {near}"


@lru_cache
def small_backbones() -> tuple[SmallBackbone, ...]:
    """A short list of backbones that train in minutes, the smallest first (by ``benchmarks/small_backbones.py``)."""
    rows = json.loads((files("sota_bench.grid") / "small_backbones.json").read_text(encoding="utf-8"))
    return tuple(SmallBackbone(**row) for row in rows)
