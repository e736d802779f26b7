"""Smaller data: a grid's words become the choice of images, nested and stratified, whatever stands in [data]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sota_bench.data.known_effects import COUNTS
from sota_bench.data.manifest import Manifest
from sota_bench.data.rendered import KnownEffects
from sota_bench.data.subset import Subset, choose
from sota_bench.errors import UserError
from sota_bench.grid import load
from sota_bench.plan.images import GridImages, grid_images
from sota_bench.stages.context import ImageChoice


@pytest.fixture(scope="module")
def opened() -> tuple[Any, Any]:
    """The embedded source and its manifest."""
    source = KnownEffects()
    return source, source.scan()


def images_of(tmp_path: Path, opened: tuple[Any, Any], data: str, factors: str = "lr = [0.003, 0.001]") -> Any:
    """(the grid's images, its recipes)."""
    file = tmp_path / "grid.toml"
    file.write_text(f'[data]\n{data}\n[recipe]\nresize = "32x1"\n[factors]\n{factors}\n')
    grid = load(file)
    return grid_images(grid, *opened), [cell.recipe for cell in grid.cells()]


def sizes(images: GridImages, recipe: Any) -> dict[str, int]:
    return images.subset(images.choice(recipe, "main")).sizes()


def chosen(images: GridImages, recipe: Any) -> Subset:
    """The subset with its rows."""
    assert isinstance(images.manifest, Manifest)
    return choose(images.manifest, **images.choice(recipe, "main").arguments())


def test_nothing_named_is_everything(tmp_path: Path, opened: Any) -> None:
    images, recipes = images_of(tmp_path, opened, "")
    assert images.choice(recipes[0], "main") == ImageChoice(fraction=1.0)
    assert sizes(images, recipes[0]) == COUNTS


@pytest.mark.parametrize(
    ("data", "train", "select"),
    [
        ("fraction = 0.1\nper_class = 15", 150, 1000),
        ("per_class = 7\neval_images = 50", 70, 50),
        ("classes = 4\nper_class = 5", 20, 400),
        ('classes = ["ring-rows", "disc-rows"]\nper_class = 5', 10, 200),
    ],
)
def test_each_word_limits_what_it_says(tmp_path: Path, opened: Any, data: str, train: int, select: int) -> None:
    images, recipes = images_of(tmp_path, opened, data)
    found = sizes(images, recipes[0])
    assert (found["train"], found["select"]) == (train, select)


def test_levels_of_fraction_are_nested_and_judged_by_the_same_images(tmp_path: Path, opened: Any) -> None:
    images, recipes = images_of(tmp_path, opened, "", "fraction = [1.0, 0.3, 0.1]")
    large, middle, small = (chosen(images, recipe) for recipe in recipes)
    assert set(small.contents("train")) < set(middle.contents("train")) < set(large.contents("train"))
    assert small.split_digest("select") == large.split_digest("select")


def test_a_curated_manifest_limits_training_alone(tmp_path: Path, opened: Any) -> None:
    manifest = opened[1]
    train = manifest.items[manifest.items["split"] == "train"].groupby("label").head(6)
    type(manifest)("curated", train.reset_index(drop=True), manifest.left_out).save(tmp_path / "curated.csv")
    images, recipes = images_of(tmp_path, opened, 'keep = "curated.csv"')  # relative to the grid
    subset = chosen(images, recipes[0])
    assert sorted(subset.contents("train")) == sorted(train["sha256"])
    assert subset.sizes()["select"] == COUNTS["select"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("classes = 1", "1 classes leave nothing"),
        ("fraction = 0", "out of range"),
        ("per_class = -1", "out of range"),
        ('keep = "absent.csv"', "cannot be read"),
        ("classes = 11", "not between 2 and 10"),
        ('classes = ["ring-rows", "disc-row"]', "disc-rows"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, opened: Any, data: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        sizes(*(lambda images, recipes: (images, recipes[0]))(*images_of(tmp_path, opened, data)))
