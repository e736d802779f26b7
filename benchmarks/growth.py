"""Growth: time and memory of planning and of the report against cells, images, classes and trials.

``python benchmarks/growth.py`` (about 4 minutes on 2 cores) plans grids of 1 to 10,000 cells, and a grid of 12 cells on
1,000 to 1,000,000 simulated images and 10 to 1,000 classes, runs stages that only write their results, and renders the
report of 2,000 trials from a store. Every row is a fresh process, so that its peak memory is its own. Prints one table;
``--json FILE`` also writes the rows with the machine they were measured on. Exit code 1 when a row misses its target.

Targets: 10,000 cells planned within 5 s and 500 MB; the command's memory on a million images within 50 MB of that on a
thousand; the report of 2,000 trials within 20 s, and its page within 1 MB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sota_bench.data.manifest import LEFT_OUT_COLUMNS, Manifest
from sota_bench.data.source import Progress, Scale, Source

LEVELS: dict[str, list[Any]] = {
    "normalize": ["dataset", "none", "unit", "symmetric"],
    "mixup": [0.0, 0.1, 0.2, 0.4, 0.8],
    "resize": ["64x3", "32x2 64x1", "32x1 64x2", "32x3", "48x3"],
    "tta": ["off", "flip"],
    "mitigation": ["none", "freeze", "discriminative", "ewc", "low-lr"],
    "lr": [0.003, 0.001],
    "batch_size": [32, 64, 96, 128, 160],
}
CELLS = {1: {}, 100: {"normalize": 4, "mixup": 5, "resize": 5}, 1000: {"normalize": 4, "mixup": 5, "resize": 5,
         "tta": 2, "mitigation": 5}, 10_000: dict.fromkeys(LEVELS)}  # fmt: skip
"""Cells -> how many levels of each factor make them; None for all."""

IMAGES, CLASSES, TRIALS = (1_000, 100_000, 1_000_000), (10, 100, 1000), 2000
MOST = {"plan s": 5.0, "plan MB": 500.0, "images MB": 50.0, "report s": 20.0, "page MB": 1.0}
SIDE = 96


class Simulated(Source):
    """A data set that is only listed: simulated contents, evenly spread over its classes.

    Args:
        count: images.
        classes: classes.
    """

    name = "simulated"

    def __init__(self, count: int, classes: int) -> None:
        self.count, self.classes = count, classes

    @property
    def spec(self) -> dict[str, Any]:
        return {"kind": "simulated", "count": self.count, "classes": self.classes}

    def scan(self, progress: Progress | None = None) -> Manifest:
        """Sorted by path, as a scan leaves it: 90% to train, and of the rest half each to select and test."""
        import pandas as pd

        rows = np.arange(self.count)
        labels = [f"class{row * self.classes // self.count:04d}" for row in rows]
        splits = np.where(rows % 10 < 9, "train", np.where(rows % 20 < 10, "select", "test"))
        shas = [hashlib.sha256(int(row).to_bytes(8, "big")).hexdigest() for row in rows]
        paths = [f"{split}/{label}/{row:08d}.jpg" for split, label, row in zip(splits, labels, rows, strict=True)]
        columns = {"path": paths, "split": splits, "label": labels, "sha256": shas, "bytes": 100_000}
        items = pd.DataFrame({**columns, "scale": "", "near_copies": "", "group": ""}).sort_values(
            "path", ignore_index=True
        )
        return Manifest(self.name, items, pd.DataFrame(columns=list(LEFT_OUT_COLUMNS)))

    def decode(self, path: str, size: int, sha256: str = "", scale: Scale = None) -> np.ndarray:
        return np.zeros((min(SIDE, size), min(SIDE, size), 3), np.uint8)


def peak_mb() -> float:
    """Peak memory of this process alone, in 2**20 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def grid_file(folder: Path, factors: dict[str, Sequence[Any]], seeds: int = 1) -> Path:
    """A grid of these factors."""
    lines = ["[grid]", 'name = "growth"', f"seeds = {list(range(seeds))}", "[data]", 'source = "known-effects"']
    lines += ["[recipe]", 'resize = "64x3"', "[factors]"]
    lines += [f"{name} = {json.dumps(list(levels))}" for name, levels in factors.items()]
    file = folder / "growth.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def cells(folder: Path, count: int, _: int) -> dict[str, Any]:
    """The command ``plan``, from its imports to its last line."""
    began = time.perf_counter()
    from sota_bench.cli import main

    factors = {name: LEVELS[name][:most] for name, most in CELLS[count].items()} or {"mixup": [0.0]}
    file = grid_file(folder, factors)
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    code = main(["plan", str(file), "--store", str(folder / "store"), "--device", "cpu", "--no-calibrate"])
    sys.stdout.flush()
    os.dup2(kept, 1)
    assert code == 0
    return {"seconds": time.perf_counter() - began, "mb": peak_mb()}


