"""The inputs of the workloads: a folder of small drawn images, and stages of a grid on them, run once per tree."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sota_bench.grid import Grid
    from sota_bench.plan.plan import Plan
    from sota_bench.stages.protocol import Progress, StageOutcome
    from sota_bench.stages.stage import Stage

CLASSES, SIDES, TRAIN, VAL = ("bars", "checks", "discs", "dots"), (72, 88), 32, 32
"""Four classes of 32 training and 32 validation images, 72 x 88 pixels."""


def image(label: int, number: int) -> np.ndarray:
    """One image uint8 [72, 88, 3]: noise over a pattern that tells the class; the same numbers give the same pixels."""
    rng = np.random.default_rng([label, number])
    rows, columns = np.mgrid[: SIDES[0], : SIDES[1]]
    shape = [
        columns // 6 % 2,
        (columns // 8 + rows // 8) % 2,
        (rows - 36) ** 2 + (columns - 44) ** 2 < 400,
        (rows % 12 < 5) & (columns % 12 < 5),
    ][label]
    picture = rng.integers(30, 120, 3) + shape[..., None] * rng.integers(40, 100, 3) + rng.normal(0, 12, (*SIDES, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def folder_of_images(scratch: Path) -> Path:
    """The image folder, drawn if it is not there yet."""
    from PIL import Image

    folder = scratch / "images"
    if not folder.is_dir():
        making = Path(tempfile.mkdtemp(dir=scratch))
        for split, count in (("train", TRAIN), ("val", VAL)):
            for label, name in enumerate(CLASSES):
                class_folder = making / split / name
                class_folder.mkdir(parents=True)
                for number in range(count):
                    Image.fromarray(image(label, number + 1000 * (split == "val"))).save(
                        class_folder / f"{number:03d}.png"
                    )
        _into_place(making, folder)
    return folder


def grid_file(scratch: Path, name: str, recipe: str, factors: str = "lr = [0.003]", seeds: str = "[0]") -> Path:
    """A grid on those images, as a file."""
    file = scratch / f"{name}.toml"
    text = f'[grid]\nseeds = {seeds}\n[data]\nsource = "folder:{folder_of_images(scratch)}"\n'
    _write(file, f"{text}[recipe]\n{recipe}\n[factors]\n{factors}\n".encode())
    return file


def planned(file: Path, device: str) -> tuple[Grid, Plan]:
    """A grid and its plan."""
    from sota_bench.grid import load
    from sota_bench.plan.machine import Machine
    from sota_bench.plan.make import make_plan

    grid, machine = load(file), Machine(file.parent / "store", device, 2)
    return grid, make_plan(grid, machine)[0]


class Staged:
    """One stage of a grid with its parents' results, which are made in the first process of a tree and kept.

    Args:
        scratch: folder of the tree.
        name: of the grid; names what is kept.
        recipe: lines of ``[recipe]``.
        device: where it runs.
        last: key of the wanted stage in a plan.
    """

    def __init__(self, scratch: Path, name: str, recipe: str, device: str, last: Callable[[Plan], str]) -> None:
        self.device, self._scratch = device, scratch
        kept = scratch / f"{name}-{device.replace(':', '')}.pickle"
        if not kept.is_file():
            _write(kept, pickle.dumps(self._make(grid_file(scratch, name, recipe), last)))
        stage, inputs = pickle.loads(kept.read_bytes())
        self.stage: Stage = stage
        self.inputs: dict[str, Path] = inputs

    def _make(self, file: Path, last: Callable[[Plan], str]) -> tuple[Stage, dict[str, Path]]:
        _, plan = planned(file, self.device)
        manifests = self._scratch / "store" / "manifests"
        manifests.mkdir(parents=True, exist_ok=True)
        plan.images.manifest.save(manifests / f"{plan.images.manifest.digest}.csv")
        stage = plan.stages[last(plan)]
        return stage, {role: self._run(plan, key) for role, key in stage.parents.items()}

    def _run(self, plan: Plan, key: str) -> Path:
        """The folder of a finished stage, after its parents."""
        from sota_bench.stages.protocol import RunContext
        from sota_bench.training.execute import execute

        folder = self._scratch / "artifacts" / key
        if not folder.is_dir():
            stage = plan.stages[key]
            inputs = {role: self._run(plan, parent) for role, parent in stage.parents.items()}
            folder.parent.mkdir(exist_ok=True)
            making = Path(tempfile.mkdtemp(dir=folder.parent))
            execute(stage.decoded_by(1), RunContext(inputs, making, self.device, lambda done: None))
            _into_place(making, folder)
        return folder

    def run(self, progress: Callable[[Progress], None]) -> StageOutcome:
        """Runs the stage as a worker does, in a folder that is removed afterwards."""
        from sota_bench.stages.protocol import RunContext
        from sota_bench.training.execute import execute

        with tempfile.TemporaryDirectory(dir=self._scratch) as workspace:
            return execute(self.stage, RunContext(self.inputs, Path(workspace), self.device, progress))


def train_stage(plan: Plan) -> str:
    """The last training phase of the first trial."""
    return plan.trials[0].training[-1]


def evaluation(plan: Plan) -> str:
    """The evaluation that the first trial is judged by."""
    return plan.trials[0].final.key


def fake_stage(number: int) -> Stage:
    """A stage for the store: it knows keys and bytes alone."""
    import hashlib

    from sota_bench.stages.params import PrepareParams
    from sota_bench.stages.stage import Stage

    key = hashlib.sha256(f"benchmark {number}".encode()).hexdigest()
    return Stage(key, "prepare", PrepareParams(str(number), 64), {}, f"stage {number}")


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all: the processes of a tree share its files."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(file)


def _into_place(making: Path, folder: Path) -> None:
    """A rename; if another process was first, its folder stays."""
    with suppress(OSError):
        making.rename(folder)
    shutil.rmtree(making, ignore_errors=True)
