"""Plans on a few drawn images, and a world in which every stage takes a known time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab import Lab, write_images
from world import World

from sota_bench.forecast.combination import Combinations
from sota_bench.plan.plan import Plan


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """48 training and 32 validation images of four classes; half of the latter choose."""
    folder = tmp_path_factory.mktemp("timing")
    return Lab(folder, write_images(folder / "images"))


@pytest.fixture
def world() -> World:
    """The default world."""
    return World()


GRID = {
    "recipe": 'resize = "32x2"\nfraction = 1.0',
    "factors": 'resize = ["32x2", "16x1 32x3"]\nmixup = [0.0, 0.2]\nmitigation = ["none", "low-lr"]\n'
    'tta = ["off", "flip"]',
}


@pytest.fixture(scope="session")
def plan_of(lab: Lab) -> Callable[..., Plan]:
    """Plans a grid on the images; two schedules, Mixup, a mitigation and TTA with two seeds by default."""

    def make(recipe: str = GRID["recipe"], factors: str = GRID["factors"], seeds: tuple[int, ...] = (0, 1)) -> Plan:
        return lab.plan(recipe, factors, seeds)

    return make


@pytest.fixture(scope="session")
def plan(plan_of: Callable[..., Plan]) -> Plan:
    """The default plan."""
    return plan_of()


@pytest.fixture(scope="session")
def combinations(plan: Plan) -> Combinations:
    """Of the default plan with two workers."""
    return Combinations(plan, 2)
