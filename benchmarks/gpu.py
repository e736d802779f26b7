"""The speed targets of this project on one data-centre GPU (H100 or H200), measured and compared in one command.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/gpu.py

- ``share``: images per second of a training stage as a share of those of the same network alone on random data in the
  GPU's memory, in turns in one process: resnet18 and resnet50 at 128 and 224 px in bf16. Target: 85%. With
  ``torch.compile`` off and on, and after how many steps compiling has paid for itself.
- ``iteration``: resnet18, five epochs of Imagenette at 128 px and the evaluation, by the engine as ``run`` does it,
  from the start of the first stage to the last result on disk. Target: 15 s. Decoding, done once for all trials, is
  reported separately.
- ``leaderboard``: ``ablations/grids/speedrun.toml`` compared with fastai's row for 128 px and 5 epochs without TTA:
  87.43%, the mean of 5. The level that wins on the select half is compared on all official validation photographs, as
  the row is; the accuracy on the test half, which took no part in choosing, is reported too. Trainings share the GPU
  (``--together``), and the winner is trained once more alone, with another seed, for its time.

Writes ``gpu.json`` and ``gpu.md`` after each part, or ``leaderboard.json`` and ``leaderboard.md`` where that is the
only one. Exit code 1 when a target is missed, 2 without a GPU. ``sharing.py`` measures how many workers a GPU feeds.
The row is an accuracy, which any device can reach: ``--parts leaderboard --device cpu --together 2`` takes an hour or
two on two cores with bf16; with ``--scratch FOLDER`` it can be interrupted, and the same command resumes.
``--device cpu --tiny`` runs the same code on drawn images in seconds, as a test and not as a measurement.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import pictures  # noqa: E402
import record  # noqa: E402
import steps  # noqa: E402

from sota_bench.grid import Grid, load  # noqa: E402
from sota_bench.plan.environment import detect  # noqa: E402
from sota_bench.plan.machine import Machine  # noqa: E402
from sota_bench.plan.make import make_plan  # noqa: E402
from sota_bench.plan.plan import Plan, TrialPlan  # noqa: E402
from sota_bench.store import Store  # noqa: E402

SHARE, ITERATION_S, ROW = 0.85, 15.0, 87.43
"""Targets: share of the network's own rate, seconds, percent."""

