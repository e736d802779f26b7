"""Stages of a grid run and timed, a training step by step, and the same network alone on random data in memory:
``peers/share.py`` measures with it on a CPU and ``gpu.py`` on a GPU."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from sota_bench.engine.events import Event, StageDone
from sota_bench.grid import load
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.plan.plan import Plan
from sota_bench.stages.params import TrainParams
from sota_bench.stages.protocol import Progress, RunContext, StageOutcome
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

if TYPE_CHECKING:
    import torch

GPU_WARM_UP = 10
"""Steps in which libraries choose their kernels and the allocator finds its size."""


def one_cell(
    file: Path, seeds: Sequence[int], data: Mapping[str, Any], task: Mapping[str, Any], **more: str | float
) -> Path:
    """Writes a grid of one cell, whose trials are its seeds.

    Args:
        file: where to.
        seeds: of the trials.
        data: values of ``[data]``: text and numbers.
        task: ``backbone``, ``size``, ``epochs`` and ``batch``.
        more: further values of ``[recipe]``.
    """
    resize = f"{task['size']}x{task['epochs']}"
    recipe = {"backbone": task["backbone"], "resize": resize, "batch_size": task["batch"], **more}
    lines = ["[grid]", f'name = "{file.stem}"', f"seeds = {list(seeds)}"]
    for table, settings in (("data", data), ("recipe", recipe)):
        lines.append(f"[{table}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    file.write_text("\n".join([*lines, "[factors]", 'tta = ["off"]', ""]), encoding="utf-8")
    return file


def finish(
    plan: Plan,
    store: Path,
    stages: Sequence[Stage],
    here: bool = False,
    workers: int = 1,
    on_done: Callable[[str], None] = lambda key: None,
) -> dict[str, float]:
    """Runs stages one after the other, by the engine in one worker process, as ``run`` does.

    Args:
        plan: whose images they are of.
        store: folder of the store; what it has is not run again.
        stages: parents first; a parent that is not among them is in the store.
        here: whether they run in this process instead, which saves a worker's imports where nothing is measured.
        workers: processes of the engine; with more than one, stages run side by side and share the device.
        on_done: called with the key of each stage that ran.

    Returns:
        Seconds of each stage that ran, from its start to its result on disk.

    Raises:
        SystemExit: a stage failed.
    """
    plan.images.manifest.save(plan.prepare_context.manifest)
    opened = Store(store)
    with opened.hold("benchmark"):
        if here:
            device, missing = plan.environment.device, [stage for stage in stages if not opened.is_done(stage.key)]
            return {stage.key: _run(stage, opened, device, on_done) for stage in missing}
        return _by_engine(plan, opened, stages, workers, on_done)


def _by_engine(
    plan: Plan, store: Store, stages: Sequence[Stage], workers: int, on_done: Callable[[str], None]
) -> dict[str, float]:
    from sota_bench.engine.run_stages import run_stages

    seconds: dict[str, float] = {}

    def note(event: Event) -> None:
        if isinstance(event, StageDone) and not event.reused:
            seconds[event.stage.key] = event.wall_s
            on_done(event.stage.key)

    threads = plan.environment.threads
    device = plan.environment.device
    done = run_stages(stages, store, workers=workers, device=device, threads=threads, on_event=note)
    for failure in done.failed.values():
        raise SystemExit(f"a stage failed: {failure.reason} (log: {failure.log})")
    if done.interrupted:
        raise SystemExit(130)
    return seconds


def _run(stage: Stage, store: Store, device: str, on_done: Callable[[str], None]) -> float:
    from sota_bench.training.execute import execute

    began, workspace = time.perf_counter(), store.workspace(stage.key)
    inputs = {role: store.folder(key) for role, key in stage.parents.items()}
    done = execute(stage.decoded_by(1), RunContext(inputs, workspace, device, lambda progress: None))
    store.commit(stage, workspace, done.values, done.seconds, done.peak_memory_mb, 1)
    on_done(stage.key)
    return time.perf_counter() - began


@dataclass(frozen=True)
class Training:
    """The first training phase of a grid, ready to be run.

    Attributes:
        stage: the stage.
        inputs: role -> folder of each parent's artifact.
        store: where it may work.
        device: ``cpu`` or ``cuda:i``.
        images: that it trains on.
    """

    stage: Stage
    inputs: Mapping[str, Path]
    store: Path
    device: str
    images: int

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of its recipe."""
        assert isinstance(self.stage.params, TrainParams)
        return self.stage.params.recipe

    def run(self) -> tuple[list[float], StageOutcome]:
        """Runs it in this process.

        Returns:
            When each step was reported, in seconds, oldest first, so that nothing between two steps is left out (on a
            GPU a step may be reported before it is done; the last one of an epoch is not); and the outcome of the
            stage.
        """
        from sota_bench.training.execute import execute

        moments = list[float]()

        def note(progress: Progress) -> None:
            moments.append(time.perf_counter())

        workspace = Path(tempfile.mkdtemp(dir=self.store))
        try:
            return moments, execute(self.stage, RunContext(self.inputs, workspace, self.device, note))
        finally:
            shutil.rmtree(workspace)

    def rate(self, moments: Sequence[float]) -> float:
        """Images per second from the end of the first epoch, which warms up, to the end of the last.

        Args:
            moments: as :meth:`run` gave them, of two epochs or more.
        """
        first = len(moments) // self.stage.epochs
        return (self.stage.epochs - 1) * self.images / (moments[-1] - moments[first - 1])


