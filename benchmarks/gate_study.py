"""How often ``timing gate`` is wrong, and what it finds: the same code against itself, and against real slow-downs.

``python benchmarks/gate_study.py`` makes copies of this project in which every training step does more real work
(small matrix products, calibrated on this machine to 10% and 25% of a step), and lets the gate compare:

- 40 times a copy with itself: at most 2 failures;
- 20 times with 10% more work: at least 12 found; 20 times with 25% more: 20 found;
- 10 times with one operation more in a step, each time another one: the exact counts find 10;
- once all workloads with the gate's own settings, a copy with itself: no failure, and under 15 minutes.

Every comparison uses processes of its own. Results are added to ``benchmarks/results/gate_study.jsonl`` one by one; the
same command goes on where it stopped, kinds in turn, and writes ``gate_study.md`` and ``gate_study.json`` after each
comparison. ``--jobs 2`` compares two at a time, each on a core of its own: in less time, and in the noise that the
other makes; the whole gate runs alone. ``--minutes`` ends it in time; ``--fresh`` starts anew. Exit code 1 when a
figure is missed.
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
from sota_bench.regression.outcome import SUITE, Settings
from sota_bench.regression.process import Place, Together
from sota_bench.regression.tree import Tree, describe, export

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
WORKLOAD = "training_step"
STEP, ANCHOR = "sota_bench/training/train.py", "optimizer.step()"
EXTRA = {"slower_10": 0.10, "slower_25": 0.25}
WANTED = {"same": 40, "slower_10": 20, "slower_25": 20, "one_operation": 10, "whole": 1}
REACH = {"same": ("at most", 2), "slower_10": ("at least", 12), "slower_25": ("at least", 20),
         "one_operation": ("at least", 10), "whole": ("at most", 0)}  # fmt: skip
WORDS = {"same": "the same code fails", "slower_10": "10% more work in a step is found",
         "slower_25": "25% more work in a step is found", "one_operation": "one more operation is found",
         "whole": "the same code fails, all workloads"}  # fmt: skip
WHOLE_MINUTES = 15
WORK = "_extra = torch.full((64, 64), 0.01); [torch.mm(_extra, _extra) for _ in range({count})]"
OPERATIONS = ("torch.ones(2) + 1", "torch.ones(2) * 2", "torch.ones(2).exp()", "torch.ones(2).sum()",
              "torch.ones(2).clone()", "torch.ones(2).neg()", "torch.ones(2).sqrt()", "torch.ones(2).relu()",
              "torch.ones(2)[0].item()", "torch.cat([torch.ones(2)])")  # fmt: skip
MOST_COUNT = 3000
"""Products of the calibration: about as long as a step, so that the noise of a ratio is small beside it."""


def patched(base: Path, into: Path, statement: str) -> Tree:
    """A copy of a tree whose training step also runs a statement."""
    source = into.with_name(into.name + "-source")
    shutil.copytree(base, source)
    file = source / STEP
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    at = [number for number, line in enumerate(lines) if line.strip() == ANCHOR]
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
    found = []
    for block in range(blocks):
        order = order_of(block)
        trees = {"A": base, "B": other}
        places = [Place(trees[side].folder, scratch / f"work-{trees[side].name}", scratch / "log") for side in order]
        with Together(places, suite, "cpu") as processes:
            times = block_of(processes, WORKLOAD, 1.0, "cpu")
        sides = {side: [t for t, s in zip(times, order, strict=True) if s == side] for side in "AB"}
        found.append(statistics.fmean(sides["B"]) / statistics.fmean(sides["A"]))
    return statistics.median(found)


class Trees:
    """The copies of the project that are compared.

    Args:
        folder: where they lie.
        counts: extra products of a step for each slow-down; calibrated if empty.
    """

    def __init__(self, folder: Path, counts: dict[str, int]) -> None:
        self.folder = folder
        self.base = Tree(export(ROOT, str(ROOT), folder / "base").folder, "base")
        self.same = Tree(export(ROOT, str(ROOT), folder / "same").folder, "same")
        self.suite = self.base.folder / SUITE
        self.counts = counts or self._calibrate()
        self.made: dict[str, Tree] = {"same": self.same}
        self.making = threading.Lock()

    def _calibrate(self) -> dict[str, int]:
        """How many products are 10% and 25% of a step: from the ratio with many of them."""
        many = patched(self.base.folder, self.folder / "many", WORK.format(count=MOST_COUNT))
        ratio(self.base, many, self.suite, self.folder, 1)  # warms
        share = (ratio(self.base, many, self.suite, self.folder, 3) - 1) / MOST_COUNT
        say(f"calibrated: {MOST_COUNT} products are {100 * share * MOST_COUNT:.1f}% of a step")
        return {kind: max(1, round(extra / share)) for kind, extra in EXTRA.items()}

    def of(self, kind: str, attempt: int, job: int) -> Tree:
        """The head of one comparison."""
        if kind == "whole":
            return self.same
        if kind == "one_operation":
            folder = self.folder / f"oneoperation{job}"
            shutil.rmtree(folder, ignore_errors=True)
            return patched(self.base.folder, folder, OPERATIONS[attempt % len(OPERATIONS)])
        if kind not in self.made:
            self.made[kind] = patched(self.base.folder, self.folder / kind, WORK.format(count=self.counts[kind]))
        return self.made[kind]


def compare(trees: Trees, kind: str, attempt: int, job: int, blocks: int, seconds: float) -> dict[str, Any]:
    """One comparison by the gate."""
    exact = kind == "one_operation"
    with trees.making:
        head = trees.of(kind, attempt, job)
    scratch = trees.folder / f"scratch{job}-{kind.replace('_', '')}"
    warm = not scratch.is_dir()
    scratch.mkdir(exist_ok=True)
    one = Settings((WORKLOAD,), blocks, seconds=seconds, times=not exact, counts=exact)
    settings = Settings() if kind == "whole" else one
    outcome = Gate(trees.base, head, scratch, settings, lambda line: None, warm=warm).run()
    if outcome.missing:  # a failure of the study, and nothing that it has found
        raise SystemExit(f"{kind}: {outcome.missing}")
    verdict = outcome.verdicts.get(WORKLOAD)
    return {
        "kind": kind,
        "answer": outcome.answer,
        "change": verdict.change if verdict else None,
        "visible": verdict.visible if verdict else None,
        "stages": len(verdict.blocks) if verdict else 0,
        "failures": outcome.failures,
        "seconds": round(outcome.seconds, 1),
    }


def report(found: Sequence[dict[str, Any]], header: dict[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """Markdown, JSON, and whether all is done and every figure reached."""
    rows, table, good = {}, [], True
    for kind, wanted in WANTED.items():
        answers = [one["answer"] for one in found if one["kind"] == kind]
        words, limit = REACH[kind]
        failing = ("fail", "void") if words == "at most" else ("fail",)
        hits = sum(answer in failing for answer in answers)
        reached = hits <= limit if words == "at most" else hits >= limit
        good &= len(answers) >= wanted and reached
        low, high = binomtest(hits, len(answers)).proportion_ci(method="exact") if answers else (0.0, 1.0)
        rows[kind] = {
            "tries": len(answers),
            "fail": hits,
            **{a: answers.count(a) for a in ("pass", "inconclusive", "void")},
        }
        interval = f"{100 * low:.0f} to {100 * high:.0f}%"
        table.append(f"| {WORDS[kind]} | {hits} of {len(answers)} | {interval} | {words} {limit} of {wanted} | "
                     f"{rows[kind]['inconclusive']} | {rows[kind]['void']} |")  # fmt: skip
    times = [one["seconds"] for one in found if one["kind"] not in ("one_operation", "whole")]
    whole = [one["seconds"] / 60 for one in found if one["kind"] == "whole"]
    good &= bool(whole) and max(whole) < WHOLE_MINUTES
    hardware = header["hardware"]
    changes = {
        kind: statistics.median(one["change"] for one in found if one["kind"] == kind and one["change"] is not None)
        for kind in ("same", *EXTRA)
        if any(one["kind"] == kind and one["change"] is not None for one in found)
    }
    lines = [
        "# How often the timing gate is wrong, and what it finds", "",
        f"`python benchmarks/gate_study.py` on {hardware['cores']} cores of {hardware['cpu']}, torch "
        f"{hardware['torch']}: `{WORKLOAD}`, {header['blocks']} blocks a stage, threshold 5%, {header['jobs']} at a "
        "time.", "",
        "| | found | 95% interval | to reach | inconclusive | void |", "|---|--:|--:|--:|--:|--:|", *table, "",
        "Median change that the gate reported: "
        + "; ".join(f"{kind} {100 * change:+.1f}%" for kind, change in changes.items()) + ".", "",
        *(f"All workloads, the gate's own settings: {one:.1f} minutes, under {WHOLE_MINUTES} asked." for one in whole),
        f"Median time of a comparison: {statistics.median(times) if times else 0:.0f} s. The extra work is "
        f"{header['counts']} products of 64 x 64 matrices in each step. A void run counts as a failure of the same "
        "code: the command ends alike.", "",
    ]  # fmt: skip
    return "\n".join(lines), {**header, "results": rows, "changes": changes}, good


class Study:
    """What is left of the study.

    Args:
        trees: what is compared.
        header: settings, machine and commit.
        found: comparisons so far, added to.
        out: folder of the results.
        until: monotonic time after which no comparison begins.
    """

    def __init__(
        self, trees: Trees, header: dict[str, Any], found: list[dict[str, Any]], out: Path, until: float
    ) -> None:
        self.trees, self.header, self.found, self.out, self.until = trees, header, found, out, until
        self.taken = Counter(one["kind"] for one in found)
        self.lock, self.began = threading.Lock(), time.monotonic()

    def run(self, jobs: int) -> None:
        """Compares until all is done, then runs the whole gate alone."""
        cores: list[int | None] = sorted(os.sched_getaffinity(0)) if jobs > 1 else [None]
        kinds = [kind for kind in WANTED if kind != "whole"]
        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(lambda job: self._work(job, cores[job % len(cores)], kinds), range(jobs)):
                pass
        self._work(0, None, ["whole"])

    def _work(self, job: int, core: int | None, kinds: Sequence[str]) -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})  # of this thread, and of the processes that it starts
        while time.monotonic() < self.until:
            with self.lock:
                left = [kind for kind in kinds if self.taken[kind] < WANTED[kind]]
                if not left:
                    return
                kind = min(left, key=lambda name: self.taken[name] / WANTED[name])  # in turn, in proportion
                self.taken[kind] += 1
                attempt = self.taken[kind] - 1
            one = compare(self.trees, kind, attempt, job, self.header["blocks"], self.header["seconds"])
            with self.lock:
                self._keep(one)

    def _keep(self, one: dict[str, Any]) -> None:
        self.found.append(one)
        with (self.out / "gate_study.jsonl").open("a") as log:
            log.write(json.dumps(one) + "\n")
        change = f" {100 * one['change']:+.1f}%" if one["change"] is not None else ""
        kind, minutes = one["kind"], (time.monotonic() - self.began) / 60
        so_far = sum(other["kind"] == kind for other in self.found)
        say(f"{minutes:5.1f} min  {kind} {so_far}/{WANTED[kind]}: {one['answer']}{change} ({one['seconds']:.0f} s)")
        text, about, _ = report(self.found, self.header)
        (self.out / "gate_study.md").write_text(text, encoding="utf-8")
        (self.out / "gate_study.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def say(line: str) -> None:
    """Progress goes to standard error."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Runs what is missing of the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=3, help="blocks of a stage")
    parser.add_argument("--seconds", type=float, default=0.5, help="each process times the step for so long")
    parser.add_argument("--jobs", type=int, default=1, help="comparisons at a time, each on one core")
    parser.add_argument("--minutes", type=float, default=0.0, help="no comparison begins after so many; 0: no limit")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run has measured")
    options = parser.parse_args()
    began, log = time.monotonic(), options.out / "gate_study.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        log.unlink(missing_ok=True)
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    header = next((line for line in lines if "hardware" in line), None)
    found = [line for line in lines if "kind" in line]
    commit, changed = describe(ROOT)
    if header is not None and (header["commit"], header["hardware"]) != (commit, fingerprint()):
        raise SystemExit(f"{log} is of another commit or machine; --fresh forgets it, --out keeps both")
    with tempfile.TemporaryDirectory(prefix="sota-bench-study-") as folder:
        trees = Trees(Path(folder), header["counts"] if header else {})
        if header is None:
            header = {"commit": commit, "changed": changed, "hardware": fingerprint(), "counts": trees.counts,
                      "blocks": options.blocks, "seconds": options.seconds, "jobs": options.jobs}  # fmt: skip
            with log.open("a") as out:
                out.write(json.dumps(header) + "\n")
        study = Study(trees, header, found, options.out, began + 60 * options.minutes if options.minutes else math.inf)
        study.run(options.jobs)
    text, _, good = report(found, header)
    print(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
