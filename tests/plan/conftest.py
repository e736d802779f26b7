"""A planner without a machine: a fixed environment, and code whose digest never changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sota_bench.data.manifest import Manifest
from sota_bench.data.source import KnownEffects
from sota_bench.grid import load
from sota_bench.plan import graph
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


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    """Of the rendered images."""
    return KnownEffects().scan()


@pytest.fixture
def plan_of(tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Makes the plan of a grid given as text, for the fixed environment unless another is given."""

    def make(text: str, environment: Environment = ENVIRONMENT, fixed_code: bool = True) -> Plan:
        if fixed_code:
            monkeypatch.setattr(graph, "code_of", lambda kind, modules: {"code": kind})
        file = tmp_path / "grid.toml"
        file.write_text(text)
        grid = load(file)
        return graph.build(grid, environment, grid_images(grid, KnownEffects(), manifest), tmp_path / "m.csv", 2)

    return make
