"""Does ``torch.compile`` pay? Training stages without and with it, and after how many steps it has paid for itself.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/compiling.py        # about 5 minutes on 2 cores

Compiling pays where the number of steps times the time saved by a step exceeds the time of compilation. Each row is a
training stage of this project, with its rate from the second epoch on, and a compilation that finds nothing on disk.
Writes ``compiling.json`` and ``compiling.md``; ``gpu.py`` measures the same on a GPU.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

import common  # noqa: E402
import record  # noqa: E402
import steps  # noqa: E402

from sota_bench.plan.environment import cores  # noqa: E402


def measured(task: Mapping[str, Any], scratch: Path, device: str) -> dict[str, Any]:
    """One network at one size, without and with compiling.

    Args:
        task: ``backbone``, ``size``, ``epochs``, ``batch`` and ``images``, the folder.
        scratch: folder for the store.
        device: ``auto``, ``cpu`` or ``cuda:i``.
    """
    import torch

    rates, compile_s, grid = dict[str, float](), 0.0, scratch / "grid.toml"
    for compile in ("off", "on"):
        steps.one_cell(grid, [0], {"source": f"folder:{task['images']}"}, task, compile=compile)
        training = steps.first_training(grid, scratch / "store", device, here=True)
        torch.compiler.reset()  # what an earlier row has compiled is not reused
        moments, outcome = training.run()
        rates[compile], compile_s = training.rate(moments), outcome.seconds["compile"]
    saved_ms, count = steps.pays(rates["off"], rates["on"], compile_s, task["batch"])
    row = {name: task[name] for name in ("backbone", "size", "batch")}
    row |= {"precision": training.settings["precision"], "device": training.device}
    return {**row, "off_images_per_s": rates["off"], "on_images_per_s": rates["on"], "compile_s": compile_s,
            "saved_ms": saved_ms, "steps": count}  # fmt: skip


def page(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows as lines of Markdown."""
    heads = ("backbone", "precision", "px", "batch", "images/s", "compiled", "compiling, s", "saved by a step, ms",
             "pays after, steps")  # fmt: skip
    return record.table(heads, [
        (row["backbone"], row["precision"], row["size"], row["batch"], f"{row['off_images_per_s']:.0f}",
         f"{row['on_images_per_s']:.0f}", f"{row['compile_s']:.1f}", f"{row['saved_ms']:.1f}",
         f"{row['steps']:,}" if row["steps"] else "never") for row in rows
    ])  # fmt: skip


def main() -> int:
    """Measures all combinations and prints the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--data", type=Path, default=os.environ.get("SOTA_BENCH_DATA"), help="folder of Imagenette")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--backbones", nargs="+", default=["resnet10t", "resnet18"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--train", type=int, default=320)
    options = parser.parse_args()
    if options.data is None:
        parser.error("name the folder of Imagenette with --data or SOTA_BENCH_DATA")
    if (code := steps.again_as_worker()) is not None:
        return code
    import torch

    torch.set_num_threads(cores())  # as in a worker that runs alone
    result: dict[str, Any] = {"rows": []}
    text = ""
    with tempfile.TemporaryDirectory(prefix="sota-bench-compiling-") as folder, steps.nothing_compiled(Path(folder)):
        images = common.export(Path(options.data), Path(folder) / "images", options.train, 40)
        for backbone in options.backbones:
            for size in options.sizes:
                task = {"backbone": backbone, "size": size, "images": images}
                task |= {name: getattr(options, name) for name in ("epochs", "batch")}
                row = measured(task, Path(folder), options.device)
                result["rows"].append(row)
                result |= record.provenance(row["device"])
                rows = page(result["rows"])
                text = record.write(options.out, "compiling", "Whether torch.compile pays", rows, result)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
