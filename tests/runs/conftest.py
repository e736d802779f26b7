"""Plans of one grid with different learning rates; nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sota_bench.grid import load
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.plan.plan import Plan

GRID = """
[grid]
name = "rates"
seeds = [0, 1]
[data]
source = "known-effects"
fraction = 0.05
[recipe]
backbone = "test_resnet"
resize = "32x1"
[factors]
lr = {lr}
"""


@pytest.fixture
def plan_of(tmp_path: Path) -> Callable[[str], Plan]:
    """Makes the plan of the grid with the learning rates that are given."""

    def make(rates: str) -> Plan:
        (tmp_path / "grid.toml").write_text(GRID.format(lr=rates))
        plan, _ = make_plan(load(tmp_path / "grid.toml"), Machine(tmp_path / "store", "cpu", 1))
        return plan

    return make


@pytest.fixture
def plan(plan_of: Callable[[str], Plan]) -> Plan:
    """The plan of a grid with two learning rates and two seeds."""
    return plan_of("[0.001, 0.002]")
