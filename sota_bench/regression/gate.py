"""The gate: counts and times of two revisions, from built trees to one outcome."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.regression import counts as exact
from sota_bench.regression.counting import count
from sota_bench.regression.decide import Stage, alpha_of, control_moved, half_log_ratio, judge, order_of
from sota_bench.regression.outcome import SUITE, Outcome, Settings, Tell, matches
from sota_bench.regression.process import Measuring, MeasuringFailed, Place, Together, one_by_one
from sota_bench.regression.tree import Tree

VISITS = 4
"""How often each process of a block times a workload, in turns: a disturbance of seconds spoils some of them."""


@dataclass(frozen=True)
class Workload:
    """What a suite says of one of its workloads."""

    control: bool
    timed: bool
    counts: str

    def lost(self, now: Workload) -> str:
        """What it was used for and is no longer, in words; "" for nothing."""
        lost = {
            "was timed": self.timed and not self.control and (now.control or not now.timed),
            "was counted": bool(self.counts) and not now.counts,
            "was a control": self.control and not now.control,
        }
        return " and ".join(words for words, is_so in lost.items() if is_so)


class Gate:
    """Compares two built trees.

    Args:
        base, head: the trees; the suite of the head measures both.
        scratch: a folder for what processes leave.
        settings: how to measure.
        tell: told what happens, a line at a time.
        suite: path of the suite inside a tree.
        warm: whether both trees have to be run once before; a caller that compares the same two again need not.
    """

    def __init__(
        self, base: Tree, head: Tree, scratch: Path, settings: Settings, tell: Tell, suite: str = SUITE,
        warm: bool = True,
    ) -> None:  # fmt: skip
        self.trees, self.scratch, self.settings, self.tell = {"A": base, "B": head}, scratch, settings, tell
        self.suite, self._must_warm = suite, warm
        self.outcome = Outcome(base.title, head.title, settings)
        self._began = time.monotonic()
        self._dropped: set[str] = set()
        self._preload: list[str] = []

    def run(self) -> Outcome:
        """Warms both trees, compares counts, then times."""
        workloads = self._workloads()
        if self.settings.counts:
            self._compare_counts([name for name, one in workloads.items() if one.counts])
        timed = [name for name, one in workloads.items() if one.timed and not one.control]
        controls = [name for name, one in workloads.items() if one.timed and one.control]
        if self.settings.times and timed:
            self._compare_times([name for name in timed if name not in self._dropped], controls)
        self.outcome.seconds = time.monotonic() - self._began
        return self.outcome

    def _start(self, sides: str, own_suite: bool = False, preload: Sequence[str] = ()) -> Together:
        """A process for each side, in that order."""
        suite = self.trees[sides if own_suite else "B"].folder / self.suite
        # Paths of the same length for both sides, so that nothing that is made of them differs in size.
        places = [Place(self.trees[s].folder, self.scratch / f"work-{s}", self.scratch / f"log-{s}") for s in sides]
        return Together(places, suite, self.settings.device, preload)

    def _workloads(self) -> dict[str, Workload]:
        """The head's workloads that are asked for, once both trees have run them; the others are noted as missing."""
        asked, settings = self.settings.only, self.settings
        with self._start("B") as (head,):
            suite = head.ask("list")
        self._preload = suite["preload"]
        known = {name: Workload(**about) for name, about in suite["workloads"].items()}
        before = self._base_workloads()
        names = [name for name, one in known.items() if one.control or matches(name, asked)]
        gone = [name for name in before if name not in known and matches(name, asked)]
        if asked and not [name for name in [*names, *gone] if name not in known or not known[name].control]:
            raise UserError("--only", "", f"{','.join(asked)!r} matches no workload", f"there are {', '.join(known)}")
        for name in gone:
            self._miss(name, "the base has it and the head does not: renamed or removed?")
        for name in [name for name in names if name in before]:
            if lost := before[name].lost(known[name]):
                self._miss(name, f"in the base it {lost}, and in the head no longer")
        self.outcome.new = [name for name in names if name not in before and not known[name].control]
        if settings.times and not any(known[name].control for name in names):
            self.outcome.notes.append("The suite has no control workload: a disturbed machine cannot be recognized.")
        used = [n for n in names if (known[n].timed and settings.times) or (known[n].counts and settings.counts)]
        wanted = [name for name in used if name not in self._dropped]
        if self._must_warm:
            self.tell(f"running {len(wanted)} workloads once in {self.outcome.base} and in {self.outcome.head}")
        ready = {side: self._warm(side, {name: known[name] for name in wanted}) for side in self.trees}
        for name in wanted:
            why = ready["B"].get(name)
            if why:
                self._miss(name, f"fails in the head: {why}")
            elif (why := ready["A"].get(name)) and name not in self.outcome.new:
                self._miss(name, f"fails in the base with the head's workload: {why}")
        fails = {name for failed in ready.values() for name in failed}
        return {name: known[name] for name in wanted if name not in fails}

    def _base_workloads(self) -> dict[str, Workload]:
        texts = [suite_text(tree.folder / self.suite) for tree in self.trees.values()]
        if texts[0] and texts[0] != texts[1]:
            self.outcome.notes.append("The workloads differ between the revisions: the head's measured both.")
        if not texts[0]:
            self.outcome.notes.append(
                "The base has no suite: every workload is new, and measured in both all the same."
            )
            return {}
        with self._start("A", own_suite=True) as (base,):
            try:
                return {name: Workload(**about) for name, about in base.ask("list")["workloads"].items()}
            except MeasuringFailed as error:
                self.outcome.notes.append(f"The base's own suite cannot be read ({error}).")
                return {}

    def _miss(self, name: str, why: str) -> None:
        self._dropped.add(name)
        if matches(name, self.settings.accept or ("",)):
            self.outcome.notes.append(f"{name} is not compared, which was accepted ({why}).")
        else:
            self.outcome.missing[name] = why

    def _warm(self, side: str, workloads: Mapping[str, Workload]) -> dict[str, str]:
        """Runs every timed workload once, so that files are in memory and what is prepared is there.

        Returns:
            Workload -> why it fails.
        """
        if not (self.settings.times and self._must_warm):
            return {}

        def once(process: Measuring, name: str) -> None:
            process.ask("time", name=name, seconds=0.0)
            process.ask("forget", name=name)

        timed = [name for name, one in workloads.items() if one.timed]
        return one_by_one(lambda: self._start(side), timed, once)

    def _compare_counts(self, names: Sequence[str]) -> None:
        found = {}
        for side in self.trees:
            self.tell(f"counting operations in {self.trees[side].title}")
            counted, failed = count(lambda side=side: self._start(side), names)  # type: ignore[misc]
            for name, why in failed.items():
                if side == "B" or name not in self.outcome.new:
                    self._miss(name, f"cannot be counted in the {'head' if side == 'B' else 'base'}: {why}")
            found[side] = counted
        self.outcome.counted = sorted(found["A"].keys() & found["B"].keys())
        files = {
            side: exact.committed((tree.folder / self.suite).with_name("counts.json"), self.settings.device)
            for side, tree in self.trees.items()
        }
        differ = exact.differences(found["A"], found["B"])
        marked = exact.expected(differ, found["B"], files["A"], files["B"])
        self.outcome.differences = [
            exact.Difference(**{**vars(one), "expected": True})
            if matches(one.workload, self.settings.accept or ("",))
            else one
            for one in marked
        ]

    def _compare_times(self, names: Sequence[str], controls: Sequence[str]) -> None:
        outcome = self.outcome
        outcome.alpha = alpha_of(len(names))
        first = self._stage("first stage", names, controls)
        if first is None:
            return
        flagged = [n for n in names if n in first and first[n].passes_as_slower(self._threshold, outcome.alpha)]
        second: dict[str, Stage] = {}
        if flagged:
            self.tell(f"{', '.join(flagged)}: slower; measuring again, independently")
            repeated = self._stage("second stage", flagged, controls)
            if repeated is None:
                return
            second = repeated
        for name in names:
            if name in first:
                outcome.verdicts[name] = judge(first[name], second.get(name), self._threshold, outcome.alpha)

    @property
    def _threshold(self) -> float:
        return self.settings.threshold

    def _stage(self, title: str, names: Sequence[str], controls: Sequence[str]) -> dict[str, Stage] | None:
        """The blocks of one stage; measured once more where the control moved, and void if it moves again."""
        for attempt in ("", " again"):
            stages = self._blocks(title + attempt, [*controls, *names])
            moved = [name for name in controls if name in stages and control_moved(stages[name], self._threshold)]
            for name in controls:
                if name in stages and stages[name].estimates:
                    self.outcome.control.setdefault(name, []).append(stages[name].mean)
            if not moved:
                return stages
            self.tell(f"{', '.join(moved)} moved, which no change can cause")
            if self._spent():
                break
        self.outcome.void = (
            f"{', '.join(moved)} differs between the revisions, which no change to them can cause: the machine was too "
            "disturbed to judge, and nothing is said about times; measure again"
        )
        return None

    def _spent(self) -> bool:
        return bool(self.settings.minutes) and time.monotonic() - self._began > 60 * self.settings.minutes

    def _blocks(self, title: str, names: Sequence[str]) -> dict[str, Stage]:
        estimates: dict[str, list[float]] = {name: [] for name in names}
        for number in range(self.settings.blocks):
            if self._spent():
                self.outcome.notes.append(f"The time was up after {number} blocks of the {title}.")
                break
            began, order = time.monotonic(), order_of(number)
            live = [name for name in names if name not in self._dropped]
            for name, seconds in self._block(order, live).items():
                estimates[name].append(half_log_ratio(order, seconds))
            took = time.monotonic() - began
            self.tell(f"{title}, block {number + 1} of {self.settings.blocks} ({order}): {took:.0f} s")
        return {name: Stage(tuple(found)) for name, found in estimates.items() if name not in self._dropped}

    def _block(self, order: str, names: Sequence[str]) -> dict[str, list[float]]:
        """Seconds of each workload in the four processes of a block.

        They get ready at the same time, and each of them is timed alone.
        """
        found: dict[str, list[float]] = {}
        with self._start(order, preload=self._preload) as processes:
            for name in names:
                try:
                    found[name] = block_of(processes, name, self.settings.seconds, self.settings.device)
                except MeasuringFailed as error:
                    self._miss(name, f"failed while it was timed: {error}")
                    break  # the next block goes on without it
        return found


def suite_text(file: Path) -> bytes:
    """The suite and what lies beside it, as bytes that differ when one of the files does; empty without a suite."""
    if not file.is_file():
        return b""
    return b"".join(other.read_bytes() for other in sorted(file.parent.glob("*.py")))


def block_of(processes: Sequence[Measuring], name: str, seconds: float, device: str) -> list[float]:
    """Seconds of one workload in each process: the least lap on a CPU, the median on a GPU.

    Raises:
        MeasuringFailed: it failed in one of them.
    """
    for process in processes:
        process.send({"do": "prepare", "name": name})
    for process in processes:
        process.receive()
    laps: list[list[float]] = [[] for _ in processes]
    for _ in range(VISITS):
        for process, found in zip(processes, laps, strict=True):
            found += process.ask("time", name=name, seconds=seconds / VISITS)["laps"]
    for process in processes:
        process.send({"do": "forget", "name": name})
    for process in processes:
        process.receive()
    return [summary(found, device) for found in laps]


def summary(laps: Sequence[float], device: str) -> float:
    """The time of a process from its laps. On a CPU others can only add to a time, so the least is nearest to the
    code's own; a GPU's clock moves both ways, so there it is the median."""
    return statistics.median(laps) if device.startswith("cuda") else min(laps)
