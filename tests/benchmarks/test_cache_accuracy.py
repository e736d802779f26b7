"""The comparison of accuracies with the cache and without: its reference pipeline, its pairs and its interval."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch


@pytest.fixture
def bench(imported: Callable[[str], ModuleType]) -> ModuleType:
    return imported("cache_accuracy")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three files of another shape and mode each."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (50, 90, 3)), ("b.png", (70, 40, 3)), ("c.png", (60, 60))):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


def split_of(bench: ModuleType, folder: Path, split: str) -> object:
    """One split of those files, as a training or an evaluation opens it."""
    import pandas as pd

    subset = SimpleNamespace(
        manifest=SimpleNamespace(items=pd.DataFrame({"path": ["a.png", "b.png", "c.png"]})), rows={split: [2, 0, 1]}
    )
    cache = SimpleNamespace(heights=[50, 70, 60], widths=[90, 40, 60], uniform=None, in_memory=True)
    prepared = SimpleNamespace(cache=cache, subset=subset, rows={split: [2, 0, 1]}, labels={split: [0, 1, 1]})
    return bench.from_files(folder, 7)(prepared, split, torch.device("cpu"), 3)


def test_without_the_cache_training_crops_are_torchvisions(bench: ModuleType, photographs: Path) -> None:
    from PIL import Image
    from torchvision.transforms import v2

    from sota_bench.randomness import derive

    images = split_of(bench, photographs, "train")
    for number in (1, 2):  # a later batch has draws of its own
        actual = images.batch(np.array([1, 0, 2]), np.zeros((3, 4)), np.zeros(3, bool), 24)
        torch.manual_seed(derive(7, "reference", number))
        crop = v2.Compose([v2.RandomResizedCrop(24, scale=(0.35, 1.0)), v2.PILToTensor()])
        expected = torch.stack([crop(Image.open(photographs / f"{name}.png").convert("RGB")) for name in "acb"])
        mirrored = torch.rand(3) < 0.5
        expected[mirrored] = expected[mirrored].flip(-1)
        assert torch.equal(actual, expected.float())


def test_drawing_leaves_the_global_generator_alone(bench: ModuleType, photographs: Path) -> None:
    images = split_of(bench, photographs, "train")
    torch.manual_seed(3)
    images.batch(np.array([0]), np.zeros((1, 4)), np.zeros(1, bool), 24)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))


def test_without_the_cache_judging_is_torchvisions_resize_and_central_crop(
    bench: ModuleType, photographs: Path
) -> None:
    from PIL import Image
    from torchvision.transforms import v2

    actual = split_of(bench, photographs, "select").batch(np.array([0, 1]), np.zeros((2, 4)), np.ones(2, bool), 32)
    view = v2.Compose([v2.Resize(32), v2.CenterCrop(32), v2.PILToTensor()])
    expected = torch.stack([view(Image.open(photographs / f"{name}.png").convert("RGB")) for name in "ca"])
    assert torch.equal(actual, expected.float())


def test_the_interval_is_that_of_a_paired_t_test(bench: ModuleType) -> None:
    from scipy.stats import ttest_rel

    cache, files = [50.0, 52.5, 49.0, 51.0], [51.0, 51.0, 48.5, 53.0]
    runs = [{"seed": seed, "arm": "cache", "accuracy": value} for seed, value in enumerate(cache)]
    runs += [{"seed": seed, "arm": "files", "accuracy": value} for seed, value in reversed(list(enumerate(files)))]
    actual = bench.paired([*runs, {"seed": 9, "arm": "cache", "accuracy": 0.0}])  # its other arm has not run yet
    expected = ttest_rel(cache, files).confidence_interval(0.95)
    assert actual["difference"] == pytest.approx(-0.25)
    assert (actual["low"], actual["high"]) == pytest.approx((expected.low, expected.high))
    assert actual["seeds"] == [0, 1, 2, 3]
    assert bench.paired(runs[:1])["difference"] is None


def test_both_arms_of_each_seed_are_trained_in_turns(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, opened, make = importlib.import_module("pictures"), list[tuple[int, str]](), bench.from_files

    def noted(folder: Path, seed: int) -> Callable[..., Any]:
        def images(prepared: Any, split: str, *more: Any) -> Any:
            opened.append((seed, split))
            return make(folder, seed)(prepared, split, *more)

        return images

    monkeypatch.setattr(bench, "from_files", noted)
    options = bench.arguments(
        ["--data", "x", "--out", str(tmp_path / "out"), "--device", "cpu", "--size", "32", "--epochs", "1",
         "--batch", "48", "--seeds", "2"]
    )  # fmt: skip
    actual = bench.measure(options, pictures.folder_of_images(tmp_path), tmp_path)
    assert [(run["seed"], run["arm"]) for run in actual["runs"]] == [
        (0, "cache"), (0, "files"), (1, "files"), (1, "cache")
    ]  # fmt: skip
    assert opened == [(0, "train"), (0, "select"), (1, "train"), (1, "select")]  # one arm alone reads files
    assert all(run["seconds"] > 0 for run in actual["runs"])
    assert actual["task"]["train"] == 128 and 0 < actual["task"]["judged"] < 128  # about half of those of validation
    written = json.loads((tmp_path / "out" / "cache_accuracy.json").read_text())
    assert written["paired"] == actual["paired"]
    assert "2 seeds, paired" in (tmp_path / "out" / "cache_accuracy.md").read_text()
