"""Does the decoded cache cost accuracy? The same recipe with it, and with each file decoded anew for each use.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/cache_accuracy.py        # about 6 minutes on 2 cores

Both arms are this project's training and evaluation, with the same weights at the start and the same order of images
for a seed; what differs is where a batch comes from. With the cache: as in every run, images decoded once, at a size
that no random crop is enlarged from, cropped and resized from there. Without: Pillow decodes the whole file whenever it
is used, and torchvision's ``RandomResizedCrop`` and flip (to train) or ``Resize`` and ``CenterCrop`` (to judge) make
the pixels, with draws of their own.

Writes ``cache_accuracy.json`` and ``cache_accuracy.md``: the difference of accuracies, paired by seed, with its 95% t
interval. Exit code 1 when the whole interval is below zero: the cache costs accuracy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

import common  # noqa: E402
import record  # noqa: E402
import steps  # noqa: E402

from sota_bench.grid import load  # noqa: E402
from sota_bench.plan.environment import cores  # noqa: E402
from sota_bench.plan.machine import Machine  # noqa: E402
from sota_bench.plan.make import make_plan  # noqa: E402
from sota_bench.plan.plan import Plan, TrialPlan  # noqa: E402
from sota_bench.store import Store  # noqa: E402

if TYPE_CHECKING:
    import numpy as np
    import torch

    from sota_bench.training.decoded import DecodedSubset

CROP_SCALE = (0.35, 1.0)
TITLE = "Accuracy with the decoded cache and without it"
ARMS = ("cache", "files")


def from_files(folder: Path, seed: int) -> Callable[..., Any]:
    """A stand-in for ``DecodedSubset.images``, whose batches come from the files.

    Args:
        folder: of the images; the manifest's paths start there.
        seed: of the trial; the reference draws its own crops and flips from it.
    """
    import torch
    from PIL import Image
    from torchvision.transforms import v2

    from sota_bench.randomness import derive
    from sota_bench.training.images import Images

    pool = ThreadPoolExecutor(cores())  # Pillow lets other threads run while it decodes and resizes

    class FromFiles(Images):
        """One split, decoded whenever a batch asks for it."""

        paths: Sequence[Path] = ()
        training = False
        batches = 0

        def batch(self, positions: np.ndarray, boxes: np.ndarray, flip: np.ndarray, size: int) -> torch.Tensor:
            """As ``Images.batch``, with torchvision's own crops and flips in place of ``boxes`` and ``flip``."""
            files = [self.paths[position] for position in positions]
            decode = self._to_train(files, size) if self.training else self._to_judge(size)
            pixels: torch.Tensor = torch.stack(list(pool.map(decode, range(len(files)), files)))
            return pixels.float().to(self.device)

        def _to_train(self, files: Sequence[Path], size: int) -> Callable[[int, Path], torch.Tensor]:
            crop, self.batches = v2.RandomResizedCrop(size, scale=CROP_SCALE), self.batches + 1
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive(seed, "reference", self.batches))
                boxes = [crop.make_params([Image.open(file)]) for file in files]  # reads no more than a header
                flips = torch.rand(len(files)) < 0.5

            def decode(index: int, file: Path) -> torch.Tensor:
                with Image.open(file) as image:
                    pixels = v2.functional.pil_to_tensor(crop.transform(image.convert("RGB"), boxes[index]))
                return pixels.flip(-1) if flips[index] else pixels

            return decode

        def _to_judge(self, size: int) -> Callable[[int, Path], torch.Tensor]:
            view = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])

            def decode(_: int, file: Path) -> torch.Tensor:
                with Image.open(file) as image:
                    pixels: torch.Tensor = v2.functional.pil_to_tensor(view(image.convert("RGB")))
                return pixels

            return decode

    def images(prepared: DecodedSubset, split: str, device: torch.device, in_chans: int) -> FromFiles:
        made = FromFiles(prepared.cache, prepared.rows[split], prepared.labels[split], device, in_chans)
        paths = prepared.subset.manifest.items["path"].to_numpy(dtype=object)[prepared.subset.rows[split]]
        made.paths, made.training = [folder / path for path in paths], split == "train"
        return made

    return images


def trained(plan: Plan, trial: TrialPlan, store: Path, arm: str, folder: Path) -> dict[str, float]:
    """Accuracy in percent and seconds of one trial, run in this process.

    Args:
        plan: whose data stages are in the store.
        trial: its one training phase and its own evaluation are run.
        store: folder of the store.
        arm: ``cache`` or ``files``.
        folder: of the images.
    """
    from sota_bench.stages.protocol import RunContext
    from sota_bench.training.decoded import DecodedSubset
    from sota_bench.training.execute import execute

    device, opened = plan.environment.device, Store(store)
    source = from_files(folder, trial.trial.seed) if arm == "files" else DecodedSubset.images
    with (
        tempfile.TemporaryDirectory(dir=store) as made,
        tempfile.TemporaryDirectory(dir=store) as judged,
        patch.object(DecodedSubset, "images", source),
    ):
        (first,), began = trial.training, time.perf_counter()
        training, evaluation = plan.stages[first], plan.stages[trial.final.key]
        inputs = {role: opened.folder(key) for role, key in training.parents.items()}
        execute(training, RunContext(inputs, Path(made), device, lambda progress: None))
        inputs = {role: Path(made) if key == first else opened.folder(key) for role, key in evaluation.parents.items()}
        outcome = execute(evaluation, RunContext(inputs, Path(judged), device, lambda progress: None))
        return {"accuracy": outcome.values["accuracy"], "seconds": time.perf_counter() - began}