SPEEDRUN = HERE.parent / "ablations" / "grids" / "speedrun.toml"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        source: of the images.
        backbones, sizes, compiles: what the shares are of.
        batch: images of a step of which a share is taken.
        epochs: of a share's training; the first one warms up.
        rounds: of each share.
        iteration: backbone, size, epochs and batch of an iteration.
        seeds: of iterations.
        speedrun: overrides of the leaderboard's grid.
        together: trainings of the leaderboard at once on the device.
        alone: whether the leaderboard's winner is timed with nothing else running.
        here: whether stages run in this process instead of a worker of the engine.
    """

    source: str = "imagenette"
    backbones: tuple[str, ...] = ("resnet18", "resnet50")
    sizes: tuple[int, ...] = (128, 224)
    compiles: tuple[str, ...] = ("off", "on")
    batch: int = 256
    epochs: int = 2
    rounds: int = 3
    iteration: tuple[str, int, int, int] = ("resnet18", 128, 5, 64)
    seeds: tuple[int, ...] = (0, 1, 2)
    speedrun: tuple[str, ...] = ()
    together: int = 5
    alone: bool = True
    here: bool = False


def tiny(scratch: Path) -> Scale:
    """The same on 192 drawn images."""
    source = f"folder:{pictures.folder_of_images(scratch)}"
    speedrun = (f'data.source="{source}"', "data.size=40", 'recipe.backbone="test_resnet"', "recipe.batch_size=32",
                'recipe.precision="fp32"', 'recipe.resize="32x1"', 'factors.resize=["32x1", "16x1 32x1"]',
                "grid.seeds=[0, 1]")  # fmt: skip
    iteration = ("test_resnet", 32, 2, 32)
    return Scale(source, ("test_resnet",), (32,), ("off",), 32, 2, 2, iteration, (0,), speedrun, 2, here=True)


class Bench:
    """The measurements on one device.

    Args:
        scale: how much.
        device: ``cpu`` or ``cuda:i``.
        precision: ``bf16`` or ``fp32``.
        scratch: folder for stores.
    """

    def __init__(self, scale: Scale, device: str, precision: str, scratch: Path) -> None:
        self.scale, self.device, self.precision, self.scratch = scale, device, precision, scratch

    def _grid(self, name: str, seeds: Sequence[int], backbone: str, size: int, epochs: int, batch: int,
              compile: str = "off") -> Path:  # fmt: skip
        task = {"backbone": backbone, "size": size, "epochs": epochs, "batch": batch}
        data, more = {"source": self.scale.source}, {"precision": self.precision, "compile": compile}
        return steps.one_cell(self.scratch / f"{name}.toml", seeds, data, task, **more)

    def share(self) -> dict[str, Any]:
        """Shares of the pure rate."""
        rows = []
        for backbone in self.scale.backbones:
            for size in self.scale.sizes:
                for compile in self.scale.compiles:
                    rows.append(self._share(backbone, size, compile))
                    log(f"{backbone} {size} px, compile {compile}: {rows[-1]['share']:.1%}")
        shares = [row["share"] for row in rows if row["compile"] == "off"]
        return {"rows": rows, "pays": pays(rows), "target": SHARE, "reached": min(shares) >= SHARE}

    def _share(self, backbone: str, size: int, compile: str) -> dict[str, Any]:
        from sota_bench.training import device as devices

        scale = self.scale
        grid = self._grid("share", [0], backbone, size, scale.epochs, scale.batch, compile)
        training = steps.first_training(grid, self.scratch / "share", self.device, scale.here)
        import torch

        rounds, on = [], torch.device(self.device)
        torch.compiler.reset()  # so that the first round compiles; the later ones find what it made

        def alone(count: int, search: bool) -> float:
            seconds = steps.pure_steps(training.settings, size, scale.batch, count, self.device, search)
            return scale.batch / statistics.fmean(seconds)

        for _ in range(scale.rounds):
            moments, outcome = training.run()
            rate, count = training.rate(moments), len(moments) // scale.epochs
            devices.reset_peak_memory(on)
            pure, searched = (alone(len(moments) - count, search) for search in (False, True))
            rounds.append({
                "images_per_s": rate, "pure_images_per_s": pure, "searched_images_per_s": searched,
                "compile_s": outcome.seconds["compile"], "peak_memory_mb": outcome.peak_memory_mb,
                "pure_peak_memory_mb": devices.peak_memory_mb(on),
                "gpu_processes": outcome.values.get("gpu_processes"), "accumulated": "accumulated" in outcome.values,
            })  # fmt: skip
        task = {"backbone": backbone, "size": size, "compile": compile, "batch": scale.batch,
                 "precision": training.settings["precision"], "layout": training.settings["layout"]}  # fmt: skip
        names = ("images_per_s", "pure_images_per_s", "searched_images_per_s", "peak_memory_mb")
        middle = {name: statistics.median(row[name] for row in rounds) for name in names}
        share = statistics.median(row["images_per_s"] / row["pure_images_per_s"] for row in rounds)
        return {**task, **middle, "share": share, "compile_s": rounds[0]["compile_s"], "rounds": rounds}

    def iteration(self) -> dict[str, Any]:
        """Seconds of whole iterations."""
        backbone, size, epochs, batch = self.scale.iteration
        store = self.scratch / "iteration"
        plan, _ = make_plan(load(self._grid("iteration", self.scale.seeds, backbone, size, epochs, batch)),
                            Machine(store, self.device, 1))  # fmt: skip
        spent = steps.finish(plan, store, list(plan.stages.values()), self.scale.here)
        rows = [{"seed": trial.trial.seed, **cost(plan, trial, spent, store)} for trial in plan.trials]
        worst = max(row["seconds"] for row in rows)
        task = {"backbone": backbone, "size": size, "epochs": epochs, "batch": batch, "compile": "off",
                 "precision": self.precision}  # fmt: skip
        decode_s = next(spent[key] for key, stage in plan.stages.items() if stage.kind == "prepare")
        return {**task, "rows": rows, "decode_s": decode_s, "target": ITERATION_S, "reached": worst < ITERATION_S}

    def leaderboard(self) -> dict[str, Any]:
        """The recipe compared with fastai's row."""
        grid, together = load(SPEEDRUN, self.scale.speedrun), self.scale.together
        store, here = self.scratch / "leaderboard", self.scale.here
        machine = Machine(store, self.device, together)
        plans = {split: make_plan(grid, machine, split=split)[0] for split in ("select", "test")}
        stages = plans["select"].stages | plans["test"].stages  # the trainings are the same

        def log_stage(key: str) -> None:
            log(f"{time.strftime('%H:%M:%S')} done: {stages[key].title}")

        spent = steps.finish(plans["select"], store, list(stages.values()), here, together, log_stage)
        trials = [trial_of(plans, index, spent, store) for index in range(len(plans["select"].trials))]
        board = {**judged(grid, trials), "target": ROW, "together": together}
        if not self.scale.alone:
            return board
        more = load(SPEEDRUN, (*self.scale.speedrun, f"grid.seeds=[{1 + max(grid.seeds)}]"))
        plan, _ = make_plan(more, Machine(store, self.device, 1))
        best = next(trial for trial in plan.trials if trial.trial.cell.id == board["best"]["cell"])
        needed = {*best.training, best.final.key}
        spent |= steps.finish(plan, store, [stage for key, stage in plan.stages.items() if key in needed], here)
        return {**board, "alone": cost(plan, best, spent, store)}


