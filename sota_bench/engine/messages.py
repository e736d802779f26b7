"""What a stage, its worker and the driver send to each other: plain data, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sota_bench.plan.stage import Stage

FailureKind = Literal[
    "diverged", "out of memory", "crashed", "timeout", "plan again", "environment", "error", "blocked"
]  # fmt: skip
"""``environment``: the surroundings are to blame (network, permissions, missing files), so the next run retries it."""


class Stopped(BaseException):
    """Raised by the progress callback when the run is being stopped: save a partial checkpoint and let it pass.

    It is no ``Exception``, so that a technique's ``except Exception`` cannot swallow it.
    """


class Diverged(Exception):
    """The training left the finite numbers (a loss or weight that is NaN or infinite); the text says which and when."""


class PlanAgain(Exception):
    """The stage cannot be what was planned, and a new plan would be another: files that do not decode are left out from
    now on. The text says which."""


@dataclass(frozen=True)
class Progress:
    """How far the running stage is.

    Attributes:
        done: units finished so far, of ``total``.
        total: units in the whole stage (0 where unknown).
        unit: what is counted, ``images`` unless said otherwise.
        images_per_s: current throughput, 0 where there is none.
        note: a few words for people (``epoch 2 of 5, loss 1.31``).
    """

    done: int
    total: int
    unit: str = "images"
    images_per_s: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What ``execute`` returns; the files it leaves in its workspace are the rest of the result.

    Attributes:
        values: JSON values that the report reads; every number finite (write ``None`` where there is none).
        seconds: by part (``prepare``, ``compile``, ``train``, ``evaluate``).
        peak_memory_mb: highest resident or device memory, in 2**20 bytes.
    """

    values: dict[str, Any]
    seconds: dict[str, float]
    peak_memory_mb: float


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
    execute: str = "sota_bench.engine.stages:execute"
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

    outcome: Outcome
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
