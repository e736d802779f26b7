"""Exact counts of one tree, alone or against the committed ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sota_bench.regression import counts as exact
from sota_bench.regression.counts import WorkloadCounts
from sota_bench.regression.outcome import SUITE, GateOutcome, GateSettings, Log, matches
from sota_bench.regression.process import MeasuringProcess, ProcessGroup, Workspace, each_in_turn
from sota_bench.regression.tree import Tree


@dataclass(frozen=True)
class CountResult:
    """Exact counts of some workloads.

    Attributes:
        counts: workload -> its counts.
        failed: workload -> why it could not be counted.
    """

    counts: dict[str, WorkloadCounts] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def compare_with_file(head: Tree, scratch: Path, settings: GateSettings, log: Log, suite: str = SUITE) -> GateOutcome:
    """Compares the counts of one tree with those that its suite's ``counts.json`` has for the installed software."""
    started, outcome = time.monotonic(), GateOutcome(f"{Path(suite).parent}/counts.json", head.title, settings)
    committed = exact.committed((head.folder / suite).with_name("counts.json"), settings.device)
    counted = count_tree(head, scratch, settings, log, suite)
    outcome.missing = {name: f"cannot be counted: {reason}" for name, reason in counted.failed.items()}
    if committed:
        covered = counted.counts.keys() | counted.failed.keys()
        gone = [name for name in committed if name not in covered and matches(name, settings.only)]
        outcome.missing |= dict.fromkeys(gone, "counts.json has it and the suite does not: was it renamed or removed?")
        outcome.new = [name for name in counted.counts if name not in committed]
        outcome.counted = sorted(committed.keys() & counted.counts.keys())
        outcome.differences = exact.differences(committed, counted.counts)
    else:
        outcome.void = (
            f"There are no committed counts for {exact.software_key(settings.device)}, so nothing was compared: "
            "--write-counts adds them, and --base compares with a revision instead"
        )
    outcome.seconds = time.monotonic() - started
    return outcome


def count_tree(tree: Tree, scratch: Path, settings: GateSettings, log: Log, suite: str = SUITE) -> CountResult:
    """The counts of one tree's workloads.

    Raises:
        MeasuringFailed: its suite cannot be imported.
    """

    def start() -> ProcessGroup:
        workspace = Workspace(tree.folder, scratch / "work-B", scratch / "log-B")
        return ProcessGroup([workspace], tree.folder / suite, settings.device)

    with start() as (process,):
        workloads = process.suite().workloads
    log(f"counting operations in {tree.title}")
    return count(start, [name for name, info in workloads.items() if info.counts and matches(name, settings.only)])


def count(start: Callable[[], ProcessGroup], names: Sequence[str]) -> CountResult:
    """The counts of workloads, all in one process where none fails."""
    counts: dict[str, WorkloadCounts] = {}

    def count_one(process: MeasuringProcess, name: str) -> None:
        counts[name] = process.counts(name)
        process.forget(name)

    return CountResult(counts, each_in_turn(start, names, count_one))
