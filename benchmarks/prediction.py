"""Are the minutes of a grid foretold? Predicted against measured for every trial of a grid, and what calibrating takes.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/prediction.py

Plans a grid in a new store, which calibrates it, plans it once more, which does not, and runs it. The difference of the
two plans is the calibration; the rest is read from the run's own ``trials.csv`` and ``run.json``. By default the grid
is ``ablations/grids/quick-imagenette.toml`` with one seed: a second one calibrates nothing new. Minutes are predicted
for the machine as it was while it calibrated, so nothing else should run. Writes ``prediction.json`` and
``prediction.md``. Exit code 1 when a target is missed.

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
    """Seconds that a command of ``sota_bench`` takes; one that fails ends the measurement."""
    began = time.perf_counter()
    code = subprocess.run([sys.executable, "-m", "sota_bench", *arguments], stdout=subprocess.DEVNULL).returncode
    if code:
        sys.exit(f"{arguments[0]} ended with exit code {code}; its reason stands above")
    return time.perf_counter() - began


def measure(grid: Path, options: Sequence[str], scratch: Path) -> dict[str, Any]:
    """Plans twice and runs.

    Args:
        grid: its file.
        options: further ones of ``plan`` and ``run``.
        scratch: folder for the store and the report.
    """
    asked = [str(grid), "--store", str(scratch / "store"), "--out", str(scratch / "out"), *options]
    calibration_s = command("plan", *asked) - command("plan", *asked)
    command("run", *asked)
    run = json.loads((scratch / "out" / "run.json").read_text(encoding="utf-8"))
    with (scratch / "out" / "trials.csv").open(encoding="utf-8", newline="") as file:
        trials = [
            {"trial": row["trial"], **{name: float(row[name]) for name in ("predicted_minutes", "minutes")}}
            for row in csv.DictReader(file)
            if row["status"] == "done" and row["predicted_minutes"]
        ]
    whole = {name: run[name]["run_minutes"] for name in ("predicted", "measured")}
    if None in whole.values():
        sys.exit("a stage of the grid could not be predicted; its reason stands above")
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


def page(found: Mapping[str, Any]) -> list[str]:
    """The result as text."""
    rows = [
        ("median error of an iteration's minutes", f"{100 * found['median_error']:.1f}%", f"{100 * MOST_ERROR:.0f}%"),
        ("calibration", f"{found['calibration_s']:.0f} s", f"{MOST_CALIBRATION_S:.0f} s"),
    ]
    whole, waited = found["run_minutes"], found["cpu_wait"]
    busy = "" if waited is None else f" Other work held the processors {100 * waited:.0f}% of the training time."
    return [
        *record.table(("", "measured", "less than"), rows),
        "",
        f"{len(found['trials'])} trials of {found['grid']}; the largest error is {100 * found['largest_error']:.0f}%. "
        f"The whole run: {whole['predicted']:.1f} minutes predicted, {whole['measured']:.1f} measured.{busy}",
    ]


def main(given: Sequence[str] | None = None) -> int:
    """Measures one grid and prints the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--grid", type=Path, default=GRID)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of run; repeatable")
    options = parser.parse_args(given)
    asked = ["--device", options.device, "--seeds", options.seeds]
    asked += [word for one in options.set for word in ("--set", one)]
    with tempfile.TemporaryDirectory(prefix="sota-bench-prediction-") as scratch:
        measured = measure(options.grid, asked, Path(scratch))
    found = {**record.about(detect(options.device, 1).device), **measured}
    print(record.write(options.out, "prediction", "Minutes predicted and measured", page(found), found))
    return int(found["median_error"] >= MOST_ERROR or found["calibration_s"] >= MOST_CALIBRATION_S)


if __name__ == "__main__":
    sys.exit(main())