def images(folder: Path, count: int, classes: int) -> dict[str, Any]:
    """The main process of a run: scan, plan, the manifest's file, and stages that only write their results."""
    from sota_bench.engine.run_stages import run_stages
    from sota_bench.grid import load
    from sota_bench.plan.environment import detect
    from sota_bench.plan.graph import build
    from sota_bench.plan.images import grid_images
    from sota_bench.plan.manifest_queries import LARGE, RemoteManifest
    from sota_bench.store import Store

    began = time.perf_counter()
    grid = load(grid_file(folder, {name: LEVELS[name][:2] for name in ("normalize", "mixup", "tta")}))
    source = Simulated(count, classes)
    manifest = RemoteManifest(source) if count >= LARGE else source.scan()
    grid_data = grid_images(grid, source, manifest)
    file = folder / f"{manifest.digest}.csv"
    plan = build(grid, detect("cpu", 1), grid_data, file, 1)
    manifest.save(file)
    planned = time.perf_counter() - began
    store = Store(folder / "store")
    with store.hold("growth"):
        done = run_stages(list(plan.stages.values()), store, workers=2, execute="growth:write_results")
    assert not done.failed and len(done.ran) == len(plan.stages)
    return {"seconds": planned, "mb": peak_mb()}


def write_results(stage: Any, run: Any) -> Any:
    """Stands in for a stage: small files and no work."""
    from sota_bench.stages.protocol import StageOutcome

    (run.workspace / "model.safetensors").write_bytes(stage.key.encode())
    return StageOutcome({"accuracy": 50.0}, {"train": 0.1, "evaluate": 0.1}, 1.0)


