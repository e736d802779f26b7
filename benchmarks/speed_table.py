"""The table of speeds in the README, made from the committed results: no number in it is written by hand.

``python benchmarks/speed_table.py`` prints it, ``--write`` puts it between the marks in README.md. Each row names what
was measured, the target, and the command that measures it again. The results are in ``benchmarks/results``, with the
machine and the versions that they were measured on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gate_study import TARGETS, WHOLE_MINUTES, WORDS
from prediction import MOST_CALIBRATION_S, MOST_ERROR

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- speed table: benchmarks/speed_table.py --write -->", "<!-- end of the speed table -->"
OURS, TUNED = "sota_bench", "tuned"
TORCHVISION = ("torchvision", TUNED)
"""Peers whose resnet18 is torchvision's: unlike timm's, its residual branches do not start at zero."""
TUNED_LEAST = {64: 1.25, 128: 1.0}
LEAST_DECISION = 40

Row = tuple[str, str, str, str]


def read(name: str) -> dict[str, Any]:
    """One committed result."""
    result: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return result


def low_to_high(values: list[float], form: str) -> str:
    """The range of some values; one value where both ends read the same."""
    low, high = (form.format(value) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def peers() -> Iterator[Row]:
    """One epoch compared with fastai, timm's recipe and plain PyTorch."""
    rows, command = [row for row in read("peers/table.json")["rows"] if row["runner"] != OURS], "peers/compare.py"
    for size in sorted({row["size"] for row in rows}):
        here = [row for row in rows if row["size"] == size]
        defaults, tuned = ([row for row in here if (row["runner"] == TUNED) == is_tuned] for is_tuned in (False, True))
        fastest = [
            min(row["rate_factor"] for row in defaults if row["backbone"] == backbone)
            for backbone in sorted({row["backbone"] for row in defaults})
        ]
        rate, whole = f"training images per second at {size} px", f"one epoch at {size} px, from start to report"
        by_hand = "plain PyTorch tuned by hand"
        yield (f"{rate}: speed-up over the fastest peer at its default settings",
               low_to_high(fastest, "{:.2f}"), "2", command)  # fmt: skip
        yield (f"{rate}: speed-up over {by_hand} (bf16, channels_last, fused)",
               low_to_high([row["rate_factor"] for row in tuned], "{:.2f}"), f"{TUNED_LEAST[size]:g}",
               command)  # fmt: skip
        yield (f"{whole}: speed-up over each peer at its default settings",
               low_to_high([row["time_factor"] for row in defaults], "{:.2f}"), "1", command)  # fmt: skip
        yield (f"{whole}: speed-up over {by_hand}",
               low_to_high([row["time_factor"] for row in tuned], "{:.2f}"), "1", command)  # fmt: skip
    yield from accuracy("one epoch", rows, command)
    longer = [row for row in read("peers-5-epochs/table.json")["rows"] if row["runner"] != OURS]
    yield from accuracy("5 epochs at 64 px", longer, f"{command} --epochs 5 --sizes 64")


def accuracy(when: str, rows: list[dict[str, Any]], command: str) -> Iterator[Row]:
    """Differences to the accuracies of peers, separately for those that start from another resnet18."""
    other = [row for row in rows if row["backbone"] == "resnet18" and row["runner"] in TORCHVISION]
    same = [row for row in rows if row not in other]
    for peers, peer in ((same, "a peer with the same network"), (other, "torchvision's resnet18")):
        differences = [row["accuracy_difference"] for row in peers]
        below, above = sum(high < 0 for _, _, high in differences), sum(low > 0 for _, low, _ in differences)
        yield (f"accuracy after {when}: difference to {peer}, in percentage points (5 seeds each)",
               low_to_high([middle for middle, _, _ in differences], "{:+.1f}") +
               f"; 95% intervals: {below} of {len(differences)} below 0, {above} above", "within noise",
               command)  # fmt: skip


def cache() -> Iterator[Row]:
    """Whether the decoded cache costs accuracy."""
    result = read("cache_accuracy.json")
    task, paired = result["task"], result["paired"]
    yield (f"accuracy with the decoded cache: difference to decoding for each use, in percentage points "
           f"({task['epochs']} epochs, paired by seed)",
           f"{paired['difference']:+.1f} ({paired['low']:+.1f} to {paired['high']:+.1f})", "within noise",
           "cache_accuracy.py")  # fmt: skip


def grid() -> Iterator[Row]:
    """A whole grid compared with a loop that starts processes."""
    result = read("peers/grid.json")
    for name, loop in result["loops"].items():
        middle, low, high = (value / result["ours_s"] for value in loop["estimate_s"])
        yield (f"a grid of {result['trials']} trials: speed-up over a loop of plain PyTorch tuned by hand, {name}",
               f"{middle:.1f} ({low:.1f} to {high:.1f})", "10" if "each trial" in name else "",
               "peers/whole_grid.py")  # fmt: skip


def decision() -> Iterator[Row]:
    """Minutes until all questions of a grid are decided, compared with loops of a fixed number of seeds."""
    if not (RESULTS / "peers" / "decision.json").is_file():
        return
    result = read("peers/decision.json")
    decided = result["decision"]
    command = f"peers/whole_grid.py --decision --val {result['val']}"
    what = f"{decided['decided']} of {decided['questions']} questions decided, trainings {decided['trainings']}"
    yield (f"minutes to a decision ({what}; smallest effect {decided['delta']:g} pp)",
           f"{result['ours_s'] / 60:.1f} min", "", command)  # fmt: skip
    for name, loop in result["loops"].items():
        middle, low, high = (value / result["ours_s"] for value in loop["estimate_s"])
        yield (f"minutes to a decision: speed-up over a loop of plain PyTorch tuned by hand, {name}, with the "
               f"{decided['fixed_seeds']} seeds that the same power takes",
               f"{middle:.1f} ({low:.1f} to {high:.1f})", f"{LEAST_DECISION}" if "each trial" in name else "",
               command)  # fmt: skip


