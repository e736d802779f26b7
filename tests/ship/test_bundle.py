"""An exported trial: timm opens it, it predicts what the evaluation predicted, and its recipe trains it again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from lab import CLASSES
from PIL import Image
from ship_lab import Exported, judged_files, predicted, probabilities, run_and_export, stored_probabilities

from sota_bench.errors import UserError
from sota_bench.ship.bundle import read_bundle


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run_and_export(tmp_path_factory.mktemp("ship"), trial="c00")


def test_it_predicts_what_the_evaluation_predicted_to_the_last_digit(exported: Exported) -> None:
    rows = predicted(exported, *judged_files(exported))
    np.testing.assert_allclose(probabilities(exported, rows), stored_probabilities(exported), atol=1e-6)


def test_timm_opens_it_and_its_transform_has_the_statistics(exported: Exported) -> None:
    model = timm.create_model(f"local-dir:{exported.bundle.folder}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    images = exported.bundle.preprocessing
    assert config["input_size"] == (3, 32, 32)
    np.testing.assert_allclose(np.multiply(config["mean"], 255), images.mean)
    np.testing.assert_allclose(np.multiply(config["std"], 255), images.std)
    assert model.pretrained_cfg.get("license") is None
    assert tuple(model.pretrained_cfg["label_names"] or ()) in ((), exported.bundle.classes)
    transform = timm.data.create_transform(**config)
    files = judged_files(exported)
    with torch.inference_mode():
        logits = model(torch.stack([transform(Image.open(file).convert("RGB")) for file in files]))
    ours = [row["class"] for row in predicted(exported, *files)]
    same = np.mean([exported.bundle.classes[index] == name for index, name in zip(logits.argmax(1), ours, strict=True)])
    assert same > 0.9  # other pixels: timm resizes once, from the file


def test_its_recipe_is_the_same_training(exported: Exported, tmp_path: Path) -> None:
    recipe = exported.bundle.folder / "recipe.toml"
    words = ("run", recipe, "--store", exported.store, "--out", tmp_path / "again", "--no-calibrate")
    assert exported.command(*words)[0] == 0
    with (tmp_path / "again" / "stages.csv").open() as file:
        assert {row["reused"] for row in csv.DictReader(file)} == {"True"}


def test_measured_numbers_are_those_of_the_report(exported: Exported) -> None:
    metrics = json.loads((exported.bundle.folder / "metrics.json").read_text())
    with (exported.grid.parent / "out" / "trials.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["trial"] == metrics["trial"])
    assert metrics["select"]["accuracy"] == pytest.approx(float(row["accuracy"]))
    card = (exported.bundle.folder / "README.md").read_text()
    assert f"{float(row['accuracy']):.2f}%" in card


def test_transformers_open_it(exported: Exported) -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.TimmWrapperForImageClassification.from_pretrained(str(exported.bundle.folder)).eval()
    assert [model.config.id2label[index] for index in range(len(CLASSES))] == list(exported.bundle.classes)
    own = timm.create_model(f"local-dir:{exported.bundle.folder}", pretrained=True).eval()
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model(pixels).logits, own(pixels))


@pytest.mark.parametrize(
    ("backbone", "recipe"),
    [
        ("test_resnet", "in_chans = 1"),
        ("test_vit", ""),
        ("test_resnet", "ema = 0.9"),
        ("test_resnet", 'base = "fixed"\nbase_resize = "16x1"'),
        ("test_resnet", 'normalize = "none"'),
    ],
    ids=["luminance", "position embeddings", "averaged weights", "base model", "no normalization"],
)
def test_other_networks(backbone: str, recipe: str, tmp_path: Path) -> None:
    exported = run_and_export(tmp_path, recipe, trial="c00", backbone=backbone)
    rows = predicted(exported, *judged_files(exported))
    np.testing.assert_allclose(probabilities(exported, rows), stored_probabilities(exported), atol=1e-6)


def test_images_that_were_stored_as_jpegs(tmp_path: Path) -> None:
    exported = run_and_export(tmp_path, trial="c00", cache="jpeg")
    assert exported.bundle.preprocessing.encoded == "jpeg"
    rows = predicted(exported, *judged_files(exported))
    np.testing.assert_allclose(probabilities(exported, rows), stored_probabilities(exported), atol=1e-6)


def test_mistakes_are_one_line(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_bundle(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="not an exported model"):
        read_bundle(tmp_path / "empty")
    words = ("export", exported.grid, "--store", exported.store, "--out", tmp_path, "--trial", "c99")
    code, _, err = exported.command(*words)
    assert code == 2
    assert len(err.splitlines()) == 1
