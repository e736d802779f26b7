"""How much of a training step is the network's own computation: a training stage of this project compared with the same
network on random data in memory, with the same precision, memory layout and optimizer, in turns in one process.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/peers/share.py --out peers

A step of this project is measured from one report of its progress to the next, so everything between two steps counts.
Writes ``share.json``; exit code 3 when a share is below ``--least``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import common  # noqa: E402
import compare  # noqa: E402
import steps  # noqa: E402


def whole_steps(training: steps.Training) -> list[float]:
    """Seconds of the steps of a training stage without the first."""
    moments, _ = training.run()
    return [after - before for before, after in itertools.pairwise(moments)]


def share(whole: Sequence[Sequence[float]], pure: Sequence[Sequence[float]]) -> float:
    """The median over rounds of pure over whole, each the median step of its round."""
    return statistics.median(
        statistics.median(theirs) / statistics.median(ours) for ours, theirs in zip(whole, pure, strict=True)
    )


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder of the results")
    parser.add_argument("--data", type=Path, default=os.environ.get("SOTA_BENCH_DATA"), help="folder of Imagenette")
    parser.add_argument("--backbones", nargs="+", default=["resnet10t", "resnet18"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", type=int, default=640)
    parser.add_argument("--least", type=float, default=0.9)
    options = parser.parse_args(given)
    if options.data is None:
        parser.error("name the folder of Imagenette with --data or SOTA_BENCH_DATA")
    return options


def main() -> int:
    """Measures every combination and prints a line for each."""
    options = arguments()
    if (code := steps.again_as_worker()) is not None:
        return code
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    _, images = compare.folders(Path(options.data), out / "images", options.train, 40)
    import torch

    torch.set_num_threads(common.cores())
    rows = []
    for backbone in options.backbones:
        for size in options.sizes:
            folder = Path(tempfile.mkdtemp(dir=out))
            grid, store = folder / "grid.toml", folder / "store"
            task = {"backbone": backbone, "size": size, "seed": 0, "batch": 64, "lr": 3e-3, "images": images}
            recipe = {"epochs": 1, "weight_decay": common.WEIGHT_DECAY, "crop_scale": common.CROP_SCALE[0]}
            grid.write_text(compare.GRID.format(**task, **recipe))
            training = steps.first_training(grid, store, "cpu")
            whole, pure = list[list[float]](), list[list[float]]()
            for _ in range(options.rounds):
                whole.append(whole_steps(training))
                pure.append(steps.pure_steps(training.settings, size, 64, len(whole[-1])))
            shutil.rmtree(folder)
            ours, theirs = (1000 * statistics.median(map(statistics.median, rounds)) for rounds in (whole, pure))
            row = {"backbone": backbone, "size": size, "share": share(whole, pure), "step_ms": ours, "pure_ms": theirs}
            rows.append(row)
            print(
                f"{backbone} {size} px: {row['share']:.1%} of {ours:.0f} ms is the network's own computation",
                flush=True,
            )
    result = {"machine": compare.machine(), "rounds": options.rounds, "rows": rows}
    (out / "share.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0 if all(row["share"] >= options.least for row in rows) else 3


if __name__ == "__main__":
    sys.exit(main())
