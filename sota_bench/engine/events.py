"""The events of a run, for whoever watches it, and its summary."""

from __future__ import annotations

from dataclasses import dataclass, field

from sota_bench.stages.protocol import Progress
from sota_bench.stages.results import StageResult
from sota_bench.stages.stage import Stage


@dataclass(frozen=True)
class StageStarted:
    """A worker has begun a stage."""

    stage: Stage
    worker: int
    pid: int


@dataclass(frozen=True)
class StageProgress:
    """A running stage has made progress."""

    stage: Stage
    worker: int
    progress: Progress


@dataclass(frozen=True)
class StageDone:
    """A stage has its result: from the store (``reused``, ``worker`` -1) or just now, after ``wall_s`` seconds."""

    stage: Stage
    worker: int
    result: StageResult
    reused: bool
    wall_s: float = 0.0


@dataclass(frozen=True)
class StageFailed:
    """A stage failed: now, or in an earlier run that nobody asked to retry (``earlier``)."""

    stage: Stage
    kind: str
    reason: str
    log: str
    earlier: bool = False


@dataclass(frozen=True)
class StageBlocked:
    """A stage cannot run, since the stage with key ``by`` failed."""

    stage: Stage
    by: str
    reason: str


@dataclass(frozen=True)
class StageInterrupted:
    """A stage was stopped from outside; it resumes from its last checkpoint next time."""

    stage: Stage


@dataclass(frozen=True)
class Note:
    """A line for people, such as a repair or a removal."""

    text: str


@dataclass(frozen=True)
class Tick:
    """Time passes: sent about twice a second, ``elapsed_s`` since the run began (monotonic clock)."""

    elapsed_s: float


Event = StageStarted | StageProgress | StageDone | StageFailed | StageBlocked | StageInterrupted | Note | Tick


@dataclass(frozen=True)
class Failure:
    """Why a stage has no result: ``kind`` as in the ledger, one line of ``reason``, and the path of its log."""

    kind: str
    reason: str
    log: str


@dataclass
class Summary:
    """How a run ended.

    Attributes:
        ran: keys of the stages that ran and are done.
        reused: keys answered from the store.
        failed: key -> why, earlier failures that were not retried included.
        blocked: key -> why.
        interrupted: stopped by a signal; the same command resumes.
        stopped_early: stopped after the first failure, as asked.
        left: stages that are neither done, failed nor blocked.
        wall_s: seconds, monotonic clock.
    """

    ran: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    blocked: dict[str, Failure] = field(default_factory=dict)
    interrupted: bool = False
    stopped_early: bool = False
    left: int = 0
    wall_s: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every stage has its result."""
        return not (self.failed or self.blocked or self.left)
