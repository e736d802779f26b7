"""The history of measured times: one file of JSON lines for each coarse hardware, one line for each record.

A line holds the fields of :class:`TimingRecord`. Lines are only ever appended.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError
from sota_bench.regression.hardware import Hardware, file_stem


@dataclass(frozen=True)
class TimingRecord:
    """One line of a history.

    Attributes:
        recorded: when, ISO 8601 in UTC.
        commit: the digest that was checked out, or "".
        changed: whether files differed from that commit.
        hardware: that measured it.
        times: workload -> seconds of each fresh process.
        counts: workload -> exact counts.
    """

    recorded: str
    commit: str
    changed: bool
    hardware: Hardware
    times: dict[str, list[float]]
    counts: dict[str, dict[str, int]]

    @property
    def title(self) -> str:
        """The shortened commit, or the time where there is none."""
        return (self.commit[:10] + ("+" if self.changed else "")) if self.commit else self.recorded[:16]

    def seconds(self, workload: str) -> float:
        """The median over processes; NaN where it was not measured."""
        return statistics.median(self.times[workload]) if self.times.get(workload) else float("nan")


def append(folder: Path, record: TimingRecord) -> Path:
    """Appends a record to its hardware's file, and returns the file.

    Raises:
        UserError: the folder cannot be written.
    """
    file = folder / f"{file_stem(record.hardware)}.jsonl"
    line = json.dumps(vars(record), sort_keys=True, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # One write to a file opened for appending: two records at the same time do not mix.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UserError("--history", "", f"{folder} cannot be written: {error}", "name another folder") from error
    return file


def read(folder: Path) -> tuple[dict[str, list[TimingRecord]], int]:
    """The records of each hardware, oldest first, and how many lines cannot be read.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError("--history", "", f"there is no folder {str(folder)!r}", "`timing record` makes it")
    histories: dict[str, list[TimingRecord]] = {}
    unreadable = 0
    for file in sorted(folder.glob("*.jsonl")):
        records = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                records.append(_record(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError):
                unreadable += 1
        if records:
            histories[file.stem] = sorted(records, key=lambda record: record.recorded)
    return histories, unreadable


def _record(line: Mapping[str, Any]) -> TimingRecord:
    times = {str(name): [float(second) for second in seconds] for name, seconds in line["times"].items()}
    if any(not 0 < second < float("inf") for seconds in times.values() for second in seconds):
        raise ValueError("a time is not above zero")
    machine = line["hardware"]
    hardware: Hardware = {
        "cpu": str(machine["cpu"]),
        "cores": int(machine["cores"]),
        "gpu": str(machine["gpu"]),
        "torch": str(machine["torch"]),
    }
    return TimingRecord(
        str(line["recorded"]), str(line["commit"]), bool(line["changed"]), hardware, times, dict(line["counts"])
    )


def workloads(records: Sequence[TimingRecord]) -> list[str]:
    """Every workload that some record measured, in order of appearance."""
    return list(dict.fromkeys(name for record in records for name in record.times))