def cost(plan: Plan, trial: TrialPlan, spent: dict[str, float], store: Path) -> dict[str, Any]:
    """Seconds of a trial's own training and evaluation, from the start of each stage to its result on disk; a worker's
    first stage includes imports. Statistics of the data belong to it, decoding does not. A stage that ran before an
    interruption counts with the seconds in its result."""
    opened = Store(store)

    def seconds(key: str) -> float:
        return spent[key] if key in spent else sum(opened.result(key).seconds.values())

    keys = {"training_s": trial.training, "evaluation_s": (trial.final.key,), "statistics_s": trial.computed}
    costs: dict[str, Any] = {name: sum(map(seconds, stages)) for name, stages in keys.items()}
    results = [opened.result(key) for key in trial.training]
    costs["compile_s"] = sum(result.seconds["compile"] for result in results)
    costs["peak_memory_mb"] = max(result.peak_memory_mb for result in results)
    return {"seconds": sum(costs[name] for name in keys), **costs}


def trial_of(plans: dict[str, Plan], index: int, spent: dict[str, float], store: Path) -> dict[str, Any]:
    """One trial's accuracy on each half of the validation images and on both together, and its cost."""
    opened, accuracies, correct, count = Store(store), dict[str, float](), 0.0, 0
    for split, plan in plans.items():
        stage = plan.stages[plan.trials[index].final.key]
        images = plan.images.subset(stage.choice).sizes()[split]
        accuracies[split] = opened.result(stage.key).values["accuracy"]
        correct, count = correct + accuracies[split] * images, count + images
    plan = plans["select"]
    trial = plan.trials[index]
    identity = {"cell": trial.trial.cell.id, **trial.trial.cell.text, "seed": trial.trial.seed}
    return {**identity, **accuracies, "accuracy": correct / count, "images": count, **cost(plan, trial, spent, store)}


