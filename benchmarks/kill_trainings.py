"""Kills real trainings at random, again and again: the same command ends with the same bits as an undisturbed run.

``python benchmarks/kill_trainings.py`` runs a small grid on the embedded images twice. The second time the command, one
of its workers or both are killed with SIGKILL 50 times at random moments, and the same command is started again each
time; checkpoints inside a phase are written every half second. At the end every number of ``trials.csv`` that is not a
time, and every weight and prediction in the store, must be the same.

Prints one JSON object; exit code 1 when anything differs, when there is nothing to compare, or when no kill happened
inside a phase. About 10 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from processes import kill_a_worker
from safetensors.numpy import load_file

GRID = """
[grid]
name = "killed"
seeds = [0, 1, 2, 3, 4, 5, 6, 7]
[recipe]
backbone = "test_resnet"
resize = "24x2 32x4"
batch_size = 32
fraction = 0.5
eval_images = 200
[factors]
mixup = [0.0, 0.2]
mitigation = ["none", "ewc", "mixed-sizes"]
tta = ["off", "flip"]
"""
NUMBERS = ["accuracy", "nll", "ece", "brier", "confidence"]
DIFFERENCES = ("trials that differ", "trials not done", "stages that only one has", "files that differ")


def command(folder: Path) -> subprocess.Popen[bytes]:
    """The command, in a session of its own."""
    options = ["--no-calibrate", "--workers", "2", "--checkpoint-minutes", "0.01"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sota_bench", "run", "grid.toml", *options],
            cwd=folder, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def disturb(folder: Path, kills: int, longest_s: float, generator: np.random.Generator) -> dict[str, int]:
    """Starts the command and kills it, or one of its workers, or both, a number of times."""
    counts = {"commands killed": 0, "workers killed": 0, "in the middle of a phase": 0, "ended before": 0}
    for number in range(kills):
        running = command(folder)
        time.sleep(float(generator.uniform(1.0, longest_s)))
        if generator.random() < 0.5 and kill_a_worker(running.pid, generator):
            counts["workers killed"] += 1
            time.sleep(float(generator.uniform(0.0, 1.0)))
        counts["in the middle of a phase"] += inside_a_phase(folder)
        counts["ended before" if running.poll() is not None else "commands killed"] += 1
        running.kill()
        running.wait()
        print(f"{number + 1} of {kills}", end="\r", file=sys.stderr, flush=True)
    return counts


def finish(folder: Path) -> tuple[int, float]:
    """Runs the command undisturbed: its exit code, and seconds until the first checkpoint inside a phase, before which
    a kill tests nothing; imports take seconds on a slow machine."""
    running, began, reached = command(folder), time.monotonic(), 0.0
    while running.poll() is None:
        if not reached and inside_a_phase(folder):
            reached = time.monotonic() - began
        time.sleep(0.05)
    return running.returncode, reached


def inside_a_phase(folder: Path) -> bool:
    """Whether a training has a checkpoint inside a phase."""
    return any((folder / ".sota_bench" / "work").glob("*/partial.json"))


def differences(alone: Path, killed: Path) -> dict[str, int]:
    """How two finished runs of the grid differ, as counts."""
    tables = [
        pd.read_csv(folder / "reports" / "killed" / "trials.csv").set_index("trial") for folder in (alone, killed)
    ]
    columns = [name for name in NUMBERS if name in tables[0]]
    different = (tables[0][columns].fillna(-1) != tables[1][columns].fillna(-1)).any(axis=1)
    folders = [{path.name: path for path in (f / ".sota_bench" / "artifacts").glob("*/*")} for f in (alone, killed)]
    arrays = 0
    for key in folders[0].keys() & folders[1].keys():
        for file in folders[0][key].rglob("*.safetensors"):
            mine, theirs = load_file(file), load_file(folders[1][key] / file.relative_to(folders[0][key]))
            arrays += mine.keys() != theirs.keys() or any(not np.array_equal(mine[name], theirs[name]) for name in mine)
        for file in folders[0][key].rglob("*.npz"):
            with np.load(file) as mine, np.load(folders[1][key] / file.relative_to(folders[0][key])) as theirs:
                arrays += any(not np.array_equal(mine[name], theirs[name]) for name in mine.files)
    not_done = sum((~table["status"].isin(["done", "not_applicable"])).sum() for table in tables)
    only_one = len(folders[0].keys() ^ folders[1].keys())
    return dict(zip(DIFFERENCES, (int(different.sum()), int(not_done), only_one, int(arrays)), strict=True))


def passed(report: Mapping[str, Any]) -> bool:
    """Whether both runs ended and are the same, and the comparison tested something."""
    ended = report["exit code left alone"] == report["exit code in the end"] == 0
    tested = report["files compared"] > 0 and report["in the middle of a phase"] > 0
    return ended and tested and not any(report[name] for name in DIFFERENCES)


def main() -> int:
    """Runs both and prints the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument(
        "--longest", type=float, default=6.0, help="seconds that the command trains at most before it is killed"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        alone, killed = Path(scratch) / "alone", Path(scratch) / "killed"
        for folder in (alone, killed):
            folder.mkdir()
            (folder / "grid.toml").write_text(GRID)
        code, reached = finish(alone)
        report: dict[str, Any] = {"seed": options.seed, "exit code left alone": code}
        report |= disturb(killed, options.kills, reached + options.longest, np.random.default_rng(options.seed))
        last = command(killed)
        report["exit code in the end"] = last.wait()
        report["files compared"] = len(list(alone.glob(".sota_bench/artifacts/*/**/*.safetensors")))
        report |= differences(alone, killed)
    report["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(json.dumps(report, indent=2))
    return int(not passed(report))


if __name__ == "__main__":
    sys.exit(main())
