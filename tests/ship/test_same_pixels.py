"""On photographs: predict repeats the report to the last image, and timm's own transform is as accurate."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from sota_bench.cli import main
from sota_bench.data.find import open_source
from sota_bench.data.subset import choose
from sota_bench.ship.bundle import read_bundle
from sota_bench.ship.files import ImageFile
from sota_bench.ship.predict import Predictor

GRID = """[grid]
name = "photographs"
seeds = [0]
[data]
source = "imagenette"
per_class = 100
[recipe]
backbone = "mobilenetv2_035"
weights = "{weights}"
resize = "96x3"
batch_size = 32
lr = 0.002
[factors]
tta = ["off"]
"""

WITHIN = 0.5
"""Percentage points between predict and timm's transform."""


@pytest.mark.real_data
@pytest.mark.slow
def test_predict_gives_the_reports_accuracy_and_timms_transform_nearly(tmp_path: Path) -> None:
    weights = Path(os.environ["SOTA_BENCH_DATA"]) / "weights" / "mobilenetv2_035"
    if not weights.is_dir():
        pytest.skip(f"no {weights}")
    grid, store, bundle = tmp_path / "grid.toml", tmp_path / "store", tmp_path / "bundle"
    grid.write_text(GRID.format(weights=weights))
    assert main(["run", str(grid), "--store", str(store), "--out", str(tmp_path / "out"), "--no-calibrate"]) == 0
    assert main(["export", str(grid), "--store", str(store), "--out", str(bundle)]) == 0

    source = open_source("imagenette", download=False)
    subset = choose(source.scan(), per_class=100)
    paths = subset.manifest.items["path"].to_numpy()[subset.rows["select"]]
    read, labels = source.reader(), subset.targets("select")  # type: ignore[attr-defined]
    files = [ImageFile(path, read(path)) for path in paths]
    predicted = np.array([answer.probabilities.argmax() for answer in Predictor(read_bundle(bundle), "cpu")(files)])
    reported = json.loads((bundle / "metrics.json").read_text())["select"]
    assert (predicted == labels).sum() == round(reported["accuracy"] * len(labels) / 100)

    model = timm.create_model(f"local-dir:{bundle}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    chosen: list[int] = []
    with torch.inference_mode():
        for first in range(0, len(files), 64):
            contents = [io.BytesIO(file.content or b"") for file in files[first : first + 64]]
            images = torch.stack([transform(Image.open(content).convert("RGB")) for content in contents])
            chosen += model(images).argmax(1).tolist()
    accuracy = 100 * float((np.array(chosen) == labels).mean())
    assert abs(accuracy - reported["accuracy"]) <= WITHIN
    assert (np.array(chosen) == predicted).mean() > 0.95
