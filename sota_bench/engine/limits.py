"""What a run and its stages may take, and the watch over workers that take more."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sota_bench.engine.worker_process import WorkerProcess
from sota_bench.units import duration_text

_MEMORY_EVERY_S = 1.0
_SILENT_S = 10.0


@dataclass(frozen=True)
class Limits:
    """What a run and its stages may take.

    Attributes:
        stall_s: seconds without progress after which a stage is stopped.
        memory_mb: resident memory of one worker in 2**20 bytes, ``None`` for no limit.
        grace_s: seconds that a stage has to save itself when the run is stopped.
        disk_bytes: bytes of artifacts above which unneeded files are removed, ``None`` for no limit.
    """

    stall_s: float
    memory_mb: float | None
    grace_s: float
    disk_bytes: int | None


@dataclass(frozen=True)
class Excess:
    """A worker whose stage must be ended: its failure's kind and reason."""

    worker: WorkerProcess
    kind: str
    reason: str


class Watchdog:
    """Looks for workers that hang or take more memory than allowed.

    Args:
        limits: of the run.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._weighed = 0.0

    def excesses(self, workers: Iterable[WorkerProcess]) -> list[Excess]:
        """The workers whose stage must be ended now; memory is looked at once a second."""
        now, limit_mb = time.monotonic(), self.limits.memory_mb
        weighs = limit_mb is not None and now - self._weighed >= _MEMORY_EVERY_S
        if weighs:
            self._weighed = now
        excesses = []
        for worker in workers:
            if worker.stage is None:
                continue
            if now - worker.last_progress > self.limits.stall_s:
                state = "still responds" if now - worker.last_message < _SILENT_S else "does not respond"
                waited = duration_text(self.limits.stall_s)
                excesses.append(Excess(worker, "timeout", f"no progress for {waited}, and its process {state}"))
            elif weighs and limit_mb is not None and (used_mb := worker.memory_mb()) > limit_mb:
                reason = f"it used {used_mb:.0f} MB, and the limit is {limit_mb:g} MB"
                excesses.append(Excess(worker, "out of memory", reason))
        return excesses
