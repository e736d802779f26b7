"""``promote``: the production's grid loads, holds the scaled recipe, and says its cost and what nobody measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import CLASSES, write_images
from ship_lab import Exported, run_and_export

from sota_bench.data.counts import PUBLISHED, count_images
from sota_bench.data.find import open_source
from sota_bench.grid import load
from sota_bench.grid.grid import Grid

RECIPE = 'optimizer = "adamw"\nper_class = 6\nema = 0.9'


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run_and_export(tmp_path_factory.mktemp("promote"), RECIPE, trial="c00")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten times as many training images as the ablation used: 60 of each class instead of 6."""
    return write_images(tmp_path_factory.mktemp("full") / "images", train=60)


def promoted(exported: Exported, out: Path, source: str, *words: str) -> tuple[Grid, str, str]:
    """The grid that was written, standard output and standard error."""
    command = ("promote", exported.grid, "--store", exported.store, "--to", source, "--out", out, *words)
    code, said, err = exported.command(*command)
    assert code == 0, err
    return load(out), said, err


def test_the_recipe_on_ten_times_the_images(exported: Exported, full: Path, tmp_path: Path) -> None:
    grid, said, err = promoted(
        exported, tmp_path / "production.toml", f"folder:{full}", "--cell", "c01", "--epochs", "6"
    )
    (cell,) = grid.cells()
    assert (cell.text, cell.recipe.resize) == ({"tta": "flip"}, "16x3 32x3")
    assert cell.recipe.batch_size == 128  # 8 times 16: 16 times would leave fewer steps in an epoch
    assert cell.recipe.lr == pytest.approx(0.004 * 8**0.5, rel=1e-3)
    assert cell.recipe.per_class == 0
    assert grid.source == f"folder:{full}"
    assert "Expected for each seed on" in said
    assert "run" in said and "--device cuda:$i" in said and "sbatch" in said
    assert "not estimable" in err  # one seed decides nothing
    assert "ema 0.9 averages weights over optimizer steps" in err
    assert "c01 was not confirmed on the test split" in err
    assert f"24 training images of {len(CLASSES)} classes, not from 240 of {len(CLASSES)}" in err
    text = (tmp_path / "production.toml").read_text()
    assert "# Expected for each seed on" in text
    assert "lr = 0.01131  # was 0.004: with the square root of the batch" in text


def test_it_trains(exported: Exported, full: Path, tmp_path: Path) -> None:
    out = tmp_path / "production.toml"
    promoted(exported, out, f"folder:{full}", "--no-calibrate", "--with-baseline", "--cell", "c01")
    words = ("run", out, "--store", tmp_path / "store", "--out", tmp_path / "out", "--no-calibrate")
    assert exported.command(*words)[0] == 0
    assert [cell.text for cell in load(out).cells()] == [{"tta": "off"}, {"tta": "flip"}]


def test_imagenet_by_its_published_numbers(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOTA_BENCH_DATA", raising=False)
    monkeypatch.setattr("sota_bench.data.find.user_cache", lambda: tmp_path / "cache")
    words = ("--no-calibrate", "--change", "backbone=resnet50", "--change", "resize=128x18")
    grid, said, err = promoted(exported, tmp_path / "production.toml", "imagenet", *words)
    assert (grid.source, grid.recipe.backbone, grid.recipe.batch_size) == ("imagenet", "resnet50", 1024)
    assert "its published size is used" in err
    assert "128 px: the grid trained at 16, 32 px" in err
    assert "backbone resnet50: the grid tried test_resnet" in err
    assert "hours are unknown" in said


def test_a_data_set_that_is_elsewhere(exported: Exported, tmp_path: Path) -> None:
    grid, _, err = promoted(exported, tmp_path / "production.toml", "folder:/absent/images", "--batch-size", "32")
    assert grid.source == "folder:/absent/images"
    assert (grid.recipe.batch_size, grid.recipe.lr) == (32, pytest.approx(0.004 * 2**0.5, rel=1e-3))
    assert "cannot be read here" in err


def test_counting_images_reads_none(full: Path) -> None:
    counts = count_images(open_source(f"folder:{full}"))
    manifest = open_source(f"folder:{full}").scan()
    sizes = manifest.sizes()
    assert (counts.train, counts.classes) == (sizes["train"], len(manifest.classes))
    assert abs(counts.select - sizes["select"]) <= 1  # the halves of an odd class


@pytest.mark.real_data
def test_counts_of_imagenette() -> None:
    counts = count_images(open_source("imagenette", download=False))
    published = PUBLISHED["imagenette"]
    assert (counts.train, counts.classes) == (published.train, published.classes)
    assert abs(counts.select - published.select) <= 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--to", "imagenot"), "is not a data source"),
        (("--to", "imagenet", "--cell", "c99"), "there is no cell"),
        (("--to", "imagenet", "--change", "lr"), "is not FIELD=VALUE"),
        (("--to", "imagenet", "--change", "learning_rate=1"), "there is no such recipe field"),
        (("--to", "imagenet", "--change", "lr=-1"), "--change: lr:"),
    ],
)
def test_mistakes_are_one_line(exported: Exported, words: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    command = ("promote", exported.grid, "--store", exported.store, "--out", tmp_path / "p.toml", *words)
    code, _, err = exported.command(*command, "--no-calibrate")
    assert (code, len(err.splitlines())) == (2, 1)
    assert problem in err
    assert not (tmp_path / "p.toml").exists()
