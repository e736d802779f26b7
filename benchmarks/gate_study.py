"""How often ``timing gate`` is wrong, and what it detects: the same code against itself, and against real slow-downs.

``python benchmarks/gate_study.py`` makes copies of this project in which every training step does more real work
(small matrix products, calibrated on this machine to 10% and 25% of a step), and lets the gate compare:

- 40 times a copy with itself: at most 2 failures;
- 20 times with 10% more work: at least 12 found; 20 times with 25% more: 20 found;
- 10 times with one more operation in a step, each time another one: the exact counts find 10;
- once all workloads with the gate's default settings, a copy with itself: no failure, and under 15 minutes.

Every comparison uses processes of its own. Results are appended to ``benchmarks/results/gate_study.jsonl`` one by one;
the same command resumes where it stopped, and writes ``gate_study.md`` and ``gate_study.json`` after each comparison.
``--jobs 2`` compares two at a time, each on its own core: faster, and with the noise of the other one; the comparison
of all workloads runs alone. ``--minutes`` ends it in time; ``--fresh`` starts again. Exit code 1 when a target is
missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from sota_bench.regression.decide import order_of
from sota_bench.regression.gate import Gate, block_of
from sota_bench.regression.hardware import fingerprint
from sota_bench.regression.outcome import SUITE, GateSettings
from sota_bench.regression.process import ProcessGroup, Workspace
from sota_bench.regression.tree import Tree, describe, export

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
WORKLOAD = "training_step"
STEP, ANCHOR = "sota_bench/training/train.py", "hooks.step(optimizer, gradients)"
EXTRA = {"slower_10": 0.10, "slower_25": 0.25}
TRIES = {"same": 40, "slower_10": 20, "slower_25": 20, "one_operation": 10, "whole": 1}
TARGETS = {"same": ("at most", 2), "slower_10": ("at least", 12), "slower_25": ("at least", 20),
         "one_operation": ("at least", 10), "whole": ("at most", 0)}  # fmt: skip
WORDS = {"same": "false alarms on unchanged code", "slower_10": "10% more work in a training step detected",
         "slower_25": "25% more work in a training step detected",
         "one_operation": "one more operation in a training step detected",
         "whole": "false alarms on unchanged code, all workloads"}  # fmt: skip
WHOLE_MINUTES = 15
WORK = "_extra = torch.full((64, 64), 0.01); [torch.mm(_extra, _extra) for _ in range({count})]"
OPERATIONS = ("torch.ones(2) + 1", "torch.ones(2) * 2", "torch.ones(2).exp()", "torch.ones(2).sum()",
              "torch.ones(2).clone()", "torch.ones(2).neg()", "torch.ones(2).sqrt()", "torch.ones(2).relu()",
              "torch.ones(2)[0].item()", "torch.cat([torch.ones(2)])")  # fmt: skip
CALIBRATION_PRODUCTS = 3000
"""Products of the calibration: about as long as a step, so that the noise of a ratio is small in comparison."""


def anchors(lines: Sequence[str]) -> list[int]:
    """Numbers of the lines of the training loop before which a statement is inserted; 0-based."""
    return [number for number, line in enumerate(lines) if line.strip().startswith(ANCHOR)]


def patched(base: Path, into: Path, statement: str) -> Tree:
    """A copy of a tree whose training step also runs a statement."""
    source = into.with_name(into.name + "-source")
    shutil.copytree(base, source)
    file = source / STEP
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    at = anchors(lines)
    if len(at) != 1:
        raise SystemExit(f"{STEP} has {len(at)} lines {ANCHOR!r}; the study needs one")
    indent = lines[at[0]][: len(lines[at[0]]) - len(lines[at[0]].lstrip())]
    lines.insert(at[0], f"{indent}{statement}\n")
    file.write_text("".join(lines), encoding="utf-8")
    tree = export(ROOT, str(source), into)
    shutil.rmtree(source)
    return Tree(tree.folder, into.name)


def ratio(base: Tree, other: Tree, suite: Path, scratch: Path, blocks: int) -> float:
    """Median over blocks of the time of a step in ``other`` to that in ``base``."""
    ratios = []
    for block in range(blocks):
        order = order_of(block)
        trees = {"A": base, "B": other}
        workspaces = [
            Workspace(trees[side].folder, scratch / f"work-{trees[side].name}", scratch / "log") for side in order
        ]
        with ProcessGroup(workspaces, suite, "cpu") as processes:
            times = block_of(processes, WORKLOAD, 1.0, "cpu")
        sides = {side: [t for t, s in zip(times, order, strict=True) if s == side] for side in "AB"}
        ratios.append(statistics.fmean(sides["B"]) / statistics.fmean(sides["A"]))
    return statistics.median(ratios)


class Trees:
    """The copies of the project that are compared.

    Args:
        folder: that holds them.
        counts: extra products of a step for each slow-down; calibrated if empty.
    """

    def __init__(self, folder: Path, counts: dict[str, int]) -> None:
        self.folder = folder
        self.base = Tree(export(ROOT, str(ROOT), folder / "base").folder, "base")
        self.same = Tree(export(ROOT, str(ROOT), folder / "same").folder, "same")
        self.suite = self.base.folder / SUITE
        self.counts = counts or self._calibrate()
        self._prepared: dict[str, Tree] = {"same": self.same}
        self.lock = threading.Lock()

    def _calibrate(self) -> dict[str, int]:
        """How many products are 10% and 25% of a step: from the ratio with many of them."""
        many = patched(self.base.folder, self.folder / "many", WORK.format(count=CALIBRATION_PRODUCTS))
        ratio(self.base, many, self.suite, self.folder, 1)  # warms up
        share = (ratio(self.base, many, self.suite, self.folder, 3) - 1) / CALIBRATION_PRODUCTS
        log(f"calibrated: {CALIBRATION_PRODUCTS} products are {100 * share * CALIBRATION_PRODUCTS:.1f}% of a step")
        return {kind: max(1, round(extra / share)) for kind, extra in EXTRA.items()}

    def of(self, kind: str, attempt: int, job: int) -> Tree:
        """The head of one comparison."""
        if kind == "whole":
            return self.same
        if kind == "one_operation":
            folder = self.folder / f"oneoperation{job}"
            shutil.rmtree(folder, ignore_errors=True)
            return patched(self.base.folder, folder, OPERATIONS[attempt % len(OPERATIONS)])
        if kind not in self._prepared:
            self._prepared[kind] = patched(self.base.folder, self.folder / kind, WORK.format(count=self.counts[kind]))
        return self._prepared[kind]


def compare(trees: Trees, kind: str, attempt: int, job: int, blocks: int, seconds: float) -> dict[str, Any]:
    """One comparison by the gate."""
    exact = kind == "one_operation"
    with trees.lock:
        head = trees.of(kind, attempt, job)
    scratch = trees.folder / f"scratch{job}-{kind.replace('_', '')}"
    warm = not scratch.is_dir()
    scratch.mkdir(exist_ok=True)
    one_workload = GateSettings((WORKLOAD,), blocks, seconds=seconds, times=not exact, counts=exact)
    settings = GateSettings() if kind == "whole" else one_workload
    outcome = Gate(trees.base, head, scratch, settings, lambda line: None, warm=warm).run()
    if outcome.missing:  # a failure of the study itself, not a result
        raise SystemExit(f"{kind}: {outcome.missing}")
    verdict = outcome.verdicts.get(WORKLOAD)
    return {
        "kind": kind,
        "answer": outcome.answer,
        "change": verdict.change if verdict else None,
        "detectable": verdict.detectable if verdict else None,
        "rounds": len(verdict.blocks) if verdict else 0,
        "failures": outcome.failures,
        "seconds": round(outcome.seconds, 1),
    }


def report(results: Sequence[dict[str, Any]], header: dict[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """Markdown, JSON, and whether the study is complete and every target is met."""
    rows, table, good = {}, [], True
    for kind, tries in TRIES.items():
        answers = [result["answer"] for result in results if result["kind"] == kind]
        words, limit = TARGETS[kind]
        failing = ("fail", "void") if words == "at most" else ("fail",)
        hits = sum(answer in failing for answer in answers)
        reached = hits <= limit if words == "at most" else hits >= limit
        good &= len(answers) >= tries and reached
        low, high = binomtest(hits, len(answers)).proportion_ci(method="exact") if answers else (0.0, 1.0)
        rows[kind] = {
            "tries": len(answers),
            "fail": hits,
            **{a: answers.count(a) for a in ("pass", "inconclusive", "void")},
        }
        interval = f"{100 * low:.0f} to {100 * high:.0f}%"
        table.append(f"| {WORDS[kind]} | {hits} of {len(answers)} | {interval} | {words} {limit} of {tries} | "
                     f"{rows[kind]['inconclusive']} | {rows[kind]['void']} |")  # fmt: skip
    times = [result["seconds"] for result in results if result["kind"] not in ("one_operation", "whole")]
    whole = [result["seconds"] / 60 for result in results if result["kind"] == "whole"]
    good &= bool(whole) and max(whole) < WHOLE_MINUTES
    hardware = header["hardware"]
    measured: dict[str, list[float]] = {}
    for result in results:
        if result["change"] is not None and result["kind"] in ("same", *EXTRA):
            measured.setdefault(result["kind"], []).append(result["change"])
    changes = {kind: statistics.median(values) for kind, values in measured.items()}
    lines = [
        "# How often the timing gate is wrong, and what it detects", "",
        f"`python benchmarks/gate_study.py` on {hardware['cores']} cores of {hardware['cpu']}, torch "
        f"{hardware['torch']}: `{WORKLOAD}`, {header['blocks']} blocks in a round, threshold 5%, {header['jobs']} at a "
        "time.", "",
        "| | failures | 95% interval | target | inconclusive | void |", "|---|--:|--:|--:|--:|--:|", *table, "",
        "Median change that the gate reported: "
        + "; ".join(f"{kind} {100 * change:+.1f}%" for kind, change in changes.items()) + ".", "",
        *(f"All workloads, default settings: {taken:.1f} minutes; target under {WHOLE_MINUTES}." for taken in whole),
        f"Median time of a comparison: {statistics.median(times) if times else 0:.0f} s. The extra work is "
        f"{header['counts']} products of 64 x 64 matrices in each step. A void run of the same code counts as a "
        "failure, since the command then ends with the same exit code.", "",
    ]  # fmt: skip
    return "\n".join(lines), {**header, "results": rows, "changes": changes}, good


class Study:
    """The comparisons that are still to be made.

    Args:
        trees: what is compared.
        header: settings, machine and commit.
        results: comparisons so far, appended to.
        out: folder of the results.
        until: monotonic time after which no comparison begins.
    """

    def __init__(
        self, trees: Trees, header: dict[str, Any], results: list[dict[str, Any]], out: Path, until: float
    ) -> None:
        self.trees, self.header, self.results, self.out, self.until = trees, header, results, out, until
        self.taken = Counter(result["kind"] for result in results)
        self.lock, self.began = threading.Lock(), time.monotonic()

    def run(self, jobs: int) -> None:
        """Makes all comparisons, and then the one of all workloads, alone."""
        cores: list[int | None] = sorted(os.sched_getaffinity(0)) if jobs > 1 else [None]
        kinds = [kind for kind in TRIES if kind != "whole"]
        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(lambda job: self._work(job, cores[job % len(cores)], kinds), range(jobs)):
                pass
        self._work(0, None, ["whole"])

    def _work(self, job: int, core: int | None, kinds: Sequence[str]) -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})  # of this thread, and of the processes that it starts
        while time.monotonic() < self.until:
            with self.lock:
                missing = [kind for kind in kinds if self.taken[kind] < TRIES[kind]]
                if not missing:
                    return
                kind = min(missing, key=lambda name: self.taken[name] / TRIES[name])  # in turn, in proportion
                self.taken[kind] += 1
                attempt = self.taken[kind] - 1
            result = compare(self.trees, kind, attempt, job, self.header["blocks"], self.header["seconds"])
            with self.lock:
                self._keep(result)

    def _keep(self, result: dict[str, Any]) -> None:
        self.results.append(result)
        with (self.out / "gate_study.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
        change = f" {100 * result['change']:+.1f}%" if result["change"] is not None else ""
        kind, minutes = result["kind"], (time.monotonic() - self.began) / 60
        number = sum(other["kind"] == kind for other in self.results)
        log(
            f"{minutes:5.1f} min  {kind} {number}/{TRIES[kind]}: {result['answer']}{change} ({result['seconds']:.0f} s)"
        )
        text, summary, _ = report(self.results, self.header)
        (self.out / "gate_study.md").write_text(text, encoding="utf-8")
        (self.out / "gate_study.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def log(line: str) -> None:
    """Prints a line of progress to standard error."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Makes the comparisons that are missing of the study, and prints its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=3, help="blocks in a round")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each process times the step")
    parser.add_argument("--jobs", type=int, default=1, help="comparisons at a time, each on one core")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="no comparison begins after this many; 0 is no limit"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier run has measured")
    options = parser.parse_args()
    began, file = time.monotonic(), options.out / "gate_study.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        file.unlink(missing_ok=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    header = next((line for line in lines if "hardware" in line), None)
    results = [line for line in lines if "kind" in line]
    commit, changed = describe(ROOT)
    if header is not None and (header["commit"], header["hardware"]) != (commit, fingerprint()):
        raise SystemExit(f"{file} is of another commit or machine; --fresh removes it, --out keeps both")
    with tempfile.TemporaryDirectory(prefix="sota-bench-study-") as folder:
        trees = Trees(Path(folder), header["counts"] if header else {})
        if header is None:
            header = {"commit": commit, "changed": changed, "hardware": fingerprint(), "counts": trees.counts,
                      "blocks": options.blocks, "seconds": options.seconds, "jobs": options.jobs}  # fmt: skip
            with file.open("a") as out:
                out.write(json.dumps(header) + "\n")
        study = Study(
            trees, header, results, options.out, began + 60 * options.minutes if options.minutes else math.inf
        )
        study.run(options.jobs)
    text, _, good = report(results, header)
    print(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
