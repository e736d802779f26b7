"""A whole grid run by this project, compared with a loop that starts a fresh process for each cell and seed.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/peers/whole_grid.py --envs .venvs --out peers --sample 24

The grid: normalization 2 x Mixup 3 x resizing 3 x mitigation 5 x TTA 2, mitigations only where the resolution rises, 2
seeds. The loop runs ``plain.py --tuned``, plain PyTorch tuned by hand, which implements the same techniques; a second,
faster loop starts one process for both levels of TTA. With ``--sample N`` a random N processes of each loop are timed,
half before and half after this project's run, and the time of all is estimated with its 95% interval; 0 times all.

Writes ``grid.md`` and ``grid.json``.

With ``--decision`` it times something else: the minutes until the five questions of a smaller grid (two levels of each
factor) are decided by a run that goes on until then, beside a loop that trains every cell with as many seeds as a fixed
design takes to find ``--delta`` as often (``until_decided`` in the run's ``run.json``). This writes ``decision.md`` and
``decision.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import common
import compare

GRID = """[grid]
name = "whole-grid"
seeds = [0, 1]
[data]
source = "folder:{images}"
[recipe]
backbone = "{backbone}"
ewc_fisher = "empirical"
weight_decay = {weight_decay}
[factors]
normalize = ["dataset", "none"]
mixup = [0.0, 0.2, 0.4]
resize = ["64x3", "32x2 64x1", "48x2 64x1"]
mitigation = ["none", "freeze", "discriminative", "ewc", "low-lr"]
tta = ["off", "flip"]
"""
DECISION = """[grid]
name = "decision"
seeds = [0, 1, 2]
smallest_effect = {delta}
stop = "decided"
[data]
source = "folder:{images}"
[recipe]
backbone = "{backbone}"
weight_decay = {weight_decay}
[factors]
normalize = ["dataset", "none"]
mixup = [0.0, 0.2]
resize = ["64x3", "32x2 64x1"]
mitigation = ["none", "low-lr"]
tta = ["off", "flip"]
"""
FACTORS = ("normalize", "mixup", "resize", "mitigation")


def grid_text(images: Path, backbone: str, delta: float | None) -> str:
    """The grid file: the smaller one where there is a smallest effect of interest to decide about."""
    values = {"images": images, "backbone": backbone, "weight_decay": common.WEIGHT_DECAY}
    return GRID.format(**values) if delta is None else DECISION.format(**values, delta=delta)


def run_ours(text: str, scratch: Path) -> tuple[float, list[dict[str, str]], dict[str, Any]]:
    """Seconds of this project's run with an empty store, its finished trials, and its record."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    grid = folder / "grid.toml"
    grid.write_text(text)
    command = [sys.executable, "-m", "sota_bench", "run", grid, "--no-calibrate"]
    seconds = compare.timed([*command, "--store", folder / "store", "--out", folder / "out"])
    with (folder / "out" / "trials.csv").open() as file:
        trials = [row for row in csv.DictReader(file) if row["status"] == "done"]
    record: dict[str, Any] = json.loads((folder / "out" / "run.json").read_text())
    shutil.rmtree(folder)
    return seconds, trials, record


def trials_of(text: str, scratch: Path) -> list[dict[str, str]]:
    """The applicable trials of the grid with its own seeds, without running them."""
    from sota_bench.grid import load
    from sota_bench.grid.resize_schedule import parse_schedule

    file = scratch / "whole-grid.toml"
    file.write_text(text)
    rows = [{**trial.cell.text, "seed": str(trial.seed)} for trial in load(file).trials()]
    return [row for row in rows if row["mitigation"] == "none" or len(parse_schedule(row["resize"])) > 1]


def cell_command(python: Path, trial: Mapping[str, str], images: Path, backbone: str, result: Path) -> list[Any]:
    """The command of one cell of the loop."""
    options: list[Any] = ["--images", images, "--result", result, "--backbone", backbone, "--seed", trial["seed"]]
    for name in (*FACTORS, "tta"):
        options += [f"--{name}", trial[name]]
    return [python, compare.HERE / "plain.py", "--tuned", *options]


def estimate(seconds: Sequence[float], total: int) -> tuple[float, float, float]:
    """Seconds of all ``total`` processes from a random sample of them, and its 95% interval (Student's t, with the
    correction for a finite population)."""
    mean, count = statistics.mean(seconds), len(seconds)
    if count >= total or count < 2:
        return mean * total, mean * total, mean * total
    from scipy.stats import t

    half = t.ppf(0.975, count - 1) * statistics.stdev(seconds) / count**0.5 * (1 - count / total) ** 0.5
    return mean * total, float((mean - half) * total), float((mean + half) * total)


