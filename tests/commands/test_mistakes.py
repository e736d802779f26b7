"""Mistakes about the images: one line that names the grid file, the key and the remedy, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sota_bench.cli import main
from sota_bench.runs.provenance import command_line

GRID = """
[grid]
name = "g"
seeds = [0]
[data]
source = "known-effects"
[recipe]
backbone = "test_resnet"
resize = "32x1"
[factors]
mixup = [0.0, 0.2]
"""


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound grid in the working folder."""
    (tmp_path / "grid.toml").write_text(GRID)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", ["run", "plan", "status"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('source = "imagenete"', "did you mean imagenette or imagenet?"),
        ('source = "folder:none"', "none' is not a folder; name an existing folder"),
        ("classes = 1000", "classes: "),
        ('classes = ["lion", "tiger"]', "classes: "),
    ],
)
def test_the_line_names_the_grid(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    data: str,
    message: str,
) -> None:
    (tmp_path / "grid.toml").write_text(f'[grid]\nname = "g"\n[data]\n{data}\n[factors]\nmixup = [0.0, 0.2]\n')
    monkeypatch.chdir(tmp_path)
    assert main([command, "grid.toml"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("grid.toml: ") and message in said
    assert [path.name for path in tmp_path.iterdir()] == ["grid.toml"]


@pytest.mark.parametrize("option", ["--out", "--store"])
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("a\udcffb", "is not valid UTF-8; name another folder"),
        ("a" * 300, "cannot be used: File name too long; name another folder"),
        ("grid.toml/deep", "cannot be a folder: 'grid.toml' is a file; name another folder"),
    ],
)
def test_a_folder_that_cannot_be_is_one_line(
    grid: Path, capsys: pytest.CaptureFixture[str], option: str, folder: str, message: str
) -> None:
    assert main(["status", "grid.toml", option, folder]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith(f"{option}: ") and message in said


def test_only_what_writes_needs_a_folder_that_can_be_written(
    grid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    assert main(["run", "grid.toml"]) == 2 and "--store" in capsys.readouterr().err
    assert main(["status", "grid.toml"]) == 0
    assert main(["verify", "grid.toml"]) == 2 and "has no results of this grid" in capsys.readouterr().err


def test_a_command_with_bytes_that_are_no_text_can_be_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sota-bench", "run", "a\udcff.toml"])
    assert command_line() == "python -m sota_bench run 'a\\udcff.toml'"
