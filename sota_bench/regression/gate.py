"""The gate: compares counts and times of two built trees, and makes one outcome of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.regression import counts as exact
from sota_bench.regression.counting import count
from sota_bench.regression.decide import Round, alpha_of, control_moved, half_log_ratio, judge, order_of
from sota_bench.regression.outcome import SUITE, GateOutcome, GateSettings, Log, matches
from sota_bench.regression.process import (
    MeasuringFailed,
    MeasuringProcess,
    ProcessGroup,
    WorkloadInfo,
    Workspace,
    each_in_turn,
)
from sota_bench.regression.tree import Tree
from sota_bench.units import counted

VISITS = 4
"""How often each process of a block times a workload, in turns: a disturbance of seconds spoils only some of them."""


class Gate:
    """Compares two built trees.

    Args:
        base, head: the trees; the suite of the head measures both.
        scratch: a folder for the files of the measuring processes.
        settings: how to measure.
        log: takes lines of progress.
        suite: path of the suite inside a tree.
        warm: whether both trees have to be run once first; a caller that compares the same two again need not.
    """

    def __init__(
        self, base: Tree, head: Tree, scratch: Path, settings: GateSettings, log: Log, suite: str = SUITE,
        warm: bool = True,
    ) -> None:  # fmt: skip
        self.trees, self.scratch, self.settings, self.log = {"A": base, "B": head}, scratch, settings, log
        self.suite, self._must_warm = suite, warm
        self.outcome = GateOutcome(base.title, head.title, settings)
        self._started = time.monotonic()
        self._dropped: set[str] = set()
        self._preload: tuple[str, ...] = ()

    def run(self) -> GateOutcome:
        """Runs both trees once, compares counts, then times.

        Raises:
            MeasuringFailed: the head's suite cannot be imported.
            UserError: the settings select no workload.
        """
        workloads = self._workloads()
        if self.settings.counts:
            self._compare_counts([name for name, info in workloads.items() if info.counts])
        timed = [name for name, info in workloads.items() if info.timed and not info.control]
        controls = [name for name, info in workloads.items() if info.timed and info.control]
        if self.settings.times and timed:
            self._compare_times([name for name in timed if name not in self._dropped], controls)
        self.outcome.seconds = time.monotonic() - self._started
        return self.outcome

    def _start(self, sides: str, own_suite: bool = False, preload: Sequence[str] = ()) -> ProcessGroup:
        """Starts a process for each side, in that order."""
        suite = self.trees[sides if own_suite else "B"].folder / self.suite
        # Paths of the same length for both sides, so that nothing that is made of them differs in size.
        workspaces = [
            Workspace(self.trees[side].folder, self.scratch / f"work-{side}", self.scratch / f"log-{side}")
            for side in sides
        ]
        return ProcessGroup(workspaces, suite, self.settings.device, preload)

    def _workloads(self) -> dict[str, WorkloadInfo]:
        """The head's workloads that are selected and that run in both trees; the others are noted as missing."""
        with self._start("B") as (process,):
            suite = process.suite()
        self._preload, head = suite.preload, suite.workloads
        base = self._base_workloads()
        names = self._selected(head, base)
        for name in [name for name in names if name in base]:
            if lost := _lost_uses(base[name], head[name]):
                self._drop(name, f"in the base it {lost}, and in the head no longer")
        self.outcome.new = [name for name in names if name not in base and not head[name].control]
        if self.settings.times and not any(head[name].control for name in names):
            self.outcome.notes.append("The suite has no control workload: a disturbed machine cannot be recognized.")
        return self._working({name: head[name] for name in names if name not in self._dropped})

    def _selected(self, head: Mapping[str, WorkloadInfo], base: Mapping[str, WorkloadInfo]) -> list[str]:
        """The head's workloads that ``only`` selects, and all controls; what the head has lost is noted as missing."""
        patterns = self.settings.only
        names = [name for name, info in head.items() if info.control or matches(name, patterns)]
        gone = [name for name in base if name not in head and matches(name, patterns)]
        if patterns and not gone and all(head[name].control for name in names):
            problem = f"{','.join(patterns)!r} matches no workload"
            raise UserError("--only", "", problem, f"choose among {', '.join(head)}")
        for name in gone:
            self._drop(name, "the base has it and the head does not: was it renamed or removed?")
        return names

    def _working(self, workloads: Mapping[str, WorkloadInfo]) -> dict[str, WorkloadInfo]:
        """The workloads that are used and run in both trees."""
        settings = self.settings
        used = {
            name: info
            for name, info in workloads.items()
            if (info.timed and settings.times) or (info.counts and settings.counts)
        }
        if self._must_warm:
            self.log(f"running {counted(len(used), 'workload')} once in {self.outcome.base} and in {self.outcome.head}")
        failed = {side: self._warm(side, used) for side in self.trees}
        for name in used:
            if reason := failed["B"].get(name):
                self._drop(name, f"fails in the head: {reason}")
            elif (reason := failed["A"].get(name)) and name not in self.outcome.new:
                self._drop(name, f"fails in the base with the head's workload: {reason}")
        return {name: info for name, info in used.items() if name not in failed["A"] and name not in failed["B"]}

    def _base_workloads(self) -> dict[str, WorkloadInfo]:
        texts = [suite_text(tree.folder / self.suite) for tree in self.trees.values()]
        if texts[0] and texts[0] != texts[1]:
            self.outcome.notes.append("The workloads differ between the revisions: the head's measured both.")
        if not texts[0]:
            self.outcome.notes.append("The base has no suite: every workload is new, and is measured in both trees.")
            return {}
        with self._start("A", own_suite=True) as (process,):
            try:
                return process.suite().workloads
            except MeasuringFailed as error:
                self.outcome.notes.append(f"The base's own suite cannot be read ({error}).")
                return {}

    def _drop(self, name: str, reason: str) -> None:
        """Leaves a workload out: a failure of the gate, unless the settings accept it."""
        self._dropped.add(name)
        if self._is_accepted(name):
            self.outcome.notes.append(f"{name} is not compared, as --accept allows ({reason}).")
        else:
            self.outcome.missing[name] = reason

    def _is_accepted(self, name: str) -> bool:
        return bool(self.settings.accept) and matches(name, self.settings.accept)

    def _warm(self, side: str, workloads: Mapping[str, WorkloadInfo]) -> dict[str, str]:
        """Runs every timed workload once, so that files are in memory and inputs are prepared.

        Returns:
            Workload -> why it failed.
        """
        if not (self.settings.times and self._must_warm):
            return {}

        def run_once(process: MeasuringProcess, name: str) -> None:
            process.laps(name, 0.0)
            process.forget(name)

        timed = [name for name, info in workloads.items() if info.timed]
        return each_in_turn(lambda: self._start(side), timed, run_once)

    def _compare_counts(self, names: Sequence[str]) -> None:
        tree_counts = {}
        for side, where in (("A", "base"), ("B", "head")):
            self.log(f"counting operations in {self.trees[side].title}")
            tree_counts[side] = count(lambda side=side: self._start(side), names)  # type: ignore[misc]
            for name, reason in tree_counts[side].failed.items():
                if side == "B" or name not in self.outcome.new:
                    self._drop(name, f"cannot be counted in the {where}: {reason}")
        before, after = tree_counts["A"].counts, tree_counts["B"].counts
        self.outcome.counted = sorted(before.keys() & after.keys())
        files = {
            side: exact.committed((tree.folder / self.suite).with_name("counts.json"), self.settings.device)
            for side, tree in self.trees.items()
        }
        marked = exact.mark_expected(exact.differences(before, after), after, files["A"], files["B"])
        self.outcome.differences = [
            replace(difference, expected=True) if self._is_accepted(difference.workload) else difference
            for difference in marked
        ]

    def _compare_times(self, names: Sequence[str], controls: Sequence[str]) -> None:
        outcome, threshold = self.outcome, self.settings.threshold
        outcome.alpha = alpha_of(len(names))
        first = self._round("first round", names, controls)
        if first is None:
            return
        flagged = [name for name in names if name in first and first[name].passes_as_slower(threshold, outcome.alpha)]
        second: dict[str, Round] = {}
        if flagged:
            self.log(f"slower: {', '.join(flagged)}; measuring again in an independent second round")
            repeated = self._round("second round", flagged, controls)
            if repeated is None:
                return
            second = repeated
        for name in names:
            if name in first:
                outcome.verdicts[name] = judge(first[name], second.get(name), threshold, outcome.alpha)

    def _round(self, title: str, names: Sequence[str], controls: Sequence[str]) -> dict[str, Round] | None:
        """The blocks of one round; measured once more where a control moved, and void if it moves again."""
        for attempt in ("", ", repeated"):
            rounds = self._blocks(title + attempt, [*controls, *names])
            measured = [name for name in controls if name in rounds and rounds[name].estimates]
            for name in measured:
                self.outcome.control.setdefault(name, []).append(rounds[name].mean)
            moved = [name for name in measured if control_moved(rounds[name], self.settings.threshold)]
            if not moved:
                return rounds
            self.log(f"the machine was disturbed: {', '.join(moved)} moved, which no change can cause")
            if self._time_is_up():
                break
        self.outcome.void = (
            f"{', '.join(moved)} differs between the revisions, which no change to them can cause: the machine was too "
            "disturbed to judge times; measure again"
        )
        return None

    def _time_is_up(self) -> bool:
        return bool(self.settings.minutes) and time.monotonic() - self._started > 60 * self.settings.minutes

    def _blocks(self, title: str, names: Sequence[str]) -> dict[str, Round]:
        estimates: dict[str, list[float]] = {name: [] for name in names}
        for number in range(self.settings.blocks):
            if self._time_is_up():
                self.outcome.notes.append(f"The time was up after {number} blocks of the {title}.")
                break
            began, order = time.monotonic(), order_of(number)
            compared = [name for name in names if name not in self._dropped]
            for name, seconds in self._block(order, compared).items():
                estimates[name].append(half_log_ratio(order, seconds))
            spent = time.monotonic() - began
            self.log(f"{title}, block {number + 1} of {self.settings.blocks} ({order}): {spent:.0f} s")
        return {name: Round(tuple(values)) for name, values in estimates.items() if name not in self._dropped}

    def _block(self, order: str, names: Sequence[str]) -> dict[str, list[float]]:
        """Seconds of each workload in the four processes of a block, which prepare together and are timed one at a
        time."""
        seconds: dict[str, list[float]] = {}
        with self._start(order, preload=self._preload) as processes:
            for name in names:
                try:
                    seconds[name] = block_of(processes, name, self.settings.seconds, self.settings.device)
                except MeasuringFailed as error:
                    self._drop(name, f"failed while it was timed: {error}")
                    break  # the next block goes on without it
        return seconds