def first_training(grid: Path, store: Path, device: str, here: bool = False) -> Training:
    """Plans a grid for one worker and runs what its first training needs.

    Args:
        grid: the file.
        store: folder of the store.
        device: ``auto``, ``cpu`` or ``cuda[:i]``.
        here: see :func:`finish`.
    """
    plan, _ = make_plan(load(grid), Machine(store, device, 1))
    stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
    needed, open_ends = set[str](), list(stage.parents.values())
    while open_ends:
        key = open_ends.pop()
        needed.add(key)
        open_ends += plan.stages[key].parents.values()
    finish(plan, store, [stage for key, stage in plan.stages.items() if key in needed], here)
    opened = Store(store)
    inputs = {role: opened.folder(key) for role, key in stage.parents.items()}
    images = plan.images.subset(stage.choice).sizes()["train"]
    return Training(stage, inputs, store, plan.environment.device, images)


def pure_steps(
    settings: Mapping[str, Any], size: int, batch: int, count: int, device: str = "cpu", search: bool = False
) -> list[float]:
    """Seconds of steps of the network alone: forward, loss, backward and optimizer on one batch in memory, with the
    precision, layout and compilation of a recipe, and what this project does to a network and its optimizer.

    Args:
        settings: the recipe.
        size: pixels of both sides.
        batch: images.
        count: steps, after those that warm up.
        device: ``cpu`` or ``cuda:i``.
        search: whether cuDNN tries its algorithms first, which this project leaves off.

    Returns:
        ``count`` numbers. On a GPU, whose steps overlap, all are the same: the time of all of them, shared.
    """
    import timm
    import torch

    from sota_bench.training.optimizer import AdamW
    from sota_bench.training.small_maps import patch_small_maps

    on = torch.device(device)
    layout = torch.contiguous_format if settings["layout"] == "contiguous" else torch.channels_last
    model = timm.create_model(settings["backbone"], num_classes=10).train().to(on, memory_format=layout)
    patch_small_maps(model)
    optimizer = AdamW(model.parameters(), lr=1e-4, fused=True)
    images = torch.randn(batch, 3, size, size, device=on).contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (batch,), device=on)
    forward = torch.compile(model) if settings["compile"] == "on" else model

    def step() -> None:
        with torch.autocast(on.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
            logits = forward(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    earlier, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, search
    try:
        return _timed(step, count, on)
    finally:
        torch.backends.cudnn.benchmark = earlier


def again_as_worker() -> int | None:
    """Runs this command again with a worker's settings of the allocator, which are read when a process starts.

    Returns:
        Its exit code; None where they are set already.
    """
    from sota_bench.engine.worker_process import ALLOCATOR

    if "GLIBC_TUNABLES" in os.environ:
        return None
    return subprocess.run([sys.executable, *sys.argv], env={**os.environ, "GLIBC_TUNABLES": ALLOCATOR}).returncode


def nothing_compiled(folder: Path) -> AbstractContextManager[Any]:
    """A context in which torch finds nothing that an earlier process has compiled.

    Args:
        folder: empty, or of this process; holds what is compiled.
    """
    return patch.dict(os.environ, {"TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")})


def pays(off_rate: float, on_rate: float, compile_s: float, batch: int) -> tuple[float, int | None]:
    """What compiling saves, and when it has paid for itself.

    Args:
        off_rate, on_rate: images per second without and with it.
        compile_s: what it takes.
        batch: images of a step.

    Returns:
        Milliseconds saved by a step, and after how many steps they exceed ``compile_s``; None where none are saved.
    """
    saved_s = batch / off_rate - batch / on_rate
    return 1000 * saved_s, math.ceil(compile_s / saved_s) if saved_s > 0 else None


def _timed(step: Callable[[], None], count: int, device: torch.device) -> list[float]:
    if device.type == "cpu":
        seconds = []
        for _ in range(count + 1):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        return seconds[1:]
    import torch

    for _ in range(GPU_WARM_UP):
        step()
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    for _ in range(count):
        step()
    torch.cuda.synchronize(device)
    return [(time.perf_counter() - began) / count] * count
