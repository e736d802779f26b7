"""The text of a written grid is the grid that it describes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sota_bench.grid import load
from sota_bench.ship.grid_file import GridFile


@pytest.mark.parametrize("vary", [(), ("init",), ("order", "augment", "split")])
def test_what_varies_from_seed_to_seed_is_kept(tmp_path: Path, vary: tuple[str, ...]) -> None:
    written = GridFile(
        comments=("A comment.",), name="again", seeds=(3,), files=(), data={"source": "known-effects", "path": ""},
        recipe={"lr": 0.01, "mixup": 0.2}, levels={"mixup": (0.2,)}, notes={"lr": "as measured"}, vary=vary,
    )  # fmt: skip
    file = tmp_path / "again.toml"
    file.write_text(written.text())
    grid = load(file)
    assert grid.vary == (vary or ("init", "order", "augment"))
    assert (grid.seeds, grid.factors, grid.recipe.lr) == ((3,), {"mixup": (0.2,)}, 0.01)