def _lost_uses(before: WorkloadInfo, now: WorkloadInfo) -> str:
    """What a workload was used for and is no longer, in words; "" for nothing."""
    lost = {
        "was timed": before.timed and not before.control and (now.control or not now.timed),
        "was counted": bool(before.counts) and not now.counts,
        "was a control": before.control and not now.control,
    }
    return " and ".join(words for words, is_lost in lost.items() if is_lost)


def suite_text(file: Path) -> bytes:
    """The suite and the Python files beside it, as bytes that differ when one of them does; empty without a suite."""
    if not file.is_file():
        return b""
    return b"".join(other.read_bytes() for other in sorted(file.parent.glob("*.py")))


def block_of(processes: Sequence[MeasuringProcess], name: str, seconds: float, device: str) -> list[float]:
    """Seconds of one workload in each process (see :func:`process_seconds`).

    Raises:
        MeasuringFailed: it failed in one of them.
    """
    for process in processes:
        process.send({"do": "prepare", "name": name})
    for process in processes:
        process.receive()
    laps: list[list[float]] = [[] for _ in processes]
    for _ in range(VISITS):
        for process, own_laps in zip(processes, laps, strict=True):
            own_laps += process.laps(name, seconds / VISITS)
    for process in processes:
        process.send({"do": "forget", "name": name})
    for process in processes:
        process.receive()
    return [process_seconds(own_laps, device) for own_laps in laps]


def process_seconds(laps: Sequence[float], device: str) -> float:
    """The time of a workload in one process, from its laps: the least on a CPU, where other work can only add to a
    time; the median on a GPU, whose clock moves both ways."""
    return statistics.median(laps) if device.startswith("cuda") else min(laps)
