"""Does the processor's arithmetic move the accuracy? The quick start in bf16, in fp32, and without AVX-512.

``python benchmarks/numerics.py`` trains cells of the quick start with the same seeds under each arithmetic, in
processes and stores of their own, and writes ``benchmarks/results/numerics.json`` and ``.md``: for each cell the mean
accuracy, and for each arithmetic the difference of its mean over all cells from that of the first one, with a 95% t
interval over seeds, which pair the trainings. It is the evidence for the margin of `verify --reference`: arithmetic
must move the accuracy by less than the smallest effect of interest. How far trials of the same seed lie apart says
whether seeds may be paired across machines; `verify` does not pair them. Exit code 1 when an interval reaches beyond
the margin.

A limit on vector instructions is given to torch's kernels (ATEN_CPU_CAPABILITY) and to oneDNN (ONEDNN_MAX_CPU_ISA)
when a process starts; a processor that lacks AVX-512 has the same kernels left.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import record
from scipy import stats

from sota_bench.grid import load

ROOT = Path(__file__).resolve().parents[1]
GRID = ROOT / "grid.toml"
RESULTS = ROOT / "benchmarks" / "results"
CELLS = "normalize=dataset,mixup=0.0,mitigation=none"


@dataclass(frozen=True)
class Arithmetic:
    """One way to compute.

    Attributes:
        title: its name in the results.
        precision: of the recipe.
        environment: variables of the processes.
    """

    title: str
    precision: str
    environment: Mapping[str, str]


OLDER = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
ARITHMETICS = (
    Arithmetic("as this machine does it", "auto", {}),
    Arithmetic("fp32", "fp32", {}),
    Arithmetic("fp32 without AVX-512", "fp32", OLDER),
)


def trained(arithmetic: Arithmetic, seeds: Sequence[int], folder: Path, workers: int) -> pd.DataFrame:
    """Accuracy in percent of each cell (rows, by title) and seed (columns)."""
    out = folder / "out"
    command = [
        sys.executable, "-m", "sota_bench", "run", str(GRID), "--device", "cpu", "--workers", str(workers),
        "--no-calibrate", "--store", str(folder / "store"), "--out", str(out),
        "--seeds", ",".join(map(str, seeds)), "--only", CELLS,
        "--set", f"recipe.precision={arithmetic.precision}",
    ]  # fmt: skip
    subprocess.run(command, env={**os.environ, **arithmetic.environment}, check=True, stdout=subprocess.DEVNULL)
    trials = pd.read_csv(out / "trials.csv")
    done = trials[trials["status"] == "done"]
    return done.assign(what=done["resize"] + ", tta " + done["tta"]).pivot_table("accuracy", "what", "seed", sort=False)


def difference(accuracy: pd.DataFrame, first: pd.DataFrame) -> dict[str, float]:
    """The mean over all cells minus that of the first arithmetic, and how far trials of the same seed lie apart."""
    by_seed = (accuracy - first).mean()
    interval = stats.ttest_1samp(by_seed, 0.0).confidence_interval()
    return {
        "difference_pp": float(by_seed.mean()),
        "low_pp": float(interval.low),
        "high_pp": float(interval.high),
        "same_seed_apart_pp": float(np.abs(accuracy.to_numpy() - first.to_numpy()).mean()),
    }


def page(
    accuracies: Mapping[str, pd.DataFrame], differences: Mapping[str, Mapping[str, float]], margin: float
) -> list[str]:
    """The results as markdown."""
    first = next(iter(accuracies.values()))
    rows = [
        [cell, *(f"{frame.loc[cell].mean():.1f} ± {frame.loc[cell].std():.1f}" for frame in accuracies.values())]
        for cell in first.index
    ]
    lines = [f"Mean accuracy in percent and standard deviation over {first.shape[1]} seeds.", ""]
    lines += [*record.table(["cell", *accuracies], rows), ""]
    rows = [
        [
            title,
            f"{row['difference_pp']:+.2f} pp ({row['low_pp']:.2f} to {row['high_pp']:.2f})",
            f"{row['same_seed_apart_pp']:.1f} pp",
        ]
        for title, row in differences.items()
    ]
    heads = [
        "arithmetic",
        "mean over all cells, minus the first one's (95% CI)",
        "mean distance of trials of the same seed",
    ]
    return [
        *lines,
        *record.table(heads, rows),
        "",
        f"The margin of `verify --reference` for this grid is {margin:g} pp.",
    ]


def main() -> int:
    """Trains, compares and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each cell")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time")
    parser.add_argument("--quick", action="store_true", help="2 seeds, as a check of this command")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    seeds = range(2 if options.quick else options.seeds)
    accuracies = {}
    with tempfile.TemporaryDirectory(prefix="sota-bench-numerics-") as scratch:
        for number, arithmetic in enumerate(ARITHMETICS):
            accuracies[arithmetic.title] = trained(arithmetic, seeds, Path(scratch) / str(number), options.workers)
            print(f"{arithmetic.title}: done", file=sys.stderr, flush=True)
    first = accuracies[ARITHMETICS[0].title]
    differences = {title: difference(frame, first) for title, frame in accuracies.items() if frame is not first}
    margin = load(GRID).smallest_effects["accuracy"]
    content: dict[str, Any] = {
        **record.provenance("cpu"),
        "margin_pp": margin,
        "accuracy": {title: {cell: list(row) for cell, row in frame.iterrows()} for title, frame in accuracies.items()},
        "differences": differences,
    }
    title = "The quick start's accuracy under other arithmetic"
    print(record.write(options.out, "numerics", title, page(accuracies, differences, margin), content))
    inside = all(-margin < row["low_pp"] and row["high_pp"] < margin for row in differences.values())
    return 0 if inside else 1


if __name__ == "__main__":
    sys.exit(main())
