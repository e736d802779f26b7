"""The history of measured times: one file of JSON lines for each coarse hardware, one line for each record.

A line holds ``recorded`` (UTC), ``commit``, ``changed`` (whether files differed from it), ``hardware``, ``times``
(workload -> seconds of each fresh process) and ``counts``. Lines are only ever added.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError
from sota_bench.regression.hardware import key


@dataclass(frozen=True)
class Record:
    """One line of a history.

    Attributes:
        recorded: when, ISO 8601 in UTC.
        commit: the digest that was checked out, or "".
        changed: whether files differed from that commit.
        hardware: see ``hardware.fingerprint``.
        times: workload -> seconds of each process.
        counts: workload -> exact counts.
    """

    recorded: str
    commit: str
    changed: bool
    hardware: dict[str, Any]
    times: dict[str, list[float]]
    counts: dict[str, dict[str, int]]

    @property
    def title(self) -> str:
        """The commit, shortened, or the time where there is none."""
        return (self.commit[:10] + ("+" if self.changed else "")) if self.commit else self.recorded[:16]

    def seconds(self, workload: str) -> float:
        """The median over processes; NaN where it was not measured."""
        return statistics.median(self.times[workload]) if self.times.get(workload) else float("nan")


def append(folder: Path, record: Record) -> Path:
    """Adds a record to its hardware's file.

    Raises:
        UserError: the folder cannot be written.
    """
    file = folder / f"{key(record.hardware)}.jsonl"
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


def read(folder: Path) -> tuple[dict[str, list[Record]], int]:
    """The records of each hardware in the order in which they were recorded, and how many lines cannot be read.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError("--history", "", f"there is no folder {str(folder)!r}", "`timing record` makes it")
    found: dict[str, list[Record]] = {}
    bad = 0
    for file in sorted(folder.glob("*.jsonl")):
        records = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                records.append(_record(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError):
                bad += 1
        if records:
            found[file.stem] = sorted(records, key=lambda record: record.recorded)
    return found, bad


def _record(line: Mapping[str, Any]) -> Record:
    times = {str(name): [float(second) for second in seconds] for name, seconds in line["times"].items()}
    if any(not 0 < second < float("inf") for seconds in times.values() for second in seconds):
        raise ValueError("a time is not above zero")
    return Record(
        str(line["recorded"]), str(line["commit"]), bool(line["changed"]), dict(line["hardware"]), times,
        dict(line["counts"]),
    )  # fmt: skip


def workloads(records: list[Record]) -> list[str]:
    """Every workload that some record measured, in order of appearance."""
    return list(dict.fromkeys(name for record in records for name in record.times))
