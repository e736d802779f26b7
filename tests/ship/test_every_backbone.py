"""Every backbone of the short list exports after its size changed: timm, ONNX and predict agree with the store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from lab import write_images
from safetensors.torch import load_file
from ship_lab import Exported, judged_files, predicted, probabilities

from sota_bench.cli import main
from sota_bench.commands.stored import stored_run
from sota_bench.grid import load
from sota_bench.grid.backbones import small_backbones
from sota_bench.plan.machine import Machine
from sota_bench.ship.choose import trial_facts
from sota_bench.ship.export import export
from sota_bench.ship.onnx import LARGEST_DIFFERENCE, export_onnx

GRID = """[grid]
name = "backbones"
seeds = [0]
[data]
source = "folder:{images}"
[recipe]
resize = "32x1 48x1"
upsample = true
batch_size = 16
[factors]
backbone = {names}
"""


@pytest.mark.slow
def test_every_backbone_of_the_short_list(tmp_path: Path) -> None:
    names = [backbone.name for backbone in small_backbones()]
    images, grid, store = write_images(tmp_path / "images", train=4, val=2), tmp_path / "grid.toml", tmp_path / "store"
    grid.write_text(GRID.format(images=images, names=json.dumps(names)))
    assert main(["run", str(grid), "--store", str(store), "--out", str(tmp_path / "out"), "--no-calibrate"]) == 0
    collector = stored_run(load(grid), grid, Machine(store))
    assert len(collector.plan.trials) == len(names)
    for trial in collector.plan.trials:
        facts, checkpoint = trial_facts(collector, trial.trial.id)
        bundle = export(facts, collector.store.folder(checkpoint), tmp_path / trial.trial.id)
        exported = Exported(grid, store, images, bundle)
        stored = load_file(collector.store.folder(trial.final.key) / "predictions.safetensors")["log_probabilities"]
        shown = probabilities(exported, predicted(exported, *judged_files(exported)))
        np.testing.assert_allclose(shown, stored.exp().numpy(), atol=2e-6, err_msg=str(facts.levels))
        model = timm.create_model(f"local-dir:{bundle.folder}", pretrained=True)
        assert sum(weight.numel() for weight in model.parameters()) == facts.params
        assert export_onnx(bundle) < LARGEST_DIFFERENCE, facts.levels
        assert torch.isfinite(stored).all()
