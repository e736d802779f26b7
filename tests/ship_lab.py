"""Grids that have run and whose trials were exported, for tests of what is shipped."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lab import write_images
from safetensors.torch import load_file

from sota_bench.cli import main
from sota_bench.commands.stored import stored_run
from sota_bench.grid import load
from sota_bench.plan.machine import Machine
from sota_bench.ship.bundle import Bundle, read_bundle

GRID = """[grid]
name = "small"
seeds = [0]
[data]
source = "folder:{images}"
cache = "{cache}"
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


def run_and_export(
    folder: Path, recipe: str = "", trial: str = "best", backbone: str = "test_resnet", cache: str = "auto"
) -> Exported:
    images = write_images(folder / "images")
    grid = folder / "grid.toml"
    grid.write_text(GRID.format(images=images, recipe=recipe, backbone=backbone, cache=cache))
    store, out = folder / "store", folder / "bundle"
    assert main(["run", str(grid), "--store", str(store), "--out", str(folder / "out"), "--no-calibrate"]) == 0
    assert main(["export", str(grid), "--store", str(store), "--out", str(out), "--trial", trial]) == 0
    return Exported(grid, store, images, read_bundle(out))


def predicted(exported: Exported, *paths: Any) -> list[dict[str, Any]]:
    words = ("predict", exported.bundle.folder, *paths, "--format", "json", "--top", len(exported.bundle.classes))
    code, out, err = exported.command(*words)
    assert (code, err) == (0, "")
    answer: list[dict[str, Any]] = json.loads(out)
    return answer


def evaluation_folder(exported: Exported) -> Path:
    """The artifact of the exported trial's own evaluation."""
    collector = stored_run(load(exported.grid), exported.grid, Machine(exported.store))
    name = json.loads((exported.bundle.folder / "metrics.json").read_text())["trial"]
    trial = next(trial for trial in collector.plan.trials if trial.trial.id == name)
    return collector.store.folder(trial.final.key)


def judged_files(exported: Exported) -> list[Path]:
    """The files of the select split in the order of the stored predictions."""
    from sota_bench.data.find import open_source
    from sota_bench.data.subset import choose

    subset = choose(open_source(f"folder:{exported.images}").scan(), classes=exported.bundle.classes)
    by_content = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in exported.images.rglob("*.png")}
    return [by_content[sha] for sha in subset.contents("select")]


def stored_probabilities(exported: Exported) -> np.ndarray:
    """What the evaluation of the exported trial predicted, float32 [N, K]."""
    stored: np.ndarray = (
        load_file(evaluation_folder(exported) / "predictions.safetensors")["log_probabilities"].exp().numpy()
    )
    return stored


def probabilities(exported: Exported, rows: list[dict[str, Any]]) -> np.ndarray:
    """What ``predicted`` answered, in the order of the classes, float64 [N, K]."""
    return np.array([[row["top"][name] for name in exported.bundle.classes] for row in rows])
