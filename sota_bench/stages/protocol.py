"""How a stage is run: what it is given, how it says how far it is, and how it ends. Plain data; needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
class RunContext:
    """What every kind of stage is run with.

    Attributes:
        inputs: role -> folder of each parent's result.
        workspace: an existing folder for the files of the result; it may hold what an interrupted run of this stage
            left.
        device: ``cpu`` or ``cuda:i``.
        progress: to be called after every step; may raise :class:`Stopped`.
    """

    inputs: Mapping[str, Path]
    workspace: Path
    device: str
    progress: Callable[[Progress], None]


@dataclass(frozen=True)
class StageOutcome:
    """What running a stage returns; the files that it leaves in its workspace are the rest of the result.

    Attributes:
        values: a result of ``stages.results`` as JSON values; every number finite (None where there is none).
        seconds: by part (``prepare``, ``compile``, ``train``, ``evaluate``).
        peak_memory_mb: highest resident or device memory, in 2**20 bytes.
    """

    values: dict[str, Any]
    seconds: dict[str, float]
    peak_memory_mb: float
