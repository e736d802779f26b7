"""An exported trial: timm opens it, it predicts what the evaluation predicted, and its recipe trains it again."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from lab import CLASSES, write_images
from PIL import Image
from safetensors.torch import load_file

from sota_bench.cli import main
from sota_bench.errors import UserError
from sota_bench.ship.bundle import Bundle, read_bundle

GRID = """[grid]
name = "small"
seeds = [0]
[data]
source = "folder:{images}"
[recipe]
backbone = "{backbone}"
resize = "16x1 32x1"
batch_size = 16
lr = 0.004
{recipe}
[factors]
tta = ["off", "flip"]
"""


@dataclass
class Exported:
    """A grid that has run, and the bundle of one of its trials."""

    grid: Path
    store: Path
    images: Path
    bundle: Bundle

    def command(self, *words: Any) -> tuple[int, str, str]:
        """Runs a command in this process: its exit code, standard output and standard error."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
        return code, texts[0], texts[1]


def run_and_export(folder: Path, recipe: str = "", trial: str = "best", backbone: str = "test_resnet") -> Exported:
    images = write_images(folder / "images")
    grid = folder / "grid.toml"
    grid.write_text(GRID.format(images=images, recipe=recipe, backbone=backbone))
    store, out = folder / "store", folder / "bundle"
    assert main(["run", str(grid), "--store", str(store), "--out", str(folder / "out"), "--no-calibrate"]) == 0
    assert main(["export", str(grid), "--store", str(store), "--out", str(out), "--trial", trial]) == 0
    return Exported(grid, store, images, read_bundle(out))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run_and_export(tmp_path_factory.mktemp("ship"), trial="c00")


def predicted(exported: Exported, *paths: Any) -> list[dict[str, Any]]:
    words = ("predict", exported.bundle.folder, *paths, "--format", "json", "--top", len(CLASSES))
    code, out, err = exported.command(*words)
    assert (code, err) == (0, "")
    answer: list[dict[str, Any]] = json.loads(out)
    return answer


def evaluation_folder(exported: Exported) -> Path:
    """The artifact of the exported trial's own evaluation."""
    with (exported.grid.parent / "out" / "stages.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "evaluate"]
    row = next(row for row in rows if "tta" not in row["title"] and "at 32 px" in row["title"])
    return exported.store / "artifacts" / row["key"][:2] / row["key"]


def judged_files(exported: Exported) -> list[Path]:
    """The files of the select split in the order of the stored predictions."""
    from sota_bench.data.find import open_source
    from sota_bench.data.subset import choose

    subset = choose(open_source(f"folder:{exported.images}").scan())
    by_content = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in exported.images.rglob("*.png")}
    return [by_content[sha] for sha in subset.contents("select")]


def test_it_predicts_what_the_evaluation_predicted_to_the_last_digit(exported: Exported) -> None:
    stored = load_file(evaluation_folder(exported) / "predictions.safetensors")["log_probabilities"].exp().numpy()
    rows = predicted(exported, *judged_files(exported))
    shown = np.array([[row["top"][name] for name in exported.bundle.classes] for row in rows])
    np.testing.assert_allclose(shown, stored, atol=1e-6)


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


def test_folders_archives_lists_and_unreadable_files(exported: Exported, tmp_path: Path) -> None:
    files = judged_files(exported)[:3]
    folder = tmp_path / "some"
    folder.mkdir()
    for number, file in enumerate(files):
        (folder / f"{number}.png").write_bytes(file.read_bytes())
    (folder / ".DS_Store").write_bytes(b"hidden")
    archive = tmp_path / "some.tar"
    with tarfile.open(archive, "w") as opened:
        opened.add(folder, "some")
    expected = [row["class"] for row in predicted(exported, *files)]
    assert [row["class"] for row in predicted(exported, folder)] == expected
    assert [row["class"] for row in predicted(exported, archive)] == expected
    (folder / "3.png").write_bytes(b"no image")
    words = ("predict", exported.bundle.folder, folder, tmp_path / "absent.png", "--format", "jsonl")
    code, out, _ = exported.command(*words)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [row.get("class") for row in rows] == [*expected, None, None]
    assert all(row["error"] for row in rows[3:])


def test_views_change_probabilities(exported: Exported) -> None:
    file = judged_files(exported)[0]
    plain = predicted(exported, file)[0]["top"]
    words = ("predict", exported.bundle.folder, file, "--tta", "flip", "--format", "json", "--top", len(CLASSES))
    flipped = json.loads(exported.command(*words)[1])[0]["top"]
    assert flipped != plain
    assert sum(flipped.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("backbone", "recipe"), [("test_resnet", "in_chans = 1"), ("test_vit", "")])
def test_other_networks(backbone: str, recipe: str, tmp_path: Path) -> None:
    exported = run_and_export(tmp_path, recipe, trial="c00", backbone=backbone)
    stored = load_file(evaluation_folder(exported) / "predictions.safetensors")["log_probabilities"].exp().numpy()
    rows = predicted(exported, *judged_files(exported))
    shown = np.array([[row["top"][name] for name in exported.bundle.classes] for row in rows])
    np.testing.assert_allclose(shown, stored, atol=1e-6)


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


def test_onnx_gives_the_logits_of_torch(exported: Exported) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from sota_bench.ship.onnx import LARGEST_DIFFERENCE, export_onnx, session

    assert export_onnx(exported.bundle) <= LARGEST_DIFFERENCE
    pixels = np.full((3, 3, 32, 32), 100, np.float32)
    (logits,) = session(exported.bundle.folder / "model.onnx").run(None, {"images": pixels})
    model = timm.create_model(f"local-dir:{exported.bundle.folder}", pretrained=True).eval()
    images = exported.bundle.preprocessing
    mean, std = (torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in (images.mean, images.std))
    with torch.inference_mode():
        expected = model((torch.from_numpy(pixels) - mean) / std)
    torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-3, rtol=0)
