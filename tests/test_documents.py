"""What the documents show works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sota_bench.grid import load
from sota_bench.registry import load_file

ROOT = Path(__file__).parents[1]


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of a document."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The worked example of CONTRIBUTING.md as a file."""
    file = tmp_path / "grayscale.py"
    file.write_text(blocks("CONTRIBUTING.md", "python")[0])
    return file


def test_the_worked_example_is_a_technique_that_a_grid_can_name(example: Path) -> None:
    grid = example.with_name("grid.toml")
    grid.write_text('[grid]\nname = "g"\ntechniques = ["grayscale.py"]\n[factors]\ngrayscale = [0.0, 0.2]\n')
    assert [cell.text for cell in load(grid).cells()] == [{"grayscale": "0.0"}, {"grayscale": "0.2"}]


def test_the_worked_example_agrees_with_torchvision(example: Path) -> None:
    import torch
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([True, False, True, False])
    found = load_file(example).grayscale(images, chosen)
    assert torch.equal(found[~chosen], images[~chosen])
    torch.testing.assert_close(found[chosen], rgb_to_grayscale(images, 3)[chosen], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CHANGELOG.md"])
def test_the_modules_and_folders_that_a_document_names_exist(name: str) -> None:
    """A path may be shortened to its end, as in a table of one package."""
    paths = re.findall(r"`([\w./-]+(?:\.py|/))`", (ROOT / name).read_text(encoding="utf-8"))
    assert paths
    parts = [ROOT / part for part in ("sota_bench", "ablations", "benchmarks", "tests", "fuzz")]
    tree = [path.relative_to(ROOT).as_posix() for part in parts for path in (part, *part.rglob("*"))]
    missing = [path for path in paths if not any(f"/{there}".endswith(f"/{path.rstrip('/')}") for there in tree)]
    assert not missing


def test_the_grid_in_the_readme_is_valid(tmp_path: Path) -> None:
    text = blocks("README.md", "toml")[0]
    tomllib.loads(text)
    (tmp_path / "grid.toml").write_text(text)
    assert len(load(tmp_path / "grid.toml").cells()) == 8


def test_the_speeds_of_the_readme_are_those_of_the_committed_results() -> None:
    """No number of that table is written by hand."""
    command = [sys.executable, ROOT / "benchmarks" / "speed_table.py"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert table.strip() in (ROOT / "README.md").read_text(encoding="utf-8")
    assert table.count("\n") > 10
