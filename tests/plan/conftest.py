"""A planner without a machine: a fixed environment, and code whose digest never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sota_bench.data.assembly import assemble
from sota_bench.data.manifest import Manifest
from sota_bench.data.source import Scale, Source
from sota_bench.grid import load
from sota_bench.plan import graph, stage_builder
from sota_bench.plan.environment import Environment
from sota_bench.plan.images import grid_images
from sota_bench.plan.plan import Plan

ENVIRONMENT = Environment(
    "cpu",
    {"kind": "cpu", "name": "golden", "capability": "avx2", "threads": 1},
    {"python": "3.12", "numpy": "2.0", "pillow": "11.0", "torch": "2.11", "torchvision": "0.26", "timm": "1.0.20"},
    "fp32",
)


@pytest.fixture
def environment() -> Environment:
    """The fixed environment."""
    return ENVIRONMENT


class Painted(Source):
    """Blank images of 128 px: 10 classes with 20 images to train and 20 to judge."""

    name = "painted"

    @property
    def spec(self) -> dict[str, Any]:
        return {"kind": "painted"}

    def scan(self, progress: Any = None) -> Manifest:
        found = [
            (
                f"{split}/{label}/{i}.png",
                split,
                f"class{label}",
                hashlib.sha256(f"{split}{label}{i}".encode()).hexdigest(),
                1,
            )
            for split in ("train", "val")
            for label in range(10)
            for i in range(20)
        ]
        return assemble(self.name, found, [], self.name)

    def decode(self, path: str, size: int, sha256: str = "", scale: Scale = None) -> np.ndarray:
        side = min(size, 128)
        return np.zeros((side, side, 3), np.uint8)


@pytest.fixture
def painted() -> Source:
    """A source of blank images."""
    return Painted()


@pytest.fixture
def plan_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Makes the plan of a grid given as text, for the fixed environment unless another is given."""

    def make(text: str, environment: Environment = ENVIRONMENT, fixed_code: bool = True, split: str = "select") -> Plan:
        if fixed_code:
            monkeypatch.setattr(stage_builder, "code_of", lambda kind, modules: {"code": kind})
        file = tmp_path / "grid.toml"
        file.write_text(text)
        grid = load(file)
        images = grid_images(grid, Painted(), Painted().scan())
        return graph.build(grid, environment, images, tmp_path / "m.csv", 2, split=split)

    return make
