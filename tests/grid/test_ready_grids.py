"""The grids that come with the project: each loads, and says in its first lines what it asks and how it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

import ablations
from sota_bench.grid import load

READY = sorted(Path(ablations.__file__).parent.glob("grids/*.toml"))
ROOT = Path(__file__).parents[2]


def test_there_is_one_for_each_question_of_the_design() -> None:
    names = {file.stem for file in READY}
    assert names >= {"normalization", "mixup", "resizing", "forgetting", "tta", "smaller", "full", "base-schedule"}


@pytest.mark.parametrize("file", [*READY, ROOT / "grid.toml"], ids=lambda file: file.stem)
def test_a_ready_grid_is_valid(file: Path) -> None:
    grid = load(file)
    assert any(grid.inapplicable(cell) is None for cell in grid.cells())
    assert len(grid.seeds) >= 3
    assert grid.smallest_effect is not None
    assert grid.question
    assert grid.name == ("quick-start" if file.name == "grid.toml" else file.stem)


@pytest.mark.parametrize("file", READY, ids=lambda file: file.stem)
def test_a_ready_grid_names_its_own_command(file: Path) -> None:
    intro = file.read_text().split("[grid]")[0]
    assert intro.startswith("# ")
    assert f"python -m sota_bench run ablations/grids/{file.name}" in intro
