"""What the gate is asked and what it answers."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sota_bench.regression.counts import Difference
from sota_bench.regression.decide import Verdict

SUITE = "benchmarks/workloads.py"

Answer = Literal["pass", "inconclusive", "fail", "void"]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How the gate measures.

    Attributes:
        only: patterns of the workloads that are measured; all of them by default.
        blocks: blocks of four processes in a stage.
        threshold: the slow-down that matters, as a share.
        seconds: of one visit of a process to a workload.
        device: ``cpu`` or ``cuda[:i]``.
        times, counts: what is gated.
        accept: patterns of workloads that may be missing, or whose counts may change.
        minutes: after these no block begins; 0 is no limit.
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
class Outcome:
    """What the gate found.

    Attributes:
        base, head: titles of the revisions.
        settings: as it measured.
        alpha: one-sided level of each stage.
        verdicts: workload -> verdict on its time.
        control: the two stages' changes of the control workloads, as shares.
        counted: workloads whose counts were compared.
        differences: counts that changed.
        missing: workload -> why it could not be compared; each fails the gate.
        new: workloads that the base does not have.
        void: why the times say nothing, or "".
        notes: sentences for people.
        seconds: how long it took.
    """

    base: str
    head: str
    settings: Settings
    alpha: float = 0.05
    verdicts: dict[str, Verdict] = field(default_factory=dict)
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
        lines = [f"{name}: {why}" for name, why in self.missing.items()]
        lines += [one.text for one in self.differences if not one.expected]
        slower = {name: one for name, one in self.verdicts.items() if one.kind == "slower" and not self.void}
        lines += [f"{name}: {100 * one.change:+.1f}% in time" for name, one in slower.items()]
        if not self.verdicts and not self.counted and not self.void:
            lines.append("nothing was measured")
        return lines

    @property
    def answer(self) -> Answer:
        """One word."""
        if self.failures:
            return "fail"
        if self.void:
            return "void"
        unsure = any(one.kind == "inconclusive" for one in self.verdicts.values())
        return "inconclusive" if unsure or (self.settings.times and not self.verdicts) else "pass"


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of the patterns, or there are none."""
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
