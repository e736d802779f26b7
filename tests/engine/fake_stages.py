"""A stage runner without torch whose behaviour is a parameter of the stage: works, hangs, crashes, prints, waits."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError
from sota_bench.stages.params import StageParams
from sota_bench.stages.protocol import Diverged, Progress, RunContext, StageOutcome, Stopped
from sota_bench.stages.stage import Stage
from sota_bench.store import artifacts

PRELOAD = ("wave", "no_such_module")


@dataclass(frozen=True)
class FakeParams(StageParams):
    """How a stage behaves.

    Attributes:
        name: decides its result.
        does: how it misbehaves (see :func:`misbehave`).
        times: how many attempts misbehave.
        remembers: its attempts are counted also when its workspace is discarded.
        steps, step_s: how much it does.
        saves: whether it can go on from every step.
        size: of its file, in digests.
    """

    name: str
    does: str = "work"
    times: int = 10**9
    remembers: bool = False
    steps: int = 3
    step_s: float = 0.0
    saves: bool = False
    size: int = 1


def make(name: str, *parents: Stage, kind: str = "train", **behaviour: Any) -> Stage:
    """A stage with a key as the planner would make it: over its parameters and its parents' keys."""
    text = repr((name, sorted(behaviour.items()), [parent.key for parent in parents]))
    roles = {f"input{index}": parent.key for index, parent in enumerate(parents)}
    return Stage(
        key=hashlib.sha256(text.encode()).hexdigest(),
        kind=kind,
        params=FakeParams(name, **behaviour),
        parents=roles,
        title=name,
        trials=(name,),
    )


def params_of(stage: Stage) -> FakeParams:
    """How a stage behaves."""
    assert isinstance(stage.params, FakeParams)
    return stage.params


def value_of(stage: Stage, inputs: Mapping[str, Path]) -> str:
    """The number that a stage must give: it depends on its name and on every byte of its inputs."""
    digest = hashlib.sha256(params_of(stage).name.encode())
    for role in sorted(inputs):
        digest.update((inputs[role] / "weights.safetensors").read_bytes())
    return digest.hexdigest()


def execute(stage: Stage, run: RunContext) -> StageOutcome:
    """Do what ``stage.params.does`` says, once for as many attempts as ``times`` says, and then work."""
    params, workspace, progress = params_of(stage), run.workspace, run.progress
    (workspace / "partial").mkdir(exist_ok=True)
    attempts = workspace / "partial" / "attempts"
    if params.remembers:  # also when its workspace is discarded
        attempts = workspace.parent.parent / f"attempts-{stage.key}"
    attempt = len(attempts.read_text()) if attempts.exists() else 0
    attempts.write_text("x" * (attempt + 1))
    print(f"attempt {attempt}", flush=True)
    if params.does == "damage":
        for folder in run.inputs.values():
            (folder / "weights.safetensors").write_bytes(b"other")
            artifacts.check_folder(folder)
    if attempt < params.times:
        misbehave(params.does, progress)
    steps, seconds = params.steps, params.step_s
    saved = workspace / "partial" / "step"
    first = int(saved.read_text()) if saved.exists() else 0
    for step in range(first, steps):
        time.sleep(seconds)
        try:
            progress(Progress(step + 1, steps, images_per_s=100.0, note=f"step {step + 1}"))
        except Stopped:
            saved.write_text(str(step + 1))
            raise
        if params.saves:
            temporary = saved.with_suffix(".new")
            temporary.write_text(str(step + 1))
            temporary.replace(saved)
    text = value_of(stage, run.inputs)
    (workspace / "weights.safetensors").write_bytes(text.encode() * params.size)
    (workspace / "numbers.json").write_text("{}")
    environment = {name: os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "MARK")}
    values = {"value": text, "resumed_at": first, "device": run.device, "pid": os.getpid(), **environment}
    values["preloaded"] = "wave" in sys.modules
    return StageOutcome(values, {"train": seconds * (steps - first)}, 12.5)


def misbehave(does: str, progress: Callable[[Progress], None]) -> None:
    """All the ways in which a stage can go wrong."""
    match does:
        case "work":
            return
        case "raise":
            raise ValueError("this technique\nis broken")
        case "memory":
            raise MemoryError
        case "allocate":
            block = [bytearray(2**20) for _ in range(300)]
            time.sleep(60 + len(block))
        case "network":
            try:
                raise ConnectionError("Network is unreachable")
            except ConnectionError as error:
                raise UserError("recipe.weights", "timm", "could not load", "check the network") from error
        case "permission":
            raise PermissionError(13, "Permission denied", "/cache/weights")
        case "diverge":
            raise Diverged("loss is nan at step 3")
        case "float":
            raise FloatingPointError("overflow")
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "sysexit":
            sys.exit(4)
        case "hang":
            time.sleep(600)
        case "children":
            with ProcessPoolExecutor(2, get_context("spawn")) as pool:
                waiting = [pool.submit(time.sleep, 600) for _ in range(2)]
                time.sleep(1.0)
                children = " ".join(str(pid) for pid in pool._processes)
                progress(Progress(1, 2, note=children))
                time.sleep(0.3)
                waiting[0].result()
        case "grip":
            ctypes.PyDLL(None).sleep(600)  # keeps the interpreter lock: no Python thread runs
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(600)
        case "stubborn":
            while True:
                time.sleep(0.05)
                try:
                    progress(Progress(0, 1))
                except BaseException:
                    continue
        case "full":
            raise OSError(28, "No space left on device")
        case "full cache":
            try:
                raise OSError(28, "No space left on device")
            except OSError:
                raise UserError("store", "", "the cache cannot be written", "free some space") from None
        case other:
            raise AssertionError(other)


def execute_nan(stage: Stage, run: RunContext) -> StageOutcome:
    """Returns what is not a number."""
    return StageOutcome({"curve": [1.0, float("nan")]}, {}, 0.0)


def execute_tensors(stage: Stage, run: RunContext) -> StageOutcome:
    """Writes 8 MB of tensors as real stages do."""
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"weights": np.zeros(2**20)}, run.workspace / "weights.safetensors")
    return StageOutcome({}, {}, 0.0)


def execute_nothing(stage: Stage, run: RunContext) -> StageOutcome:
    """Reads nothing and writes nothing."""
    return StageOutcome({}, {}, 0.0)


def execute_pickle(stage: Stage, run: RunContext) -> StageOutcome:
    """Leaves a file that an artifact may not hold."""
    (run.workspace / "model.pt").write_bytes(b"x")
    return StageOutcome({}, {}, 0.0)


def setup_fails(device: str) -> None:
    """A set-up that cannot work."""
    raise ImportError("no module named nothing")
