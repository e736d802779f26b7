"""A laboratory for tests of training: a folder of small images, and grids that are planned and run in this process.

Stages are run once for a session, so tests that ask for the same training share it.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sota_bench.grid import load
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.plan.plan import Evaluation, Plan, TrialPlan
from sota_bench.stages.protocol import Progress, RunContext, StageOutcome, Stopped
from sota_bench.stages.stage import Stage
from sota_bench.technique import Batch
from sota_bench.training.execute import execute

CLASSES = ("bars", "checks", "discs", "dots")
SIDES = (40, 52)
"""Height and width in pixels of the drawn images: not square, so that crops matter."""

BASELINE = """
backbone = "test_resnet"
resize = "32x1"
batch_size = 16
precision = "fp32"
"""


ONE_CELL = "lr = [0.003]"


def draw(label: int, rng: np.random.Generator) -> np.ndarray:
    """One image uint8 [40, 52, 3]: coloured noise over a pattern that tells the class."""
    height, width = SIDES
    rows, columns = np.mgrid[:height, :width]
    row, column = rng.integers(8, 32), rng.integers(8, 44)
    shape = [
        columns // 4 % 2,
        (columns // 5 + rows // 5) % 2,
        (rows - row) ** 2 + (columns - column) ** 2 < 100,
        (rows % 8 < 3) & (columns % 8 < 3),
    ][label]
    colour = rng.integers(40, 200, 3)
    picture = colour * 0.6 + shape[..., None] * rng.integers(40, 100, 3) + rng.normal(0, 12, (height, width, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_images(
    folder: Path, train: int = 12, val: int = 8, draw: Callable[[int, np.random.Generator], np.ndarray] = draw
) -> Path:
    """An image folder with ``train`` and ``val`` images of each class, as PNG."""
    from PIL import Image

    for split, count in (("train", train), ("val", val)):
        for label, name in enumerate(CLASSES):
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(count):
                rng = np.random.default_rng([label, i, split == "val"])
                Image.fromarray(draw(label, rng)).save(place / f"{i:03d}.png")
    return folder


def batch_of(count: int) -> Batch:
    """A batch of so many images, numbered from 0, all of the first class."""
    return Batch(np.arange(count, dtype=np.int64), np.zeros(count, dtype=np.int64))


def ignore(progress: Progress) -> None:
    """A listener that listens to nothing."""


@dataclass
class Ran:
    """A plan of which some stages have been run.

    Attributes:
        plan: all stages.
        folders: key -> what the stage left.
        outcomes: key -> what it answered.
    """

    plan: Plan
    folders: Mapping[str, Path]
    outcomes: Mapping[str, StageOutcome]

    @property
    def trial(self) -> TrialPlan:
        """The first trial."""
        return self.plan.trials[0]

    def stage(self, kind: str) -> Stage:
        """The first stage of a kind."""
        return next(stage for stage in self.plan.stages.values() if stage.kind == kind)

    def trained(self, phase: int = 0, trial: int = 0) -> StageOutcome:
        """The outcome of one training phase of a trial."""
        return self.outcomes[self.plan.trials[trial].training[phase]]

    def checkpoint(self, phase: int = -1, trial: int = 0) -> Path:
        """The folder of one training phase of a trial."""
        return self.folders[self.plan.trials[trial].training[phase]]

    def evaluated(self, evaluation: Evaluation | None = None) -> dict[str, Any]:
        """The values of an evaluation; of the first trial's own by default."""
        return self.outcomes[(evaluation or self.trial.final).key].values


