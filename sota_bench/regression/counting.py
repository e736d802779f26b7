"""Counts of one tree, alone or against the committed ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sota_bench.regression import counts as exact
from sota_bench.regression.outcome import SUITE, Outcome, Settings, Tell, matches
from sota_bench.regression.process import Measuring, Place, Together, one_by_one
from sota_bench.regression.tree import Tree


def against_file(head: Tree, scratch: Path, settings: Settings, tell: Tell, suite: str = SUITE) -> Outcome:
    """The counts of one tree against those that its suite's ``counts.json`` has for the installed software."""
    began, outcome = time.monotonic(), Outcome(f"{Path(suite).parent}/counts.json", head.title, settings)
    known = exact.committed((head.folder / suite).with_name("counts.json"), settings.device)
    counted, failed = count_tree(head, scratch, settings, tell, suite)
    outcome.missing = {name: f"cannot be counted: {why}" for name, why in failed.items()}
    if known:
        gone = [name for name in known if name not in counted and name not in failed and matches(name, settings.only)]
        outcome.missing |= dict.fromkeys(gone, "the file has it and the suite does not: renamed or removed?")
        outcome.new = [name for name in counted if name not in known]
        outcome.counted = sorted(known.keys() & counted.keys())
        outcome.differences = exact.differences(known, counted)
    else:
        outcome.void = (
            f"There are no committed counts for {exact.key(settings.device)}, so nothing was compared: --write-counts "
            "adds them, and --base compares with a revision instead"
        )
    outcome.seconds = time.monotonic() - began
    return outcome


def count_tree(
    tree: Tree, scratch: Path, settings: Settings, tell: Tell, suite: str = SUITE
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The counts of one tree's workloads, and why some could not be counted."""

    def start() -> Together:
        place = Place(tree.folder, scratch / "work-B", scratch / "log-B")
        return Together([place], tree.folder / suite, settings.device)

    with start() as (process,):
        about = process.ask("list")["workloads"]
    tell(f"counting operations in {tree.title}")
    return count(start, [n for n, one in about.items() if one["counts"] and matches(n, settings.only)])


def count(start: Callable[[], Together], names: Sequence[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The counts of workloads, and why some could not be counted."""
    found: dict[str, dict[str, Any]] = {}

    def once(process: Measuring, name: str) -> None:
        found[name] = process.ask("count", name=name)["counts"]
        process.ask("forget", name=name)

    failed = one_by_one(start, names, once)
    return found, failed
