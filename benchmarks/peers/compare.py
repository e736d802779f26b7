"""One epoch and one validation pass of the same small real task: this project compared with its peers.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/peers/compare.py --envs .venvs --out peers

Every run is a fresh process; the runners take turns, and each round begins with another one. ``fastai``, ``timm`` and
``torchvision`` run at their default settings, ``tuned`` is plain PyTorch tuned by hand, and ``sota_bench`` is ``run``
on a grid with an empty store: it scans, decodes, trains, evaluates and renders its report. The peers run in an
environment of their own, which the first call makes. All normalize with ImageNet's statistics. The seed of a round is
its number, so ``--rounds 5`` gives the accuracies of 5 seeds; ``--epochs 5 --out OTHER`` compares them after a longer
training.

Runs are appended to ``runs.jsonl`` one by one (a second call with other sizes or backbones appends to it; ``--fresh``
starts again); ``table.md`` and ``table.json`` are made from all of them, and ``--table`` makes them again without
running.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import common  # noqa: E402

OURS = "sota_bench"
PEERS = {
    "fastai": ["fastai_recipe.py"],
    "timm": ["timm_recipe.py"],
    "torchvision": ["plain.py"],
    "tuned": ["plain.py", "--tuned"],
}
TASK = "about.json"
"""File of the machine, the versions and the amounts that the runs have in common."""
PACKAGES = ("torch", "torchvision", "timm", "fastai", "pillow", "numpy")

GRID = """[grid]
name = "peer"
seeds = [{seed}]
[data]
source = "folder:{images}"
[recipe]
backbone = "{backbone}"
resize = "{size}x{epochs}"
batch_size = {batch}
lr = {lr}
weight_decay = {weight_decay}
crop_scale = {crop_scale}
normalize = "pretrained"
[factors]
tta = ["off", "flip"]
"""


def environment(folder: Path) -> Path:
    """The interpreter of the peers' environment, made with this one's versions of torch, torchvision and timm."""
    python = folder / "fastai" / "bin" / "python"
    if not (folder / "fastai" / "ready").exists():
        pinned = [f"{name}=={version(name).partition('+')[0]}" for name in ("torch", "torchvision", "timm")]
        if not python.exists():
            venv.create(folder / "fastai", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "fastai>=2.8,<3", *pinned], check=True)
        (folder / "fastai" / "ready").touch()
    return python


def versions(python: Path) -> dict[str, str]:
    """Package versions of an interpreter."""
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {PACKAGES!r}}}))"
    answer = subprocess.run([python, "-c", code], check=True, capture_output=True).stdout
    installed: dict[str, str] = json.loads(answer)
    return installed


def machine() -> dict[str, Any]:
    """The machine, with a fingerprint of it."""
    from sota_bench.plan.environment import cpu

    processor = cpu()
    described = {
        "name": processor.name, "capability": processor.capability, "bf16": processor.has_bf16,
        "cores": common.cores(), "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * 4096 / 2**30),
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    return {**described, "fingerprint": digest}


def folders(source: Path, scratch: Path, train: int, val: int) -> tuple[Path, Path]:
    """The images as an image folder for the peers, and as one for this project.

    This project keeps about half of the validation images for confirmation, so it gets twice as many; its peers get the
    half that it selects on: all are judged on the same images, and this project reads more of them.
    """
    from sota_bench.data.split import halve

    ours = common.export(source, scratch, train, 2 * val)
    theirs = scratch / f"peers-{train}-{val}"
    if not theirs.is_dir():
        import pandas as pd

        files = sorted((ours / "val").glob("*/*"))
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        splits = halve(pd.DataFrame({"label": [file.parent.name for file in files], "sha256": digests}))
        working = theirs.with_name(theirs.name + ".part")
        shutil.rmtree(working, ignore_errors=True)
        shutil.copytree(ours / "train", working / "train")
        for file, split in zip(files, splits, strict=True):
            if split == "select":
                (working / "val" / file.parent.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, working / "val" / file.parent.name)
        working.rename(theirs)
    return theirs, ours


def run_peer(python: Path, name: str, task: Mapping[str, Any], images: Path, scratch: Path) -> dict[str, Any]:
    """One run of a peer in a fresh process."""
    result = scratch / "result.json"
    result.unlink(missing_ok=True)
    options = ["--images", images, "--result", result]
    for key in ("backbone", "size", "epochs", "batch", "lr", "seed"):
        options += [f"--{key}", task[key]]
    script, *flags = PEERS[name]
    seconds = timed([python, HERE / script, *flags, *options])
    return {**json.loads(result.read_text()), "whole_s": seconds}


def run_ours(task: Mapping[str, Any], images: Path, scratch: Path) -> dict[str, Any]:
    """One run of this project's command with an empty store."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    grid = folder / "grid.toml"
    values = {"images": images, "weight_decay": common.WEIGHT_DECAY, "crop_scale": common.CROP_SCALE[0]}
    grid.write_text(GRID.format(**task, **values))
    command = [sys.executable, "-m", "sota_bench", "run", grid, "--only", "tta=off", "--workers", "1"]
    seconds = timed([*command, "--no-calibrate", "--store", folder / "store", "--out", folder / "out"])
    with (folder / "out" / "trials.csv").open() as file:
        trial = next(row for row in csv.DictReader(file) if row["status"] == "done")
    with (folder / "out" / "stages.csv").open() as file:
        stage = next(row for row in csv.DictReader(file) if row["kind"] == "train")
    shutil.rmtree(folder)
    # All steps but the first: no worker loads images ahead here, so none is left out at the end.
    steady_s = float(stage["train_s"]) - float(stage["first_step_ms"]) / 1000
    return {
        "images_per_s": (task["train"] * task["epochs"] - task["batch"]) / steady_s,
        "accuracy": float(trial["accuracy"]),
        "whole_s": seconds,
    }


