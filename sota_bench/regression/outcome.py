"""The settings of the gate and its outcome."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sota_bench.regression.counts import Difference
from sota_bench.regression.decide import TimeVerdict

SUITE = "benchmarks/workloads.py"
"""Where a repository's suite of workloads is looked for by default."""

Answer = Literal["pass", "inconclusive", "fail", "void"]
Log = Callable[[str], None]
"""Takes a line of progress for people."""


@dataclass(frozen=True)
class GateSettings:
    """How the gate measures.

    Attributes:
        only: patterns of the workloads that are measured; all of them by default.
        blocks: blocks of four processes in a round.
        threshold: the slow-down that matters, as a share.
        seconds: how long each process times a workload.
        device: ``cpu`` or ``cuda[:i]``.
        times, counts: what is gated.
        accept: patterns of workloads that may be missing, or whose counts may change.
        minutes: no block begins after this many; 0 is no limit.
    """

    only: Sequence[str] = ()
    blocks: int = 4
    threshold: float = 0.05
    seconds: float = 0.4
    device: str = "cpu"
    times: bool = True
    counts: bool = True
    accept: Sequence[str] = ()
    minutes: float = 0.0


@dataclass
class GateOutcome:
    """The outcome of the gate.

    Attributes:
        base, head: titles of the revisions.
        settings: how it measured.
        alpha: one-sided level of each round.
        verdicts: workload -> verdict on its time.
        control: control workload -> the log ratio head to base in each round.
        counted: workloads whose counts were compared.
        differences: counts that changed.
        missing: workload -> why it could not be compared; each fails the gate.
        new: workloads that the base does not have.
        void: why nothing can be said about times or counts, or "".
        notes: sentences for people.
        seconds: how long it took.
    """

    base: str
    head: str
    settings: GateSettings
    alpha: float = 0.05
    verdicts: dict[str, TimeVerdict] = field(default_factory=dict)
    control: dict[str, list[float]] = field(default_factory=dict)
    counted: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    void: str = ""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> list[str]:
        """Why the gate fails, one line each."""
        lines = [f"{workload}: {reason}" for workload, reason in self.missing.items()]
        lines += [difference.text for difference in self.differences if not difference.expected]
        if not self.void:
            slower = {name: verdict for name, verdict in self.verdicts.items() if verdict.kind == "slower"}
            lines += [f"{name}: {100 * verdict.change:+.1f}% in time" for name, verdict in slower.items()]
            if not self.verdicts and not self.counted:
                lines.append("nothing was measured")
        return lines

    @property
    def answer(self) -> Answer:
        """The outcome in one word."""
        if self.failures:
            return "fail"
        if self.void:
            return "void"
        undecided = any(verdict.kind == "inconclusive" for verdict in self.verdicts.values())
        return "inconclusive" if undecided or (self.settings.times and not self.verdicts) else "pass"


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of the patterns; without patterns every name does."""
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