def paired(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over seeds of accuracy with the cache minus accuracy without it, in percentage points, and its 95% t
    interval.

    Args:
        runs: one for each arm of each seed: ``seed``, ``arm``, ``accuracy``.
    """
    from scipy.stats import t

    accuracy = {(run["seed"], run["arm"]): run["accuracy"] for run in runs}
    seeds = [run["seed"] for run in runs if run["arm"] == "cache" and (run["seed"], "files") in accuracy]
    differences = [accuracy[seed, "cache"] - accuracy[seed, "files"] for seed in seeds]
    paired_runs = {"seeds": seeds, "differences": differences}
    if len(seeds) < 2:
        return {**paired_runs, "difference": None, "low": None, "high": None}
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / len(seeds) ** 0.5
    half = float(t.ppf(0.975, len(seeds) - 1)) * error
    return {**paired_runs, "difference": mean, "low": mean - half, "high": mean + half}


def page(result: Mapping[str, Any]) -> list[str]:
    """The result as text."""
    task = result["task"]
    lines = [
        f"{task['backbone']}, {task['epochs']} epochs at {task['size']} px on {task['train']} photographs, judged on "
        f"{task['judged']}; the cache holds {task['stored']} px. Accuracy in percent.", "",
    ]  # fmt: skip
    runs = {(run["seed"], run["arm"]): run for run in result["runs"]}
    rows = []
    for seed in result["paired"]["seeds"]:
        ours, theirs = (runs[seed, arm] for arm in ARMS)
        rows.append((seed, f"{ours['accuracy']:.2f}", f"{theirs['accuracy']:.2f}",
                     f"{ours['accuracy'] - theirs['accuracy']:+.2f}", f"{ours['seconds']:.0f}",
                     f"{theirs['seconds']:.0f}"))  # fmt: skip
    heads = ("seed", "decoded cache", "decoded for each use", "difference, pp", "seconds", "seconds, each use")
    lines += record.table(heads, rows)
    comparison = result["paired"]
    if comparison["difference"] is not None:
        lines += ["", f"With the cache minus without it: {comparison['difference']:+.2f} pp, 95% interval "
                  f"{comparison['low']:+.2f} to {comparison['high']:+.2f} ({len(rows)} seeds, paired)."]  # fmt: skip
    return lines


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--data", type=Path, default=os.environ.get("SOTA_BENCH_DATA"), help="folder of Imagenette")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--backbone", default="test_resnet")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--val", type=int, default=3500, help="half of them judge")
    parser.add_argument("--stored", type=int, default=0, help="pixels of the cached side; 0 is what a grid would take")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args(given)
    if options.data is None:
        parser.error("name the folder of Imagenette with --data or SOTA_BENCH_DATA")
    return options


def measure(options: argparse.Namespace, folder: Path, scratch: Path) -> dict[str, Any]:
    """Runs both arms of every seed, in turns; what is there is written after each seed.

    Args:
        options: the command's.
        folder: of the images, ``train/CLASS/*`` and ``val/CLASS/*``.
        scratch: folder for the store.
    """
    store = scratch / "store"
    task = {name: getattr(options, name) for name in ("backbone", "size", "epochs", "batch")}
    file, data = scratch / "grid.toml", {"source": f"folder:{folder}", "size": options.stored}
    grid = steps.one_cell(file, range(options.seeds), data, task, lr=0.004, crop_scale=CROP_SCALE[0])
    plan, _ = make_plan(load(grid), Machine(store, options.device, 1))
    # Data stages alone: what the trainings start from. The statistics of the cached pixels normalize both arms.
    shared = [stage for stage in plan.stages.values() if stage.kind not in ("train", "evaluate")]
    steps.finish(plan, store, shared, here=True)
    choice = plan.stages[plan.trials[0].final.key].choice
    sizes = plan.images.subset(choice).sizes()
    device = plan.environment.device
    counts = {"train": sizes["train"], "judged": sizes["select"], "stored": plan.images.size}
    result: dict[str, Any] = record.provenance(device) | {"task": {**task, **counts}}
    result["runs"] = []
    for turn, trial in enumerate(plan.trials):
        for arm in ARMS if turn % 2 == 0 else ARMS[::-1]:
            run = {"seed": trial.trial.seed, "arm": arm, **trained(plan, trial, store, arm, folder)}
            result["runs"].append(run)
            print(f"seed {run['seed']}, {arm}: {run['accuracy']:.2f}% in {run['seconds']:.0f} s", file=sys.stderr)
        result["paired"] = paired(result["runs"])
        record.write(options.out, "cache_accuracy", TITLE, page(result), result)
    return result


def main() -> int:
    """Measures and prints the page."""
    options = arguments()
    if (code := steps.again_as_worker()) is not None:
        return code
    import torch

    torch.set_num_threads(cores())  # as in a worker that runs alone
    with tempfile.TemporaryDirectory(prefix="sota-bench-cache-") as scratch:
        folder = common.export(Path(options.data), Path(scratch) / "images", options.train, options.val)
        result = measure(options, folder, Path(scratch))
    print("\n".join(page(result)))
    high = result["paired"]["high"]
    return 1 if high is not None and high < 0 else 0


if __name__ == "__main__":
    sys.exit(main())
