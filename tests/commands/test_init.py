"""``init`` writes a grid that loads as it is and explains every key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sota_bench.cli import main
from sota_bench.grid import load
from sota_bench.grid.fields import recipe_fields
from sota_bench.grid.tables import DataTable, GridTable


def test_the_grid_loads_cleanly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    assert main(["init", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}; next: python -m sota_bench plan {path}\n"
    grid = load(path)
    assert grid.name == "mine" and len(grid.cells()) >= 4
    assert all(len(levels) >= 2 for levels in grid.factors.values())


def test_every_key_is_there_and_is_its_default(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    assert main(["init", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    # Taking the comment sign from every line that holds a key must give a grid that says the defaults.
    keys = {*GridTable.model_fields, *DataTable.model_fields, *(field.name for field in recipe_fields())}
    lines = []
    for line in text.splitlines():
        name, equals, _ = line.removeprefix("# ").partition(" = ")
        lines.append(line.removeprefix("# ") if equals and name in keys else line)
    tables = tomllib.loads("\n".join(lines))
    assert set(tables["grid"]) == set(GridTable.model_fields)
    assert set(tables["data"]) == set(DataTable.model_fields)
    assert tables["recipe"] == {field.name: field.default for field in recipe_fields()}
    assert set(tables["factors"]) == {field.name for field in recipe_fields() if len(field.levels) > 1}
    for field in recipe_fields():
        assert field.help.split()[0] in text


def test_it_does_not_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "grid.toml"
    path.write_text("mine")
    assert main(["init", str(path)]) == 2
    assert capsys.readouterr().err == f"{path}: the file exists; name another one, or add --force\n"
    assert path.read_text() == "mine"
    assert main(["init", str(path), "--force"]) == 0
    assert path.read_text() != "mine"


def test_a_folder_gets_a_grid(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["grid.toml"]


def test_another_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "grid.toml"
    assert main(["init", str(path), "--data", 'folder:my "photos"\\x']) == 0
    assert load(path).data.source == 'folder:my "photos"\\x'
    assert main(["init", str(path), "--force", "--data", "imagenete"]) == 2
    assert capsys.readouterr().err.startswith("--data: 'imagenete' is not a data source; did you mean")


@pytest.mark.parametrize("name", ["none/grid.toml", "-x.toml", "a" * 300, "nul.toml"])
def test_places_that_cannot_be(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and not captured.out
    assert list(tmp_path.iterdir()) == []