def report(folder: Path, count: int, _: int) -> dict[str, Any]:
    """The report of a run of ``count`` trials, from the store to the page."""
    from sota_bench.grid import load
    from sota_bench.plan.machine import Machine
    from sota_bench.plan.make import make_plan
    from sota_bench.store import Store

    factors = {name: LEVELS[name][:4] for name in ("normalize", "mixup", "tta", "batch_size", "lr")}
    per_seed = 4 * 4 * 2 * 4 * 2
    grid = load(grid_file(folder, factors, seeds=-(-count // per_seed)), out=folder / "out")
    plan, _ = make_plan(grid, Machine(folder / "store", "cpu", 2))
    store = Store(folder / "store")
    rng = np.random.default_rng(0)
    with store.hold("growth"):
        for stage in plan.stages.values():
            workspace = store.workspace(stage.key)
            values = simulated_result(stage, workspace, rng)
            seconds = {"prepare": 0.1, "train": 6.0 + rng.normal(0, 0.1), "evaluate": 0.5}
            store.commit(stage, workspace, values, seconds, 800.0, 1)
    began = time.perf_counter()
    from sota_bench.report.collect import Collector
    from sota_bench.report.output import write

    write(folder / "out", Collector(plan, store).tables())
    page = (folder / "out" / "report.html").stat().st_size
    return {
        "seconds": time.perf_counter() - began,
        "mb": peak_mb(),
        "page_mb": page / 10**6,
        "amount": len(plan.trials),
    }


def simulated_result(stage: Any, workspace: Path, rng: np.random.Generator) -> dict[str, Any]:
    """Values and files as the stages of a training leave them."""
    from safetensors.numpy import save_file

    from sota_bench import metrics

    tails = {"first": 40.0, "median": 20.0, "p90": 22.0, "p99": 25.0}
    if stage.kind == "train":
        curve = [
            {"epoch": e, "size": 64, "loss": 2.0 / (e + 1), "lr": 1e-3, "images_per_s": 400.0, "seconds": 2.0}
            for e in range(stage.epochs)
        ]
        return {
            "curve": curve,
            "images_per_s": 400.0 + rng.normal(0, 5),
            "step_ms": tails,
            "steps": 60,
            "cpu_wait": 0.0,
        }
    if stage.kind != "evaluate":
        return {"cache": {"count": 1, "bytes": 1}, "computed": {}}
    labels = np.arange(500) % 10
    scores = rng.normal(size=(500, 10)).astype(np.float32)
    scores[np.arange(500), labels] += 2.0
    scores -= np.log(np.exp(scores).sum(1, keepdims=True))
    save_file({"log_probabilities": scores, "labels": labels}, str(workspace / "predictions.safetensors"))
    return metrics.summarize(scores, labels) | {"latency_ms": 1.0, "params": 10**7, "layers": 20, "flops": 10**9}


PARTS: dict[str, Callable[[Path, int, int], dict[str, Any]]] = {"cells": cells, "images": images, "report": report}


def measured(part: str, amount: int, classes: int = 10) -> dict[str, Any]:
    """One row, measured in a fresh process."""
    command = [sys.executable, __file__, "--part", part, "--amount", str(amount), "--classes", str(classes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    row = {"part": part, "amount": amount, "classes": classes, **json.loads(done.stdout)}
    print(f"{part:<8}{row['amount']:>10,}{row['classes'] if part == 'images' else '':>9}{row['seconds']:>10.2f}"
          f"{row['mb']:>8.0f}{row.get('page_mb', ''):>9.4}", flush=True)  # fmt: skip
    return row


def missed(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The targets that are missed, as sentences."""
    problems = []
    for row in rows:
        if row["part"] == "cells" and (row["seconds"] > MOST["plan s"] or row["mb"] > MOST["plan MB"]):
            problems.append(f"planning {row['amount']:,} cells took {row['seconds']:.1f} s and {row['mb']:.0f} MB")
        if row["part"] == "report" and (row["seconds"] > MOST["report s"] or row["page_mb"] > MOST["page MB"]):
            problems.append(f"the report took {row['seconds']:.1f} s and its page {row['page_mb']:.2f} MB")
    memory = [row["mb"] for row in rows if row["part"] == "images"]
    if memory and max(memory) - memory[0] > MOST["images MB"]:
        problems.append(f"the command's memory grew from {memory[0]:.0f} to {max(memory):.0f} MB with the images")
    return problems


def machine() -> dict[str, Any]:
    """The machine and the versions that the numbers were measured on."""
    from sota_bench.plan.environment import cores, cpu

    packages = ("numpy", "pandas", "scipy", "statsmodels", "matplotlib", "pydantic")
    return {
        "cpu": cpu().name, "cores": cores(), "system": platform.platform(), "python": platform.python_version(),
        "load": os.getloadavg()[0], **{name: version(name) for name in packages},
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows and the machine here")
    parser.add_argument("--quick", action="store_true", help="small amounts, as a test of this script")
    parser.add_argument("--part", choices=PARTS, help="measure one row in this process and print it as JSON")
    parser.add_argument("--amount", type=int, default=1)
    parser.add_argument("--classes", type=int, default=10)
    given = parser.parse_args()
    if given.part:
        with tempfile.TemporaryDirectory(prefix="sota-bench-growth-") as folder:
            print(json.dumps(PARTS[given.part](Path(folder), given.amount, given.classes)))
        return 0
    hardware = machine()
    print(f"{hardware['cpu']}, {hardware['cores']} cores, Python {hardware['python']}, load {hardware['load']:.1f}")
    print(f"{'':<8}{'amount':>10}{'classes':>9}{'seconds':>10}{'MB':>8}{'page MB':>9}")
    quick = given.quick
    rows = [measured("cells", count) for count in (list(CELLS)[:2] if quick else CELLS)]
    rows += [measured("images", count) for count in (IMAGES[:1] if quick else IMAGES)]
    rows += [measured("images", IMAGES[1], classes) for classes in ((), CLASSES[1:])[not quick]]
    rows.append(measured("report", 300 if quick else TRIALS))
    problems = missed(rows)
    if given.json:
        given.json.write_text(json.dumps({"machine": hardware, "rows": rows, "missed": problems}, indent=1) + "\n")
    for problem in problems:
        print(f"missed: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
