"""A run whose levels are judged on different images and classes ends in a page that compares none of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from lab import CLASSES, write_images

from sota_bench.cli import main

GRID = """[grid]
seeds = [0, 1]
[data]
source = "folder:{images}"
[recipe]
backbone = "test_resnet"
resize = "32x1"
batch_size = 16
[factors]
base = ["none", "fixed"]
mixup = [0.0, 0.2]
"""


def test_a_base_on_half_of_the_classes_is_reported_beside_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID.format(images=write_images(tmp_path / "images")))
    out = tmp_path / "out"
    assert main(["run", str(grid), "--store", str(tmp_path / "store"), "--out", str(out), "--no-calibrate"]) == 0
    trials = pd.read_csv(out / "trials.csv")
    assert trials.groupby("base")["judged_on"].nunique().tolist() == [1, 1] and trials["judged_on"].nunique() == 2
    contrasts = pd.read_csv(out / "contrasts.csv")
    main_effects = contrasts[contrasts["kind"] == "main"].groupby("factor")["verdict"].unique()
    assert main_effects["base"].tolist() == ["not estimable"] and "not estimable" not in main_effects["mixup"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "2 cells judged on other images" in page and all(name in page for name in CLASSES)
    assert "What techniques did in each training" in page and "normalization: mean" in page
    notes = pd.read_csv(out / "stages.csv").query("kind == 'train'")["notes"].map(json.loads)
    assert all(set(said) >= {"normalization", "input", "steps_at_size"} for said in notes)
    assert json.loads((out / "analysis.json").read_text())["contrasts"]
    capsys.readouterr()
    confirm = ["confirm", str(grid), "--store", str(tmp_path / "store"), "--out", str(out), "--workers", "1", "--json"]
    assert main(confirm) == 0
    chosen = json.loads(capsys.readouterr().out.splitlines()[-1])  # the baseline itself, where nothing is better
    base_of = trials.set_index("cell")["base"]
    assert base_of[chosen["winner"]].unique().tolist() == ["none"]
