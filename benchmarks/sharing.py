"""How many workers does one device feed? Trials per hour with 1, 2 and 4 worker processes, in turns.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/sharing.py          # about 10 minutes on 2 cores

A trial is a training and its evaluation, run by the engine as ``run`` does it; the first trial of each worker, which
includes its imports, is left out. On a CPU the workers divide its cores: two workers on two cores train with one thread
each. On a GPU all use the same one. Writes ``sharing.json`` and ``sharing.md``. The default of ``--workers`` follows
from this: see ``sota_bench/plan/machine.py``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

import common  # noqa: E402
import record  # noqa: E402
import steps  # noqa: E402

from sota_bench.grid import load  # noqa: E402
from sota_bench.plan.environment import detect  # noqa: E402
from sota_bench.plan.machine import Machine  # noqa: E402
from sota_bench.plan.make import make_plan  # noqa: E402
from sota_bench.units import counted  # noqa: E402


def per_hour(task: Mapping[str, Any], first_seed: int, workers: int, each: int, device: str, scratch: Path) -> float:
    """Trials per hour.

    Args:
        task: ``images`` (a folder), ``backbone``, ``size``, ``epochs`` and ``batch``.
        first_seed: the trials have this seed and the following ones, none of which has been trained before.
        workers: processes.
        each: trials of each worker that are counted.
        device: ``auto``, ``cpu`` or ``cuda:i``.
        scratch: folder for the store.
    """
    count, data = workers * (1 + each), {"source": f"folder:{task['images']}"}
    grid = steps.one_cell(scratch / "grid.toml", range(first_seed, first_seed + count), data, task)
    plan, _ = make_plan(load(grid), Machine(scratch / "store", device, workers))
    finals, ends = {trial.final.key for trial in plan.trials}, list[float]()

    def note(key: str) -> None:
        if key in finals:
            ends.append(time.perf_counter())

    steps.finish(plan, scratch / "store", list(plan.stages.values()), workers=workers, on_done=note)
    return 3600 * (count - workers) / (ends[-1] - ends[workers - 1])


def page(result: Mapping[str, Any]) -> list[str]:
    """The rows as lines of Markdown."""
    lines = []
    for task in result["tasks"]:
        epochs = counted(task["epochs"], "epoch")
        title = f"{task['backbone']}, {epochs} at {task['size']} px, batch {task['batch']}"
        base = task["rows"][0]["trials_per_hour"]
        lines += [f"{title}: medians of {len(task['rows'][0]['rounds'])} rounds.", ""]
        lines += record.table(("workers", "trials per hour", "speed-up over one worker"), [
            (row["workers"], round(row["trials_per_hour"]), f"{row['trials_per_hour'] / base:.2f}")
            for row in task["rows"]
        ])  # fmt: skip
        lines += [""]
    return lines


def main(given: Sequence[str] | None = None) -> int:
    """Measures every task and prints the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--data", type=Path, default=os.environ.get("SOTA_BENCH_DATA"), help="folder of Imagenette")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--backbones", nargs="+", default=["resnet10t", "resnet18"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--train", type=int, default=640, help="training images")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--each", type=int, default=3, help="trials of each worker that are counted")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(given)
    if options.data is None:
        parser.error("name the folder of Imagenette with --data or SOTA_BENCH_DATA")
    result: dict[str, Any] = {**record.provenance(detect(options.device, 1).device), "tasks": []}
    text, seed = "", 0
    with tempfile.TemporaryDirectory(prefix="sota-bench-sharing-") as folder:
        images = common.export(Path(options.data), Path(folder) / "images", options.train, 200)
        for backbone in options.backbones:
            task = {"backbone": backbone, **{name: getattr(options, name) for name in ("size", "epochs", "batch")}}
            rounds: dict[int, list[float]] = {workers: [] for workers in options.workers}
            for _ in range(options.rounds):
                for workers, rates in rounds.items():
                    rates.append(per_hour({**task, "images": images}, seed, workers, options.each, options.device,
                                          Path(folder)))  # fmt: skip
                    seed += workers * (1 + options.each)
                    line = f"{backbone}, {counted(workers, 'worker')}: {rates[-1]:.0f} trials per hour"
                    print(line, file=sys.stderr, flush=True)
            rows = [
                {"workers": workers, "trials_per_hour": statistics.median(rates), "rounds": rates}
                for workers, rates in rounds.items()
            ]
            result["tasks"].append({**task, "train": options.train, "rows": rows})
            text = record.write(options.out, "sharing", "How many workers one device feeds", page(result), result)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