def step() -> Iterator[Row]:
    """The share of a step that is the network's arithmetic."""
    shares = [100 * row["share"] for row in read("peers/share.json")["rows"]]
    yield ("share of a training step that is the network's own computation", low_to_high(shares, "{:.0f}%"), "90%",
           "peers/share.py")  # fmt: skip


def growth() -> Iterator[Row]:
    """Time and memory against amounts."""
    rows = read("growth.json")["rows"]
    most = max((row for row in rows if row["part"] == "cells"), key=lambda row: row["amount"])
    yield (f"planning {most['amount']:,} cells", f"{most['seconds']:.1f} s, {most['mb']:.0f} MB", "5 s, 500 MB",
           "growth.py")  # fmt: skip
    memory = {row["amount"]: row["mb"] for row in rows if row["part"] == "images" and row["classes"] == 10}
    yield (f"growth of the command's memory from {min(memory):,} to {max(memory):,} images",
           f"{memory[max(memory)] - memory[min(memory)]:+.0f} MB", "50 MB", "growth.py")  # fmt: skip
    page = next(row for row in rows if row["part"] == "report")
    yield (f"rendering the report of {page['amount']:,} trials", f"{page['seconds']:.1f} s, {page['page_mb']:.2f} MB",
           "20 s, 1 MB", "growth.py")  # fmt: skip


def minutes() -> Iterator[Row]:
    """How well minutes are predicted, and how often the timing gate is wrong."""
    result = read("prediction.json")
    yield (f"predicted minutes of an iteration: median error over {len(result['trials'])} trials",
           f"{100 * result['median_error']:.1f}%", f"{MOST_ERROR:.0%}", "prediction.py")  # fmt: skip
    yield ("calibration for that prediction", f"{result['calibration_s']:.0f} s", f"{MOST_CALIBRATION_S:.0f} s",
           "prediction.py")  # fmt: skip
    command = "gate_study.py"
    for kind, row in read("gate_study.json")["results"].items():
        target = " ".join(map(str, TARGETS[kind]))
        yield f"timing gate: {WORDS[kind]}", f"{row['fail']} of {row['tries']}", target, command
    for line in (RESULTS / "gate_study.jsonl").read_text(encoding="utf-8").splitlines():
        comparison = json.loads(line)
        if comparison.get("kind") == "whole":
            spent = f"{comparison['seconds'] / 60:.1f} min"
            yield "timing gate: time for all workloads", spent, f"{WHOLE_MINUTES} min", command


def leaderboard() -> Iterator[Row]:
    """The accuracy of fastai's leaderboard row, for which the time on a CPU does not matter."""
    result = read("leaderboard.json")
    board, command = result["leaderboard"], result["command"].removeprefix("python benchmarks/")
    best, images = board["best"], board["trials"][0]["images"]
    yield (f"accuracy after 5 epochs of Imagenette at 128 px, mean of {best['seeds']} seeds, {images:,} photographs",
           f"{best['accuracy']:.2f}% ± {best['half_width']:.2f} (on the half that took no part in choosing: "
           f"{best['test']:.2f}%)",
           f"{board['target']:.2f}%", command)  # fmt: skip


def gpu() -> Iterator[Row]:
    """The targets on one GPU that have been measured."""
    result = read("gpu.json")
    rows, name = result["share"]["rows"], result["hardware"]["gpu"]
    for size in sorted({row["size"] for row in rows}):
        shares = [100 * row["share"] for row in rows if row["size"] == size and row["compile"] == "off"]
        yield (f"{name}: training rate at {size} px, as a share of the network's own (resnet18, resnet50; bf16)",
               low_to_high(shares, "{:.0f}%"), "85%", "gpu.py")  # fmt: skip
    seconds = [row["seconds"] for row in result["iteration"]["rows"]]
    yield (f"{name}: resnet18, 5 epochs of Imagenette at 128 px with the evaluation",
           low_to_high(seconds, "{:.1f}") + " s", "15 s", "gpu.py")  # fmt: skip


def table() -> str:
    """The table, with a line about the machine."""
    lines = ["| | measured | target | `benchmarks/` |", "| --- | --: | --: | --- |"]
    lines += [
        f"| {' | '.join(row)} |"
        for part in (decision, peers, cache, grid, step, growth, minutes, leaderboard, gpu)
        for row in part()
    ]
    result = read("peers/table.json")
    machine, versions = result["machine"], result["versions"]
    runs = min(row["runs"] for row in result["rows"])
    lines += ["", f"Unless a row says otherwise: {machine['cores']} cores of an {machine['name']} with "
              f"{machine['capability']}"
              f"{' and bf16' if machine['bf16'] else ''}; torch {versions['torch']}, timm {versions['timm']}, fastai "
              f"{versions['fastai']}; medians of {runs} interleaved runs."]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Prints or writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    if not parser.parse_args().write:
        print(table())
        return
    readme = ROOT / "README.md"
    before, _, table_and_after = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = table_and_after.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
