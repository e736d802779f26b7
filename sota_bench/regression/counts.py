"""Exact counts: what differs between two revisions, and whether the change announces it.

The suite's folder may hold ``counts.json``: for each release of torch and timm, the counts of every workload. A change
that is meant to alter a count updates that file in the same commit, and is then expected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError
from sota_bench.regression.hardware import release

WORDS = {
    "laps": "pieces of work",
    "operations": "ATen operations",
    "synchronizations": "host-device synchronizations",
    "device_waits": "calls that wait for the GPU",
    "bytes_moved": "bytes moved",
    "transferred_bytes": "bytes between host and device",
    "graphs": "compiled graphs",
    "graph_breaks": "graph breaks",
}
"""Name of a count -> what it counts, in the order in which they are shown."""


@dataclass(frozen=True)
class WorkloadCounts:
    """The exact counts of one workload.

    Attributes:
        numbers: name of a count, a key of :data:`WORDS` -> its value.
        by_operation: operation -> calls; explains the numbers and is not compared itself.
    """

    numbers: Mapping[str, int]
    by_operation: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> WorkloadCounts:
        """From the values of a measuring process, or of a file, which has no calls of operations.

        Raises:
            TypeError, ValueError: they are not counts.
        """
        by_operation = {str(name): int(calls) for name, calls in values.get(DETAIL, {}).items()}
        return cls({str(name): int(value) for name, value in values.items() if name != DETAIL}, by_operation)


DETAIL = "by_operation"
"""Name of the operations' calls among the values of a measuring process."""

Counts = Mapping[str, WorkloadCounts]
"""Workload -> its counts."""


@dataclass(frozen=True)
class Difference:
    """One count that changed.

    Attributes:
        workload, count: which.
        before, after: the numbers, over all pieces of work that are counted.
        detail: operations that came or went.
        expected: whether the change announces it.
    """

    workload: str
    count: str
    before: int
    after: int
    detail: str = ""
    expected: bool = False

    @property
    def text(self) -> str:
        """One line for people."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.workload}: {WORDS.get(self.count, self.count)} {self.before:,} -> {self.after:,}{detail}"


def differences(before: Counts, after: Counts) -> list[Difference]:
    """Every count that differs, of the workloads that both have."""
    changed = []
    for workload in before.keys() & after.keys():
        old, new = before[workload].numbers, after[workload].numbers
        for count in [name for name in WORDS if name in old or name in new]:
            if old.get(count, 0) != new.get(count, 0):
                detail = _detail(before[workload], after[workload]) if count == "operations" else ""
                changed.append(Difference(workload, count, old.get(count, 0), new.get(count, 0), detail))
    return sorted(changed, key=lambda difference: (difference.workload, list(WORDS).index(difference.count)))


def _detail(old: WorkloadCounts, new: WorkloadCounts, limit: int = 4) -> str:
    """The operations whose calls changed most."""
    before, after = old.by_operation, new.by_operation
    if not before or not after:
        return ""
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    largest = sorted((name for name, by in changes.items() if by), key=lambda name: (-abs(changes[name]), name))
    others = f" and {len(largest) - limit} more" if len(largest) > limit else ""
    return ", ".join(f"{name} {changes[name]:+d}" for name in largest[:limit]) + others


def software_key(device: str) -> str:
    """What counts depend on beside the code: releases of torch and timm, and the kind of device."""
    return f"torch {release('torch')}, timm {release('timm')}, {device.partition(':')[0]}"


def committed(file: Path, device: str) -> dict[str, WorkloadCounts]:
    """The counts in a file for the installed software; empty where it has none.

    Raises:
        UserError: the file cannot be read as counts.
    """
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))["counts"].get(software_key(device), {})
        return {str(name): WorkloadCounts.from_json(values) for name, values in stored.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(str(file), "", f"cannot be read ({error})", "write it again with --write-counts") from None


def write(file: Path, device: str, counts: Counts) -> None:
    """Puts counts for the installed software into a file, and leaves those for other software as they are."""
    try:
        by_software = json.loads(file.read_text(encoding="utf-8"))["counts"]
    except (OSError, ValueError, KeyError):
        by_software = {}
    by_software[software_key(device)] = {name: dict(counted.numbers) for name, counted in sorted(counts.items())}
    description = "Exact counts of one run of each workload; written by `timing gate --write-counts`."
    file.write_text(
        json.dumps({"about": description, "counts": dict(sorted(by_software.items()))}, indent=1) + "\n", "utf-8"
    )


def mark_expected(
    differences: Sequence[Difference], head: Counts, base_file: Counts, head_file: Counts
) -> list[Difference]:
    """The differences, marked as expected where the change announces them: the head's file has exactly what was
    counted, and the base's does not.

    Args:
        differences: between the base and the head.
        head: what was counted in the head.
        base_file, head_file: the committed counts of each revision, for the installed software.
    """

    def announced(workload: str) -> bool:
        stated, before = head_file.get(workload), base_file.get(workload)
        if stated is None or (before is not None and stated.numbers == before.numbers):
            return False
        return stated.numbers == head[workload].numbers

    return [replace(difference, expected=announced(difference.workload)) for difference in differences]
