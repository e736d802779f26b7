"""The suite of workloads that ``pytest benchmarks`` and ``timing gate`` measure.

``sota_bench/regression/measure.py`` says what a suite is. Inputs are the same every time. The gate runs this file
against older revisions of the package, too, so it uses only what is public.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pictures

Lap = Callable[[], None]
Run = Callable[[Lap], None]
PREFIX = "training_"
PRELOAD = ("PIL.Image", "numpy", "pandas", "pydantic", "safetensors.torch", "timm", "torch._dynamo")
"""Third-party modules that most workloads import: the gate's processes are forked from one that has imported them."""


@dataclass(frozen=True)
class Workload:
    """One workload.

    Attributes:
        prepare: makes the inputs.
        group: of the table that ``pytest benchmarks`` prints.
        control: no change of the project can touch it.
        timed: whether it is timed.
        counts: ``operations`` (ATen), ``graphs`` (of torch.compile) or "" for nothing.
    """

    prepare: Callable[[Path, str], Run]
    group: str
    control: bool = False
    timed: bool = True
    counts: str = ""


def repeat(work: Callable[[], object], times: int) -> Run:
    """A run that does the same piece of work a number of times."""

    def run(lap: Lap) -> None:
        lap()
        for _ in range(times):
            work()
            lap()

    return run


# Training steps, through the stage that a worker runs: a step ends when the stage reports its progress.

BASELINE = 'backbone = "test_resnet"\nresize = "32x1"\nbatch_size = 16\nprecision = "fp32"\nnormalize = "dataset"\n'
RISE = 'backbone = "test_resnet"\nresize = "24x1 32x1"\nbatch_size = 16\nprecision = "fp32"\nnormalize = "dataset"\n'
TECHNIQUES = {
    "step": BASELINE,
    "step_mixup": BASELINE + "mixup = 0.2",
    "step_cutmix": BASELINE + "cutmix = 1.0",
    "step_label_smoothing": BASELINE + "label_smoothing = 0.1",
    "step_freeze": RISE + 'mitigation = "freeze"',
    "step_discriminative": RISE + 'mitigation = "discriminative"',
    "step_ewc": RISE + 'mitigation = "ewc"',
    "step_low_lr": RISE + 'mitigation = "low-lr"',
    "step_mixed_sizes": RISE + 'mitigation = "mixed-sizes"',
}


def training(name: str, recipe: str, scratch: Path, device: str) -> Run:
    """The steps of one epoch after the first step, which warms up."""
    staged = pictures.Staged(scratch, name, recipe, device, pictures.train_stage)

    def run(lap: Lap) -> None:
        staged.run(lambda done: lap())

    return run


def evaluating(name: str, recipe: str, scratch: Path, device: str) -> Run:
    """The batches of an evaluation after the first."""
    staged = pictures.Staged(scratch, name, recipe, device, pictures.evaluation)

    def run(lap: Lap) -> None:
        staged.run(lambda done: lap())

    return run


def cache_read(scratch: Path, device: str) -> Run:
    """Batches of 16 crops from the decoded cache."""
    import numpy as np
    import torch

    from sota_bench.data.cache import PixelCache
    from sota_bench.training.crop import random_resized_boxes
    from sota_bench.training.images import Images

    staged = pictures.Staged(scratch, "step", TECHNIQUES["step"], device, pictures.train_stage)
    cache = PixelCache.open(staged.inputs["data"] / "cache")
    rows = np.arange(len(cache))
    images = Images(cache, rows, rows % 4, torch.device(device))

    def work() -> None:
        rng = np.random.default_rng(0)
        for first in range(0, 128, 16):
            positions = np.arange(first, first + 16)
            boxes = random_resized_boxes(images.heights[positions], images.widths[positions], 0.35, rng)
            images.batch(positions, boxes, rng.random(16) < 0.5, 48)

    return repeat(work, 5)


def cache_decode(scratch: Path, device: str) -> Run:
    """64 images decoded, written as a cache and read back."""
    import shutil
    import tempfile

    from sota_bench.data.build import build_cache
    from sota_bench.data.specs import source_from_spec

    _, plan = pictures.planned(pictures.grid_file(scratch, "decode", BASELINE), "cpu")
    items, source = plan.images.manifest.items.head(64), source_from_spec(plan.images.source.spec)

    def work() -> None:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        build_cache(folder / "cache", source, items, 64, 1)
        shutil.rmtree(folder)

    return repeat(work, 3)


def planning(scratch: Path, device: str) -> Run:
    """A grid of 48 cells and 3 seeds read, expanded and planned."""
    factors = 'mixup = [0.0, 0.2]\nlabel_smoothing = [0.0, 0.1]\nlr = [0.001, 0.003, 0.01]\ntta = ["off", "flip"]\n'
    factors += 'resize = ["48x2", "32x1 48x1"]'
    recipe = "".join(line + "\n" for line in BASELINE.splitlines() if not line.startswith("resize"))
    file = pictures.grid_file(scratch, "planning", recipe, factors, "[0, 1, 2]")
    return repeat(lambda: pictures.planned(file, "cpu"), 2)


