"""How exact are predicted minutes? Predicted and measured minutes of every trial of a grid, and the time of
calibration.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/prediction.py

Plans a grid in a new store, which calibrates it, plans it once more, which does not, and runs it. The difference of the
two plans is the calibration; everything else is read from the run's ``trials.csv`` and ``run.json``. By default the
grid is ``ablations/grids/quick-imagenette.toml`` with one seed, since further seeds need no calibration of their own.
Minutes are predicted for the machine as it was during calibration, so nothing else should run. Writes
``prediction.json`` and ``prediction.md``. Exit code 1 when a target is missed.

Targets: a median error under 15% of the measured minutes, and a calibration under 60 s.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import record  # noqa: E402

from sota_bench.plan.environment import detect  # noqa: E402

GRID = HERE.parent / "ablations" / "grids" / "quick-imagenette.toml"
MOST_ERROR, MOST_CALIBRATION_S = 0.15, 60.0


def command(*arguments: str) -> float:
    """Seconds that a command of ``sota_bench`` takes.

    Raises:
        SystemExit: it fails.
    """
    began = time.perf_counter()
    code = subprocess.run([sys.executable, "-m", "sota_bench", *arguments], stdout=subprocess.DEVNULL).returncode
    if code:
        sys.exit(f"{arguments[0]} ended with exit code {code}; see the lines above")
    return time.perf_counter() - began


def measure(grid: Path, options: Sequence[str], scratch: Path) -> dict[str, Any]:
    """Plans a grid twice, runs it, and returns what was predicted and measured.

    Args:
        grid: its file.
        options: further options of ``plan`` and ``run``.
        scratch: folder for the store and the report.
    """
    arguments = [str(grid), "--store", str(scratch / "store"), "--out", str(scratch / "out"), *options]
    calibration_s = command("plan", *arguments) - command("plan", *arguments)
    command("run", *arguments)
    run = json.loads((scratch / "out" / "run.json").read_text(encoding="utf-8"))
    with (scratch / "out" / "trials.csv").open(encoding="utf-8", newline="") as file:
        trials = [
            {"trial": row["trial"], **{name: float(row[name]) for name in ("predicted_minutes", "minutes")}}
            for row in csv.DictReader(file)
            if row["status"] == "done" and row["predicted_minutes"]
        ]
    whole = {name: run[name]["run_minutes"] for name in ("predicted", "measured")}
    if None in whole.values():
        sys.exit("a stage of the grid could not be predicted; see the lines above")
    errors = [abs(row["predicted_minutes"] / row["minutes"] - 1) for row in trials]
    return {
        "grid": grid.name,
        "calibration_s": calibration_s,
        "median_error": statistics.median(errors),
        "largest_error": max(errors),
        "run_minutes": whole,
        "cpu_wait": run["cpu_wait"],
        "trials": trials,
    }


def page(result: Mapping[str, Any]) -> list[str]:
    """The result as lines of Markdown."""
    rows = [
        ("median error of an iteration's minutes", f"{100 * result['median_error']:.1f}%", f"{100 * MOST_ERROR:.0f}%"),
        ("calibration", f"{result['calibration_s']:.0f} s", f"{MOST_CALIBRATION_S:.0f} s"),
    ]
    whole, wait = result["run_minutes"], result["cpu_wait"]
    busy = "" if wait is None else f" The CPU was busy with other work for {100 * wait:.0f}% of the training time."
    return [
        *record.table(("", "measured", "target: below"), rows),
        "",
        f"{len(result['trials'])} trials of {result['grid']}; the largest error is "
        f"{100 * result['largest_error']:.0f}%. The whole run: {whole['predicted']:.1f} minutes predicted, "
        f"{whole['measured']:.1f} measured.{busy}",
    ]


def main(given: Sequence[str] | None = None) -> int:
    """Measures one grid and prints the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--grid", type=Path, default=GRID)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in run; repeatable")
    options = parser.parse_args(given)
    arguments = ["--device", options.device, "--seeds", options.seeds]
    arguments += [word for override in options.set for word in ("--set", override)]
    with tempfile.TemporaryDirectory(prefix="sota-bench-prediction-") as scratch:
        measured = measure(options.grid, arguments, Path(scratch))
    result = {**record.provenance(detect(options.device, 1).device), **measured}
    print(record.write(options.out, "prediction", "Minutes predicted and measured", page(result), result))
    return int(result["median_error"] >= MOST_ERROR or result["calibration_s"] >= MOST_CALIBRATION_S)


if __name__ == "__main__":
    sys.exit(main())