def judged(grid: Grid, trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Cells with their means and the 95% t interval of the mean over seeds; the winner on the select half, compared
    with the row."""
    from scipy.stats import t

    rows = []
    for name in dict.fromkeys(trial["cell"] for trial in trials):
        mine = [trial for trial in trials if trial["cell"] == name]
        accuracy = [trial["accuracy"] for trial in mine]
        half = t.ppf(0.975, len(mine) - 1) * statistics.stdev(accuracy) / math.sqrt(len(mine))
        means = {part: statistics.fmean(trial[part] for trial in mine) for part in ("select", "test", "accuracy")}
        levels = {factor: mine[0][factor] for factor in grid.factors}
        rows.append({"cell": name, **levels, **means, "half_width": half, "seeds": len(mine),
                     "seconds": statistics.median(trial["seconds"] for trial in mine)})  # fmt: skip
    best = max(rows, key=lambda row: row["select"])
    return {"rows": rows, "best": best, "trials": list(trials), "reached": best["accuracy"] >= ROW}


def pays(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """After how many steps the compilation of each network at each size has paid for itself; see ``steps.pays``."""
    compiled = {(row["backbone"], row["size"]): row for row in rows if row["compile"] == "on"}
    compared = []
    for off in rows:
        on = compiled.get((off["backbone"], off["size"]))
        if off["compile"] == "off" and on:
            saved_ms, count = steps.pays(off["images_per_s"], on["images_per_s"], on["compile_s"], off["batch"])
            compared.append({"backbone": off["backbone"], "size": off["size"], "compile_s": on["compile_s"],
                          "saved_ms": saved_ms, "steps": count})  # fmt: skip
    return compared


def page(result: dict[str, Any]) -> list[str]:
    """The parts as lines of Markdown."""
    lines: list[str] = []
    if share := result.get("share"):
        lines += [
            "## Training rate as a share of the network's own",
            "",
            f"Target: {SHARE:.0%}, without torch.compile.",
            "",
        ]
        heads = ("backbone", "compile", "px", "batch", "images/s", "network alone", "share", "alone, cuDNN searching",
                 "compile s", "peak MB")  # fmt: skip
        lines += record.table(heads, [
            (row["backbone"], row["compile"], row["size"], row["batch"], f"{row['images_per_s']:.0f}",
             f"{row['pure_images_per_s']:.0f}", f"{row['share']:.1%}", f"{row['searched_images_per_s']:.0f}",
             f"{row['compile_s']:.1f}", f"{row['peak_memory_mb']:.0f}") for row in share["rows"]
        ])  # fmt: skip
        for row in share["pays"]:
            after = f"after {row['steps']:,} steps" if row["steps"] else "never: a compiled step is not faster"
            lines += ["", f"Compiling {row['backbone']} at {row['size']} px ({row['compile_s']:.0f} s) pays {after}."]
        lines += ["", verdict(share), ""]
    if task := result.get("iteration"):
        lines += [f"## {task['backbone']}, {task['epochs']} epochs at {task['size']} px with its evaluation", ""]
        lines += [f"Target: {ITERATION_S:g} s in every trial. Batch {task['batch']}, {task['precision']}, compile off. "
                  f"Decoding, once for all trials: {task['decode_s']:.1f} s.", ""]  # fmt: skip
        heads = ("seed", "seconds", "training", "evaluation", "statistics", "peak MB")
        names = ("seconds", "training_s", "evaluation_s", "statistics_s")
        lines += record.table(heads, [
            (row["seed"], *(f"{row[name]:.1f}" for name in names), f"{row['peak_memory_mb']:.0f}")
            for row in task["rows"]
        ])  # fmt: skip
        lines += ["", verdict(task), ""]
    if board := result.get("leaderboard"):
        lines += ["## fastai's row: 128 px, 5 epochs, no TTA", "", f"Target: {ROW}% on all validation images.", ""]
        heads = ("resize", "seeds", "accuracy, %", "95% interval of the mean", "test half, %",
                 f"seconds, {board['together']} at once")  # fmt: skip
        lines += record.table(heads, [
            (row["resize"], row["seeds"], f"{row['accuracy']:.2f}", f"± {row['half_width']:.2f}", f"{row['test']:.2f}",
             f"{row['seconds']:.1f}") for row in board["rows"]
        ])  # fmt: skip
        if "alone" in board:
            lines += ["", f"One iteration of the best row alone: {board['alone']['seconds']:.1f} s."]
        lines += ["", verdict(board), ""]
    return lines


def verdict(part: dict[str, Any]) -> str:
    """Whether a target is met; on drawn images there is none."""
    return "" if part["reached"] is None else "Met." if part["reached"] else "**Missed.**"


def log(line: str) -> None:
    """Prints a line of progress to standard error."""
    print(line, file=sys.stderr, flush=True)


def main(given: Sequence[str] | None = None) -> int:
    """Measures the parts that are given."""
    parts: dict[str, Callable[[Bench], dict[str, Any]]] = {
        "share": Bench.share, "iteration": Bench.iteration, "leaderboard": Bench.leaderboard
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--compile", nargs="+", choices=("off", "on"), default=["off", "on"], help="of the shares")
    parser.add_argument("--together", type=int, default=5, help="trainings of the leaderboard at once")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override of its grid")
    parser.add_argument("--device", default="cuda:0", help="cuda:i, or cpu with --parts leaderboard or --tiny")
    parser.add_argument("--tiny", action="store_true", help="the same code on drawn images, in seconds")
    parser.add_argument("--scratch", type=Path, help="folder that keeps the leaderboard's results")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    options = parser.parse_args(given)
    environment = detect(options.device, 1)
    board, on_cpu = options.parts == ["leaderboard"], environment.device == "cpu"
    if on_cpu and not (board or options.tiny):
        parser.error("times are a GPU's; a CPU works with --parts leaderboard, or with --tiny")
    if options.scratch and not (board and on_cpu):
        parser.error("times are measured from nothing; --scratch is for --parts leaderboard on a CPU")
    result: dict[str, Any] = {**record.provenance(environment.device), "tiny": options.tiny}
    name, title = ("leaderboard", "fastai's row") if board else ("gpu", "Speed on one GPU")
    if options.tiny:
        title = "A test of gpu.py on drawn images, not a measurement"
    with tempfile.TemporaryDirectory(prefix="sota-bench-gpu-") as folder, steps.nothing_compiled(Path(folder)):
        full = Scale(compiles=tuple(options.compile), together=options.together, speedrun=tuple(options.set),
                     alone=not on_cpu)  # fmt: skip
        scale = tiny(Path(folder)) if options.tiny else full
        scratch = options.scratch or Path(folder)
        bench = Bench(scale, environment.device, "fp32" if options.tiny else "bf16", scratch)
        text = ""
        for part in options.parts:
            result[part] = parts[part](bench) | ({"reached": None} if options.tiny else {})
            text = record.write(options.out, name, title, page(result), result)
    print(text)
    return 1 if any(result[part]["reached"] is False for part in options.parts) else 0


if __name__ == "__main__":
    from sota_bench.errors import UserError

    try:
        sys.exit(main())
    except UserError as error:
        log(str(error))
        sys.exit(2)
