"""Grids on several data sets: their names, the grid on each, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sota_bench.errors import UserError
from sota_bench.grid import load
from sota_bench.grid.refined import refined_text
from sota_bench.grid.sources import source_labels

GRID = '[grid]\nname = "pets"\n[data]\nsources = {sources}\n{more}[factors]\nlr = [0.003, 0.001]\n'


def read(folder: Path, sources: str, more: str = "", **named):
    file = folder / "grid.toml"
    file.write_text(GRID.format(sources=sources, more=more))
    return load(file, **named)


@pytest.mark.parametrize(
    ("sources", "labels"),
    [
        (["imagenette", "folder:photos/My Dogs"], ["imagenette", "My-Dogs"]),
        (["archive:a/cats.tar", "folder:b/cats", "torchvision:CIFAR10"], ["cats", "cats-2", "CIFAR10"]),
        (["folder:..", "folder:/", "folder:con"], ["data", "data-2", "data-con"]),
    ],
)
def test_names_can_be_folders_and_differ(sources: list[str], labels: list[str]) -> None:
    assert source_labels(sources) == labels


def test_each_data_set_has_a_grid_of_its_own(tmp_path: Path) -> None:
    grid = read(tmp_path, '["imagenette", "folder:dogs"]', "size = 48\nfraction = 0.5\n", out=tmp_path / "out")
    assert list(grid.sources) == ["imagenette", "dogs"]
    dogs = grid.for_source("dogs")
    assert (dogs.name, dogs.out, dogs.sources) == ("pets-dogs", tmp_path / "out" / "dogs", {})
    assert Path(dogs.source.removeprefix("folder:")).name == "dogs" and dogs.data.source == "folder:dogs"
    assert dogs.cells() == grid.cells() and dogs.data.size == 48 and dogs.seeds == grid.seeds


def test_the_second_step_of_a_fractional_design_is_on_the_same_data_set(tmp_path: Path) -> None:
    dogs = read(tmp_path, '["imagenette", "folder:dogs"]').for_source("dogs")
    (tmp_path / "second.toml").write_text(refined_text(dogs, ["lr"], 64))
    second = load(tmp_path / "second.toml")
    assert second.source == dogs.source and not second.sources and second.name == "pets-dogs-refined"


@pytest.mark.parametrize(
    ("sources", "more", "line"),
    [
        ('["imagenette"]', "", "data.sources: it names one data set; write source, or name two or more"),
        ('["imagenette", "imagenette"]', "", "data.sources: a data set is named twice; name each one once"),
        ('["imagenette", "imagenett"]', "", "data.sources: 'imagenett' is not a data source; did you mean imagenette"),
        (
            '["imagenette", "imagewoof"]',
            'source = "imagenet"\n',
            "data.source: it is about one data set, and data.sources names 2; leave source out, or name one data set "
            "as data.source",
        ),
        ('["imagenette", "imagewoof"]', 'labels = "a.csv"\n', "data.labels: it is about one data set"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, sources: str, more: str, line: str) -> None:
    with pytest.raises(UserError) as raised:
        read(tmp_path, sources, more)
    assert line in str(raised.value)