def timed(command: Sequence[Any]) -> float:
    """Seconds that a command takes from start to end; its output is shown only if it fails."""
    began = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return seconds


def interval(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Mean difference of accuracies, ours minus theirs, and its 95% interval (Welch's t)."""
    from scipy import stats

    bounds = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    return statistics.mean(ours) - statistics.mean(theirs), float(bounds.low), float(bounds.high)


def table(all_runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Medians over rounds by backbone, size and runner, and this project's speed-up over each runner.

    ``rate_factor`` is this project's images per second over the runner's, ``time_factor`` the runner's seconds from
    start to result over this project's: above 1 this project is faster.
    """
    groups: dict[tuple[str, int], dict[str, list[Mapping[str, Any]]]] = {}
    for run in all_runs:
        groups.setdefault((run["backbone"], run["size"]), {}).setdefault(run["runner"], []).append(run)
    rows = []
    for (backbone, size), by_runner in sorted(groups.items()):
        ours = by_runner.get(OURS, [])
        for name in (*PEERS, OURS):
            if not (own := by_runner.get(name)):
                continue
            row: dict[str, Any] = {"backbone": backbone, "size": size, "runner": name, "runs": len(own)}
            row |= {key: median(own, key) for key in ("images_per_s", "whole_s")}
            row["accuracy"] = statistics.mean(run["accuracy"] for run in own)
            if ours and name != OURS:
                row["rate_factor"] = median(ours, "images_per_s") / row["images_per_s"]
                row["time_factor"] = row["whole_s"] / median(ours, "whole_s")
                if min(len(ours), len(own)) > 1:
                    accuracies = ([run["accuracy"] for run in runs] for runs in (ours, own))
                    row["accuracy_difference"] = interval(*accuracies)
            rows.append(row)
    return rows


def median(runs: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def markdown(rows: Sequence[Mapping[str, Any]], task: Mapping[str, Any]) -> str:
    """The table in Markdown."""
    lines = [
        "| backbone | px | runner | images/s | speed-up | start to end, s | speed-up | accuracy, % | difference, pp |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        rate, whole = (f"{row[key]:.2f}" if key in row else "" for key in ("rate_factor", "time_factor"))
        difference = ""
        if "accuracy_difference" in row:
            difference = "{:+.1f} ({:+.1f} to {:+.1f})".format(*row["accuracy_difference"])
        lines.append(
            f"| {row['backbone']} | {row['size']} | {row['runner']} | {row['images_per_s']:.0f} | {rate} "
            f"| {row['whole_s']:.1f} | {whole} | {row['accuracy']:.1f} | {difference} |"
        )
    counts = sorted({row["runs"] for row in rows})
    machine = task["machine"]
    epochs = "1 epoch" if task["epochs"] == 1 else f"{task['epochs']} epochs"
    lines += [
        "",
        f"Medians of {' to '.join(map(str, counts))} runs of {epochs} on {task['train']} training and {task['val']} "
        f"validation images. Speed-ups and differences are those of sota_bench. {machine['name']}, "
        f"{machine['capability']}{', bf16' if machine['bf16'] else ', no bf16'}, {machine['cores']} cores (machine "
        f"{machine['fingerprint']}). "
        + ", ".join(f"{name} {number}" for name, number in task["versions"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def write(out: Path) -> str:
    """Makes the tables from all runs so far."""
    runs = [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]
    task = json.loads((out / TASK).read_text())
    rows = table(runs)
    (out / "table.json").write_text(json.dumps({**task, "rows": rows}, indent=1) + "\n")
    text = markdown(rows, task)
    (out / "table.md").write_text(text)
    return text


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--envs", type=Path, default=HERE / ".venvs", help="folder of the peers' environment")
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder of the results")
    parser.add_argument("--data", type=Path, default=os.environ.get("SOTA_BENCH_DATA"), help="folder of Imagenette")
    parser.add_argument("--backbones", nargs="+", default=["resnet10t", "resnet18"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--runners", nargs="+", choices=[*PEERS, OURS], default=[*PEERS, OURS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", type=int, default=640)
    parser.add_argument("--val", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--fresh", action="store_true", help="remove the runs so far")
    parser.add_argument("--table", action="store_true", help="only make the tables again")
    options = parser.parse_args(given)
    if not options.table and options.data is None:
        parser.error("name the folder of Imagenette with --data or SOTA_BENCH_DATA")
    return options


def main() -> int:
    """Runs all runners in turns and prints the table."""
    options = arguments()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if not options.table:
        python = environment(options.envs.resolve())
        theirs, ours = folders(Path(options.data), out / "images", options.train, options.val)
        whole_task = {"machine": machine(), "versions": {**versions(python), OURS: installed()}}
        whole_task |= {"train": options.train, "val": options.val, "epochs": options.epochs}
        recorded = out / TASK
        if options.fresh or not recorded.exists() or json.loads(recorded.read_text()) != whole_task:
            (out / "runs.jsonl").unlink(missing_ok=True)  # runs on another machine or task do not belong to this table
        recorded.write_text(json.dumps(whole_task, indent=1))
        for turn in range(options.rounds):
            for backbone in options.backbones:
                for size in options.sizes:
                    first = turn % len(options.runners)
                    for name in options.runners[first:] + options.runners[:first]:
                        task = {
                            "backbone": backbone,
                            "size": size,
                            "epochs": options.epochs,
                            "seed": turn,
                            "batch": options.batch,
                            "train": options.train // options.batch * options.batch,
                            "lr": options.lr,
                        }
                        is_ours = name == OURS
                        run = run_ours(task, ours, out) if is_ours else run_peer(python, name, task, theirs, out)
                        with (out / "runs.jsonl").open("a") as file:
                            file.write(json.dumps({**task, "runner": name, **run}) + "\n")
                        rate, whole = run["images_per_s"], run["whole_s"]
                        print(
                            f"{turn + 1} {backbone} {size} {name}: {rate:.0f}/s, {whole:.1f} s",
                            file=sys.stderr,
                            flush=True,
                        )
    print(write(out), end="")
    return 0


def installed() -> str:
    try:
        return version("sota-bench")
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
