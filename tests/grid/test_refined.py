"""The second step of a fractional design: a grid file that says all that the first one said, wherever it lies."""

from __future__ import annotations

from pathlib import Path

from sota_bench.grid import load
from sota_bench.grid.refined import refined_text

GRID = """
[grid]
name = "first"
design = "fractional"
resolution = 4
refine = true
seeds = [4, 5]
added_seeds = [6]
smallest_effect = 0.5
notes = "mine"

[data]
source = "folder:photos"
fraction = 0.5

[recipe]
resize = "64x2"
lr = 0.003

[factors]
lr = [0.003, 0.001]
flip = [true, false]
mixup = [0.0, 0.2]
dropout = [0.0, 0.1]
"""


def test_it_keeps_the_clear_factors_and_holds_the_others_at_their_baseline(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    file = tmp_path / "grid.toml"
    file.write_text(GRID)
    first = load(file, ("recipe.batch_size=32", "data.fraction=0.25"), seeds=[4, 6])
    elsewhere = tmp_path / "elsewhere" / "grid.toml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(refined_text(first, ["lr", "mixup"], 72))
    second = load(elsewhere)
    assert second.design == "full" and not second.refine and second.name == "first-refined"
    assert dict(second.factors) == {"lr": (0.003, 0.001), "mixup": (0.0, 0.2)}
    assert second.recipe == first.recipe and second.data.size == 72
    assert second.source == first.source == f"folder:{tmp_path / 'photos'}"
    assert (second.seeds, second.added_seeds) == ((4, 6), (6,))
    assert second.notes.startswith("mine\n\nSecond step of first: the full factorial of lr, mixup, with flip, dropout")
    shared = {cell.recipe.model_dump_json() for cell in first.cells()}
    assert sum(cell.recipe.model_dump_json() in shared for cell in second.cells()) >= 1


def test_a_long_name_stays_a_name(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(GRID.replace("first", "n" * 64).replace("folder:photos", "known-effects"))
    (tmp_path / "second.toml").write_text(refined_text(load(file), ["flip"], 64))
    assert len(load(tmp_path / "second.toml").name) == 64