def decision_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a run until it is decided says of its questions, and the seeds of the fixed design beside it.

    Raises:
        SystemExit: the fixed design is not known, so there is nothing to compare with.
    """
    stopped, last = record["until_decided"], record["looks"][-1]
    fixed = [question["fixed_seeds"] for question in stopped["questions"]]
    if None in fixed:
        raise SystemExit("the fixed design is not known for every question; use a larger --delta")
    return {
        "questions": len(last["questions"]), "decided": len(last["questions"]) - len(last["undecided"]),
        "looks": len(record["looks"]), "trainings": stopped["trainings"], "fixed_seeds": max(fixed),
        "fixed_trainings": stopped["fixed_trainings"], "delta": record["grid"]["smallest_effect"],
    }  # fmt: skip


def markdown(ours_s: float, loops: Mapping[str, Mapping[str, Any]], task: Mapping[str, Any]) -> str:
    """The table in Markdown."""
    lines = ["| | minutes | speed-up of sota_bench |", "| --- | --- | --- |"]
    lines.append(f"| sota_bench run, one command | {ours_s / 60:.1f} | |")
    for name, loop in loops.items():
        middle, low, high = (value / 60 for value in loop["estimate_s"])
        timed = f"{loop['timed']} of {loop['processes']} processes timed"
        lines.append(f"| {name} ({timed}) | {middle:.1f} ({low:.1f} to {high:.1f}) | {60 * middle / ours_s:.1f} |")
    machine = task["machine"]
    lines += [
        "",
        f"{task['trials']} trials, {task['train']} training and {task['val']} judging images, {task['backbone']}. "
        f"{machine['name']}, "
        f"{machine['capability']}{', bf16' if machine['bf16'] else ', no bf16'}, {machine['cores']} cores.",
    ]
    return "\n".join(lines) + "\n"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--envs", type=Path, default=compare.HERE / ".venvs", help="folder of the peers' environment")
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder of the results")
    parser.add_argument("--data", type=Path, default=os.environ.get("SOTA_BENCH_DATA"), help="folder of Imagenette")
    parser.add_argument(
        "--backbone", default="test_resnet", help="a tiny one: the larger it is, the more its own computation dominates"
    )
    parser.add_argument("--train", type=int, default=256)
    parser.add_argument("--val", type=int, default=100)
    parser.add_argument("--decision", action="store_true", help="time the way to a decision instead of a whole grid")
    parser.add_argument("--delta", type=float, default=5.0, help="with --decision: smallest effect, in points")
    parser.add_argument("--sample", type=int, default=0, help="processes of each loop that are timed; 0 for all")
    options = parser.parse_args(given)
    if options.data is None:
        parser.error("name the folder of Imagenette with --data or SOTA_BENCH_DATA")
    return options


def main() -> int:
    """Times the run and the loops and prints the table."""
    options = arguments()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    python = compare.environment(options.envs.resolve())
    theirs, ours = compare.folders(Path(options.data), out / "images", options.train, options.val)
    text = grid_text(ours, options.backbone, options.delta if options.decision else None)
    trials = trials_of(text, out)
    both = [{**trial, "tta": "both"} for trial in trials if trial["tta"] == "off"]
    loops: dict[str, dict[str, Any]] = {
        "a process for each trial": {"trials": trials},
        "a process for both levels of TTA": {"trials": both},
    }
    for loop in loops.values():
        count = min(options.sample or len(loop["trials"]), len(loop["trials"]))
        loop["chosen"] = random.Random(0).sample(loop["trials"], count)
        loop["seconds"] = []

    def run_loops(half: int) -> None:
        for name, loop in loops.items():
            for trial in loop["chosen"][half::2]:
                command = cell_command(python, trial, theirs, options.backbone, out / "cell.json")
                loop["seconds"].append(compare.timed(command))
                print(f"{name}: {loop['seconds'][-1]:.1f} s", file=sys.stderr, flush=True)

    run_loops(0)
    ours_s, done, record = run_ours(text, out)
    print(f"sota_bench: {ours_s:.1f} s", file=sys.stderr, flush=True)
    if not options.decision and len(done) != len(trials):
        raise SystemExit(f"{len(done)} of {len(trials)} trials were done")
    run_loops(1)
    seeds = len({trial["seed"] for trial in trials})
    decision = decision_of(record) if options.decision else None
    fixed = seeds if decision is None else decision["fixed_seeds"]
    results = {
        name: {
            "processes": len(loop["trials"]) // seeds * fixed, "timed": len(loop["seconds"]),
            "seconds": loop["seconds"], "estimate_s": estimate(loop["seconds"], len(loop["trials"]) // seeds * fixed),
        }
        for name, loop in loops.items()
    }  # fmt: skip
    count = len(trials) // seeds * fixed
    images = {"train": options.train, "val": options.val}
    task = {"machine": compare.machine(), "trials": count, **images, "backbone": options.backbone}
    content = {**task, "ours_s": ours_s, "loops": results, **({"decision": decision} if decision else {})}
    name = "decision" if decision else "grid"
    (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    table = markdown(ours_s, results, task)
    if decision:
        table += (
            f"\n{decision['decided']} of {decision['questions']} questions were decided with {decision['trainings']} "
            f"trainings; the loops train {fixed} seeds of every cell, which find {options.delta:g} pp as often.\n"
        )
    (out / f"{name}.md").write_text(table)
    print(table, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
