"""Pretrained weights bring the size and the statistics of their images along, where a grid names none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sota_bench.grid import load
from sota_bench.grid.grid import Grid
from sota_bench.grid.pretrained import MadeFor, made_for, sentences

CONFIG = {"input_size": [3, 96, 96], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
MADE = MadeFor(96, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "weights"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"architecture": "test_resnet", "pretrained_cfg": CONFIG}))
    return place


@pytest.fixture
def grid_of(tmp_path: Path) -> Callable[..., Grid]:
    def make(recipe: str, factors: str = "lr = [0.003, 0.001]") -> Grid:
        file = tmp_path / "grid.toml"
        file.write_text(f'[recipe]\nbackbone = "test_resnet"\n{recipe}\n[factors]\n{factors}\n')
        return load(file)

    return make


def test_a_folder_says_what_it_was_made_for(folder: Path, tmp_path: Path) -> None:
    assert made_for("weights", "test_resnet", tmp_path / "grid.toml") == MADE
    # timm's older folders have these keys at the top.
    (folder / "config.json").write_text(json.dumps({"architecture": "test_resnet", **CONFIG, "mean": [0.5] * 3}))
    requirements = made_for(str(folder), "test_resnet", tmp_path / "grid.toml")
    assert requirements is not None and requirements.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    "config", ["", "{", "[]", '{"pretrained_cfg": 3}', "{}", json.dumps({**CONFIG, "std": [0, 0, 0]}),
               json.dumps({**CONFIG, "input_size": []}), json.dumps({**CONFIG, "mean": ["red"]}),
               json.dumps({**CONFIG, "mean": [0.5]})]
)  # fmt: skip
def test_a_configuration_that_says_nothing_is_passed_over(folder: Path, tmp_path: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    assert made_for(str(folder), "test_resnet", tmp_path / "grid.toml") is None


def test_of_the_hub_and_of_files_timm_says_it(tmp_path: Path) -> None:
    import timm

    expected = timm.create_model("vit_tiny_patch16_224").pretrained_cfg
    for weights in ("timm", "some.safetensors"):
        requirements = made_for(weights, "vit_tiny_patch16_224", tmp_path / "grid.toml")
        assert requirements is not None
        assert (requirements.size, requirements.mean) == (expected["input_size"][-1], tuple(expected["mean"]))
    tagged = made_for("timm", "resnet18.fb_swsl_ig1b_ft_in1k", tmp_path / "grid.toml")
    assert tagged is not None and tagged.size == 224
    assert made_for("timm", "resnet18.no_such_tag", tmp_path / "grid.toml") is None
    assert made_for("", "resnet18", tmp_path / "grid.toml") is None


def test_what_a_grid_does_not_name_follows_the_weights(grid_of: Callable[..., Grid], folder: Path) -> None:
    recipe: Any = grid_of('weights = "weights"').recipe
    assert (recipe.resize, recipe.normalize) == ("96x5", "pretrained")
    assert grid_of('weights = "weights"').resolved()["recipe"]["resize"] == "96x5"  # explicit from there on
    scratch: Any = grid_of("").recipe
    assert (scratch.resize, scratch.normalize) == ("64x5", "dataset")


@pytest.mark.parametrize(
    ("recipe", "factors", "resize", "normalize"),
    [
        ('weights = "weights"\nresize = "32x2"', "lr = [0.1, 0.2]", "32x2", "pretrained"),
        ('weights = "weights"\nnormalize = "unit"', "lr = [0.1, 0.2]", "96x5", "unit"),
        ('weights = "weights"', 'normalize = ["dataset", "pretrained"]', "96x5", "dataset"),
        ('weights = "weights"', 'resize = ["64x2", "32x1 64x1"]', "64x2", "pretrained"),
        ("", 'weights = ["weights", ""]', "64x5", "dataset"),  # levels of a factor differ in that factor alone
    ],
)
def test_what_a_grid_names_stays(
    grid_of: Callable[..., Grid], folder: Path, recipe: str, factors: str, resize: str, normalize: str
) -> None:
    requirements: Any = grid_of(recipe, factors).recipe
    assert (requirements.resize, requirements.normalize) == (resize, normalize)


def test_they_are_said_once_for_each_choice(grid_of: Callable[..., Grid], folder: Path) -> None:
    grid = grid_of("", 'weights = ["", "weights"]\nlr = [0.1, 0.2]')
    (line,) = sentences((cell.recipe for cell in grid.cells()), grid.file)
    assert line == (
        "The weights in weights for test_resnet were made for images of 96 px with mean 0.1, 0.2, 0.3 and "
        "deviation 0.4, 0.5, 0.6 (pixels of 0 to 1)."
    )
