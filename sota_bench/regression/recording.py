"""Measures one tree for its history, and makes the series that are compared and drawn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError
from sota_bench.regression.counting import count_tree
from sota_bench.regression.counts import without_detail
from sota_bench.regression.gate import summary
from sota_bench.regression.hardware import fingerprint
from sota_bench.regression.history import Record, workloads
from sota_bench.regression.outcome import Settings, matches
from sota_bench.regression.process import MeasuringFailed, Place, Together
from sota_bench.regression.steps import pieces_of, steps
from sota_bench.regression.tree import describe, export


def measure(
    project: Path,
    suite: str,
    only: Sequence[str],
    device: str,
    seconds: float,
    processes: int,
    tell: Callable[[str], None],
) -> tuple[Record, dict[str, str]]:
    """Times and counts of a project's folder.

    Args:
        project: the folder.
        suite: path of the workloads inside it.
        only: patterns of workloads; all by default.
        device: ``cpu`` or ``cuda:i``.
        seconds: that a process times a workload for.
        processes: fresh ones, one after the other.
        tell: told what happens, a line at a time.

    Returns:
        The record, and why workloads were left out.

    Raises:
        UserError: there is no suite.
    """
    if not (project / suite).is_file():
        raise UserError("--suite", "", f"there is no {suite} here", "run it in the project's folder, or name the file")
    commit, changed = describe(project)
    times: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="sota-bench-record-") as folder:
        scratch = Path(folder)
        tree = export(project, str(project), scratch / "head")

        def start() -> Together:
            place = Place(tree.folder, scratch / "work-B", scratch / "log-B")
            return Together([place], tree.folder / suite, device)

        with start() as (first,):
            about = first.ask("list")["workloads"]
            names = [name for name, one in about.items() if one["timed"] and matches(name, only)]
        for number in range(processes + 1):  # the first one warms
            tell(f"process {number} of {processes}" if number else f"running {len(names)} workloads once")
            with start() as (process,):
                for name in [name for name in names if name not in failed]:
                    try:
                        laps = process.ask("time", name=name, seconds=seconds if number else 0.0)["laps"]
                        process.ask("forget", name=name)
                    except MeasuringFailed as error:
                        failed[name] = str(error)
                        times.pop(name, None)
                        break  # what was to come is measured by the processes that follow
                    if number:
                        times.setdefault(name, []).append(summary(laps, device))
        counted, uncounted = count_tree(tree, scratch, Settings(only, device=device), tell, suite)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    counts = {name: without_detail(one) for name, one in counted.items()}
    return Record(now, commit, changed, fingerprint(device), times, counts), failed | uncounted


def series(records: Sequence[Record], only: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row for each workload: what is drawn and shown of its history.

    Returns:
        ``workload``; ``titles``, ``seconds``, ``low`` and ``high`` of each record that has it; ``edges`` of the
        constant pieces; ``steps`` with ``index``, ``change`` (a share) and ``at`` (the record's title).
    """
    rows = []
    for name in workloads(list(records)):
        having = [record for record in records if record.times.get(name)]
        if not matches(name, only) or not having:
            continue
        seconds, titles = [record.seconds(name) for record in having], [record.title for record in having]
        found = [{"index": s.index, "change": s.change, "at": titles[s.index]} for s in steps(seconds)]
        low, high = ([function(record.times[name]) for record in having] for function in (min, max))
        rows.append(
            {"workload": name, "titles": titles, "seconds": seconds, "low": low, "high": high,
             "edges": pieces_of(seconds), "steps": found}
        )  # fmt: skip
    return rows
