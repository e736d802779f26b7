"""Pretrained weights are checked while planning: absent, truncated or foreign ones are one line, and nothing starts."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sota_bench.errors import UserError
from sota_bench.grid.pretrained import located
from sota_bench.plan.weights import weights_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A weights folder in timm's format."""
    weights_folder = tmp_path / "weights"
    weights_folder.mkdir()
    (weights_folder / "config.json").write_text(json.dumps({"architecture": "test_resnet"}))
    tensors = {"conv1.weight": np.ones((4, 3), np.float32), "fc.bias": np.zeros(5, np.float32)}
    save_file(tensors, weights_folder / "model.safetensors")
    return weights_folder


def digest(weights: str | Path, weights_folder: Path, backbone: str = "test_resnet") -> str:
    return weights_digest(str(weights), backbone, weights_folder / "grid.toml")


def test_identity_is_the_content_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    first = digest(folder, tmp_path)
    moved = folder.rename(tmp_path / "elsewhere")
    assert digest("elsewhere", tmp_path) == first  # relative to the grid
    (moved / "config.json").write_text(json.dumps({"architecture": "test_resnet", "num_classes": 5}))
    assert digest(moved, tmp_path) != first
    assert digest("timm", tmp_path, "resnet18.a1_in1k") == "timm:resnet18.a1_in1k"


@pytest.mark.parametrize("kept", [0, 7, 40, 0.5, -1])
def test_truncated_safetensors_are_seen_without_torch(folder: Path, tmp_path: Path, kept: float) -> None:
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    for weights in (folder, file):
        with pytest.raises(UserError, match=r"recipe.weights: .* is damaged: .*; give a .safetensors"):
            digest(weights, tmp_path)


def test_a_truncated_torch_file_is_seen(tmp_path: Path) -> None:
    import torch

    file = tmp_path / "model.pth"
    torch.save({"weight": torch.ones(100)}, file)
    assert digest(file, tmp_path)
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(UserError, match="is damaged"):
        digest(file, tmp_path)
    file.write_bytes(pickle.dumps({"weight": [1.0]}))  # the format before zip files; torch reads it without running it
    assert digest(file, tmp_path)


def test_other_mistakes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'nowhere' there is no such file or folder"):
        digest("nowhere", tmp_path)
    with pytest.raises(UserError, match=r'recipe.backbone: resnet18 .*; write backbone = "test_resnet"'):
        digest(folder, tmp_path, "resnet18")
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"no config.json that names"):
        digest(folder, tmp_path)
    (tmp_path / "notes.txt").write_text("no weights")
    with pytest.raises(UserError, match="holds no weights"):
        digest(tmp_path / "notes.txt", tmp_path)


def test_paths_start_at_the_grid_then_at_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grids, here = tmp_path / "grids", tmp_path / "here"
    grids.mkdir(), here.mkdir()
    monkeypatch.chdir(here)
    (here / "w.pth").touch()
    assert located("w.pth", grids / "g.toml") == here / "w.pth"
    (grids / "w.pth").touch()
    assert located("w.pth", grids / "g.toml") == grids / "w.pth"
