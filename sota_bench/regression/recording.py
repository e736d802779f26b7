"""Measures one tree for its history, and makes the series that are compared and drawn."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.regression.changes import LastingChange, lasting_changes, pieces_of
from sota_bench.regression.counting import count_tree
from sota_bench.regression.gate import process_seconds
from sota_bench.regression.hardware import fingerprint
from sota_bench.regression.history import TimingRecord, workloads
from sota_bench.regression.outcome import GateSettings, Log, matches
from sota_bench.regression.process import MeasuringFailed, ProcessGroup, Workspace
from sota_bench.regression.tree import describe, export
from sota_bench.units import counted


def measure(
    project: Path, suite: str, settings: GateSettings, processes: int, log: Log
) -> tuple[TimingRecord, dict[str, str]]:
    """Times and counts of a project's folder.

    Args:
        project: the folder.
        suite: path of the workloads inside it.
        settings: which workloads are measured, for how long, and on which device.
        processes: fresh ones, one after the other.
        log: takes lines of progress.

    Returns:
        The record, and why workloads were left out.

    Raises:
        UserError: there is no suite.
        MeasuringFailed: the suite cannot be imported.
    """
    if not (project / suite).is_file():
        raise UserError("--suite", "", f"there is no {suite} here", "run it in the project's folder, or name the file")
    commit, changed = describe(project)
    times: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="sota-bench-record-") as folder:
        scratch = Path(folder)
        tree = export(project, str(project), scratch / "head")

        def start() -> ProcessGroup:
            workspace = Workspace(tree.folder, scratch / "work-B", scratch / "log-B")
            return ProcessGroup([workspace], tree.folder / suite, settings.device)

        with start() as (process,):
            infos = process.suite().workloads
        names = [name for name, info in infos.items() if info.timed and matches(name, settings.only)]
        for number in range(processes + 1):  # the first one warms up
            log(f"process {number} of {processes}" if number else f"running {counted(len(names), 'workload')} once")
            with start() as (process,):
                for name in [name for name in names if name not in failed]:
                    try:
                        laps = process.laps(name, settings.seconds if number else 0.0)
                        process.forget(name)
                    except MeasuringFailed as error:
                        failed[name] = str(error)
                        times.pop(name, None)
                        break  # the processes that follow measure the remaining workloads
                    if number:
                        times.setdefault(name, []).append(process_seconds(laps, settings.device))
        tree_counts = count_tree(tree, scratch, settings, log, suite)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    counts = {name: dict(exact.numbers) for name, exact in tree_counts.counts.items()}
    record = TimingRecord(now, commit, changed, fingerprint(settings.device), times, counts)
    return record, failed | tree_counts.failed


@dataclass(frozen=True)
class Series:
    """The history of one workload on one hardware.

    Attributes:
        workload: its name.
        titles: of the records that measured it, oldest first.
        seconds, low, high: median, least and largest of each record's processes.
        edges: of the constant pieces (see ``changes.pieces_of``).
        changes: where it became slower or faster for good.
    """

    workload: str
    titles: tuple[str, ...]
    seconds: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    edges: tuple[int, ...]
    changes: tuple[LastingChange, ...]

    def as_json(self) -> dict[str, object]:
        """All of it as JSON values; each change with the title of its record."""
        changes = [{**vars(change), "at": self.titles[change.index]} for change in self.changes]
        return {**vars(self), "changes": changes}


def series_of(records: Sequence[TimingRecord], only: Sequence[str] = ()) -> list[Series]:
    """The series of each workload that fits one of the patterns ``only``."""
    series = []
    for name in workloads(records):
        measured = [record for record in records if record.times.get(name)]
        if not matches(name, only) or not measured:
            continue
        seconds = tuple(record.seconds(name) for record in measured)
        series.append(
            Series(
                workload=name,
                titles=tuple(record.title for record in measured),
                seconds=seconds,
                low=tuple(min(record.times[name]) for record in measured),
                high=tuple(max(record.times[name]) for record in measured),
                edges=tuple(pieces_of(seconds)),
                changes=tuple(lasting_changes(seconds)),
            )
        )
    return series
