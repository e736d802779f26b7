"""The reference runs that come with the project belong to their grids, and show what is true by construction."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import ablations
from sota_bench.grid import load
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.runs.reference import Reference, check, read_reference
from sota_bench.stats import Analysis, analyze, verdicts
from sota_bench.stats.convergence import LEAST_REFERENCES

ROOT = Path(__file__).parents[2]
FOLDER = Path(ablations.__file__).parent
FILES = sorted((FOLDER / "references").glob("*.json"))
QUICK_START = FOLDER / "references" / "quick-start.json"
CHANCE = 10.0


def grid_of(reference: Reference) -> Path:
    """The grid that a reference speaks of."""
    return ROOT / "grid.toml" if reference.grid == "quick-start" else FOLDER / "grids" / f"{reference.grid}.toml"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_reference_holds_every_cell_of_its_grid(file: Path) -> None:
    reference = read_reference(file)
    grid = load(grid_of(reference))
    cells = [cell for cell in grid.cells() if grid.inapplicable(cell) is None]
    assert file.stem == reference.grid == grid.name
    assert [cell.levels for cell in reference.cells] == [cell.text for cell in cells]
    assert [cell.epochs for cell in reference.cells] == [
        sum(phase.epochs for phase in cell.recipe.phases) for cell in cells
    ]
    assert all(len(cell.accuracy) >= LEAST_REFERENCES for cell in reference.cells)
    assert reference.margin_pp == grid.smallest_effect
    assert reference.versions["torch"] and reference.device["name"] and reference.precision


def test_the_quick_start_can_be_compared_with_its_reference(tmp_path: Path) -> None:
    """Recipe, images and epochs are those of today's grid: what changes them has to write the reference anew."""
    reference = read_reference(QUICK_START)
    plan, _ = make_plan(load(ROOT / "grid.toml"), Machine(tmp_path, "cpu", 1))
    names = {frozenset(cell.text.items()): cell.id for cell in plan.grid.cells()}
    trials = pd.DataFrame([
        {"cell": names[cell.key], "seed": seed, "status": "done", "accuracy": accuracy, "epochs": cell.epochs,
         "judged_on": cell.judged_on}
        for cell in reference.cells for seed, accuracy in cell.accuracy.items()
    ])  # fmt: skip
    checked = check(plan, trials, reference, QUICK_START)
    assert len(checked.names) == len(reference.cells) + 1 and not checked.failures


@pytest.fixture(scope="module")
def quick_start() -> Analysis:
    """The quick start's own analysis, of the reference runs with the seeds of the grid."""
    reference, grid = read_reference(QUICK_START), load(ROOT / "grid.toml")
    rows = [
        {**cell.levels, "seed": seed, "accuracy": cell.accuracy[seed]}
        for cell in reference.cells
        for seed in grid.seeds
    ]
    factors = json.loads(json.dumps(grid.resolved()["factors"]))
    return analyze(
        pd.DataFrame(rows), response="accuracy", factors=factors, within=["tta"], delta=grid.smallest_effect, unit="pp",
        allow_missing=True,
    )  # fmt: skip


def test_the_quick_start_finds_what_is_true_by_construction(quick_start: Analysis) -> None:
    found = {row.factor: row.verdict for row in quick_start.headlines()}
    assert found == {
        "normalize": verdicts.EQUIVALENT,
        "mixup": verdicts.EQUIVALENT,
        "resize": verdicts.HURTS,
        "mitigation": verdicts.HURTS,
        "tta": verdicts.HELPS,
    }


def test_every_cell_of_the_quick_start_is_far_above_chance() -> None:
    for cell in read_reference(QUICK_START).cells:
        assert min(cell.accuracy.values()) > 3 * CHANCE, cell.title
