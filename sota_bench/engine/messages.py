"""What a stage, its worker and the driver send to each other: plain data, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sota_bench.stages.protocol import Progress, StageOutcome
from sota_bench.stages.stage import Stage

FailureKind = Literal[
    "diverged", "out of memory", "crashed", "timeout", "plan again", "environment", "error", "blocked"
]  # fmt: skip
"""``environment``: the surroundings are to blame (network, permissions, missing files), so the next run retries it."""


@dataclass(frozen=True)
class WorkerSettings:
    """What one worker process is given when it starts.

    Attributes:
        device: ``cpu``, ``cuda:0`` ...
        threads: size of every thread pool in the worker (OpenMP, MKL, OpenBLAS, torch).
        execute: dotted name ``package.module:function`` of what runs a stage. Modules named in its module's
            ``PRELOAD`` are imported in a thread from the worker's start.
        setup: dotted name of a function called once with ``device`` before the first stage, "" for none.
        environment: further environment variables, set before anything is imported.
    """

    device: str = "cpu"
    threads: int = 1
    execute: str = "sota_bench.training.execute:execute"
    setup: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunStage:
    """Driver to worker: run this stage."""

    stage: Stage
    inputs: Mapping[str, Path]
    workspace: Path
    log: Path


@dataclass(frozen=True)
class StopStage:
    """Driver to worker: the next progress call raises ``Stopped``."""


@dataclass(frozen=True)
class Ready:
    """Worker to driver: everything is imported."""


@dataclass(frozen=True)
class Heartbeat:
    """Worker to driver, every second: the interpreter is alive, whatever the stage does."""


@dataclass(frozen=True)
class Advanced:
    """Worker to driver: the stage made progress."""

    progress: Progress


@dataclass(frozen=True)
class Finished:
    """Worker to driver: the stage is done and its files are hashed and on disk (name -> SHA-256 in hex)."""

    outcome: StageOutcome
    files: dict[str, str]


@dataclass(frozen=True)
class StageError:
    """Worker to driver: the stage failed. ``kind`` is a :data:`FailureKind` or ``disk full``, which does not count as a
    failure of the stage."""

    kind: str
    reason: str
    traceback: str


@dataclass(frozen=True)
class DamagedInput:
    """Worker to driver: a parent's file does not have its recorded digest; nothing was run."""

    key: str
    reason: str


@dataclass(frozen=True)
class Interrupted:
    """Worker to driver: the stage stopped when asked to; its workspace holds what it saved."""


DriverMessage = WorkerSettings | RunStage | StopStage
WorkerMessage = Ready | Heartbeat | Advanced | Finished | StageError | DamagedInput | Interrupted