@dataclass
class Lab:
    """Plans and runs grids on one folder of images.

    Attributes:
        folder: scratch space, in which artifacts lie by key.
        images: the image folder.
        device: where stages run; plans are those of a CPU.
    """

    folder: Path
    images: Path
    device: str = "cpu"
    folders: dict[str, Path] = field(default_factory=dict)
    outcomes: dict[str, StageOutcome] = field(default_factory=dict)

    def plan(
        self,
        recipe: str = "",
        factors: str = ONE_CELL,
        seeds: Sequence[int] = (0,),
        data: str = "",
        techniques: Sequence[Path] = (),
    ) -> Plan:
        """The plan of a grid on these images.

        Args:
            recipe: lines of ``[recipe]``; they replace those of :data:`BASELINE`, and so do factors.
            factors: lines of ``[factors]``.
            seeds: seeds.
            data: further lines of ``[data]``.
            techniques: local technique files.
        """
        varied = tomllib.loads(factors)
        default = {key: value for key, value in tomllib.loads(BASELINE).items() if key not in varied}
        settings = {**default, **tomllib.loads(recipe)}
        written = "\n".join(f"{key} = {_toml(value)}" for key, value in settings.items())
        file = self.folder / "grid.toml"
        local = [str(path) for path in techniques]
        file.write_text(
            f'[grid]\nseeds = {list(seeds)}\ntechniques = {local}\n[data]\nsource = "folder:{self.images}"\n{data}\n'
            f"[recipe]\n{written}\n[factors]\n{factors}\n"
        )
        plan, _ = make_plan(load(file), Machine(self.folder / "store", "cpu", 2))
        save_manifest(plan, self.folder / "store")
        return plan

    def run_stage(self, stage: Stage, progress: Callable[[Progress], None] = ignore) -> StageOutcome:
        """Runs one stage whose parents have been run, if it has not been run yet."""
        if stage.key not in self.outcomes:
            workspace = _made(self.folder / "artifacts" / stage.key)
            inputs = {role: self.folders[key] for role, key in stage.parents.items()}
            here = stage.decoded_by(1)  # to start other processes takes longer
            outcome = execute(here, RunContext(inputs, workspace, self.device, progress))
            self.folders[stage.key], self.outcomes[stage.key] = workspace, outcome
        return self.outcomes[stage.key]

    def run(
        self,
        recipe: str = "",
        factors: str = ONE_CELL,
        seeds: Sequence[int] = (0,),
        data: str = "",
        techniques: Sequence[Path] = (),
    ) -> Ran:
        """Plans a grid and runs all of it; arguments as :meth:`plan`."""
        return self.run_plan(self.plan(recipe, factors, seeds, data, techniques))

    def run_plan(self, plan: Plan) -> Ran:
        """Runs all of a plan."""
        for stage in plan.stages.values():
            self.run_stage(stage)
        return Ran(plan, self.folders, self.outcomes)

    def run_apart(self, stage: Stage, stops: Sequence[int] = ()) -> tuple[Path, StageOutcome]:
        """Runs one stage once more in a folder of its own.

        Args:
            stage: its parents have been run.
            stops: after how many steps it is stopped; it then goes on from what it left, as a killed run does.
        """
        workspace = Path(tempfile.mkdtemp(dir=_made(self.folder / "apart")))
        inputs = {role: self.folders[key] for role, key in stage.parents.items()}
        for stop in stops:
            left = stop

            def count(progress: Progress) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    raise Stopped

            try:
                execute(stage, RunContext(inputs, workspace, self.device, count))
            except Stopped:
                continue
            raise AssertionError(f"{stage.title} ended before step {stop}")
        return workspace, execute(stage, RunContext(inputs, workspace, self.device, ignore))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """48 training and 32 validation images of four classes, trained on by one thread."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("lab")
    return Lab(folder, write_images(folder / "images"))


@pytest.fixture(scope="session")
def gpu_lab(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The same images, trained on by a GPU."""
    return Lab(tmp_path_factory.mktemp("gpu"), lab.images, device="cuda:0")


def save_manifest(plan: Plan, store: Path) -> None:
    """Puts the manifest where the stages of a plan look for it."""
    plan.images.manifest.save(_made(store / "manifests") / f"{plan.images.manifest.digest}.csv")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(item)}' for key, item in value.items()) + "}"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value).replace("'", '"')
