"""Mistakes about the images: one line that names the grid file, the key and the remedy, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from sota_bench.cli import main


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
