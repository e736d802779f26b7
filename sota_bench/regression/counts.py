"""Exact counts: what differs between two revisions, and whether the change says so itself.

The suite's folder may hold ``counts.json``: for each version of torch and timm, the counts of every workload. A change
that is meant to alter a count updates that file in the same commit, and is then expected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError

Counts = Mapping[str, Mapping[str, Any]]
"""Workload -> name of the count -> its value."""

DETAIL = "by_operation"
"""The count that explains the others and is not one itself."""

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


@dataclass(frozen=True)
class Difference:
    """One count that is not what it was.

    Attributes:
        workload, count: which.
        before, after: the numbers, over all pieces of work that are counted.
        detail: operations that came or went.
        expected: whether the change says so itself.
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
        words = WORDS.get(self.count, self.count)
        more = f" ({self.detail})" if self.detail else ""
        return f"{self.workload}: {words} {self.before:,} -> {self.after:,}{more}"


def differences(before: Counts, after: Counts) -> list[Difference]:
    """Every count that differs, of the workloads that both have."""
    found = []
    for workload in before.keys() & after.keys():
        old, new = before[workload], after[workload]
        for count in [name for name in WORDS if name in old or name in new]:
            if old.get(count, 0) != new.get(count, 0):
                detail = _detail(old, new) if count == "operations" else ""
                found.append(Difference(workload, count, old.get(count, 0), new.get(count, 0), detail))
    return sorted(found, key=lambda one: (one.workload, list(WORDS).index(one.count)))


def _detail(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 4) -> str:
    before, after = old.get(DETAIL, {}), new.get(DETAIL, {})
    if not before or not after:
        return ""
    moved = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    largest = sorted((name for name, by in moved.items() if by), key=lambda name: (-abs(moved[name]), name))
    rest = f" and {len(largest) - most} more" if len(largest) > most else ""
    return ", ".join(f"{name} {moved[name]:+d}" for name in largest[:most]) + rest


def key(device: str) -> str:
    """What counts depend on beside the code: releases of torch and timm, and the kind of device."""
    kind = device.partition(":")[0]
    return ", ".join([*(f"{name} {_release(name)}" for name in ("torch", "timm")), kind])


def _release(package: str) -> str:
    try:
        return ".".join(version(package).split("+")[0].split(".")[:2])
    except PackageNotFoundError:
        return "absent"


def committed(file: Path, device: str) -> dict[str, dict[str, int]]:
    """The counts in a file for the installed software; empty where it has none.

    Raises:
        UserError: the file is not what it should be.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["counts"].get(key(device), {})
        return {str(name): {str(k): int(v) for k, v in counts.items()} for name, counts in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(str(file), "", f"cannot be read ({error})", "write it anew with --write-counts") from None


def write(file: Path, device: str, counts: Counts) -> None:
    """Puts counts for the installed software into a file, and leaves those for other software as they are."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))["counts"]
    except (OSError, ValueError, KeyError):
        known = {}
    known[key(device)] = {name: without_detail(one) for name, one in sorted(counts.items())}
    about = "Exact counts of one run of each workload; written by `timing gate --write-counts`."
    file.write_text(json.dumps({"about": about, "counts": dict(sorted(known.items()))}, indent=1) + "\n", "utf-8")


def without_detail(counts: Mapping[str, Any]) -> dict[str, int]:
    """The numbers that are compared."""
    return {name: int(value) for name, value in counts.items() if name != DETAIL}


def expected(found: list[Difference], head: Counts, base_file: Counts, head_file: Counts) -> list[Difference]:
    """Marks the differences that the change announces: the head's file has exactly what was counted, the base's not.

    Args:
        found: between the base and the head.
        head: what was counted in the head.
        base_file, head_file: the committed counts of each revision, for the installed software.
    """

    def announced(name: str) -> bool:
        said = head_file.get(name)
        return said is not None and said != base_file.get(name) and dict(said) == without_detail(head[name])

    marked = {one.workload: announced(one.workload) for one in found}
    return [
        Difference(one.workload, one.count, one.before, one.after, one.detail, marked[one.workload]) for one in found
    ]