def store(scratch: Path, device: str) -> Run:
    """5 stages begun, committed with a file each, looked up and read back."""
    import os
    import shutil
    import tempfile

    from sota_bench.store import Store

    stages = [pictures.fake_stage(number) for number in range(5)]

    def work() -> None:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        store = Store(folder / "store")
        with store.hold("benchmark"):
            for stage in stages:
                workspace = store.workspace(stage.key)
                (workspace / "weights.safetensors").write_bytes(b"w" * 65536)
                store.running(stage, os.getpid())
                store.commit(stage, workspace, {"accuracy": 61.25}, {"train": 1.5}, 100.0, 1)
        assert all(store.is_done(stage.key) and store.verify(stage.key) for stage in stages)
        shutil.rmtree(folder)

    return repeat(work, 3)


def analysis(scratch: Path, device: str) -> Run:
    """Contrasts and verdicts of a full factorial of 3 x 2 x 2 levels and 5 seeds."""
    from sota_bench.stats import analyze

    table = trials_table()
    return repeat(lambda: analyze(table, response="accuracy", factors=["a", "b", "c"], block="seed", delta=0.5), 3)


def rendering(scratch: Path, device: str) -> Run:
    """A page with a table of 500 rows and a figure in two widths."""
    from sota_bench.report.page import fill
    from sota_bench.report.parts import Chart, Section, Table
    from sota_bench.report.theme import Ink, sheet

    rows = [[f"c{number:03d}", f"{number * 0.37 % 100:.2f}", f"{number % 7}"] for number in range(500)]
    table = Table("One trial", ["Trial", "Accuracy#", "Seed#"], rows, interactive=True)

    def draw(width: int) -> Any:
        figure, axes = sheet(width, 280)
        axes.plot(range(60), [number * 0.37 % 10 for number in range(60)], color=str(Ink.C1), marker="o")
        return figure

    # A plain namespace, since earlier revisions that this suite measures too have no class for the head of a page.
    head: Any = SimpleNamespace(
        over="benchmark", title="rendering", facts=["500 rows"], question="", remarks=[], notes=[]
    )
    body = [Section("one", "One", "A lead.", [Chart("chart", "A line", "It rises and falls.", draw, table)])]
    return repeat(lambda: fill(head, body), 2)


def trials_table() -> Any:
    """A simulated table of trials, the same every time."""
    import itertools

    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(7)
    levels = itertools.product(("x", "y", "z"), ("off", "on"), ("off", "on"), range(5))
    rows = [
        {"a": a, "b": b, "c": c, "seed": seed, "accuracy": 70 + (a == "y") + 2 * (b == "on") + rng.normal(0, 0.5)}
        for a, b, c, seed in levels
    ]
    return pd.DataFrame(rows)


def control(scratch: Path, device: str) -> Run:
    """Arithmetic and memory traffic of numpy and of the interpreter, without the project."""
    import numpy as np

    rng = np.random.default_rng(0)
    left, right, long = rng.random((192, 192)), rng.random((192, 192)), rng.random(500_000)

    def work() -> None:
        for _ in range(8):
            left @ right
            np.sort(long[:50_000])
            (long * 1.5).sum()
        sum(number * number for number in range(40_000))

    return repeat(work, 3)


WORKLOADS: dict[str, Workload] = {"control": Workload(control, "control", control=True)}
WORKLOADS |= {
    PREFIX + name: Workload(partial(training, name, recipe), "training", counts="operations")
    for name, recipe in TECHNIQUES.items()
}
WORKLOADS |= {
    PREFIX + "compiled": Workload(
        partial(training, "compiled", BASELINE + 'compile = "on"'), "training", timed=False, counts="graphs"
    ),
    "evaluation": Workload(
        partial(evaluating, "evaluation", BASELINE + "eval_batch_size = 16"), "evaluation", counts="operations"
    ),
    "evaluation_tta": Workload(
        partial(evaluating, "evaluation_tta", BASELINE + 'eval_batch_size = 16\ntta = "flip"'),
        "evaluation",
        counts="operations",
    ),
    "cache_read": Workload(cache_read, "data", counts="operations"),
    "cache_decode": Workload(cache_decode, "data"),
    "planning": Workload(planning, "planning"),
    "store": Workload(store, "store"),
    "analysis": Workload(analysis, "report"),
    "rendering": Workload(rendering, "report"),
}


def cases(group: str) -> list[str]:
    """Names of the timed workloads of a group."""
    return [name for name, workload in WORKLOADS.items() if workload.group == group and workload.timed]
