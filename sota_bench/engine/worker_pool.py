"""Workers that stay: what a command runs later finds the imports of what it ran before, and its first worker can start
while the command still plans."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path

from sota_bench.engine.guardian import Guardian
from sota_bench.engine.messages import WorkerSettings
from sota_bench.engine.worker_process import WorkerProcess


class WorkerPool:
    """The worker processes of a command, whether they have a stage or wait for one; all end with it.

    Attributes:
        idle: those that wait.
    """

    def __init__(self) -> None:
        self.idle: list[WorkerProcess] = []
        self._guardian: Guardian | None = None

    def prestart(self, settings: WorkerSettings) -> None:
        """Starts a worker before it is known what it will run; it imports what stages need."""
        self.idle.append(self._new(0, settings, Path(os.devnull)))

    def acquire(self, index: int, settings: WorkerSettings, log: Path) -> WorkerProcess:
        """A worker with these settings, one that waits if there is any.

        Args:
            index: the number it gets.
            settings: what it has to have been started with.
            log: where a new one writes until its first stage.

        Raises:
            UserError: none can start.
        """
        for worker in list(self.idle):
            self.idle.remove(worker)
            if worker.settings == settings and worker.process.poll() is None:
                worker.index, worker.log, worker.finished = index, log, ""
                worker.born = worker.last_message = time.monotonic()
                return worker
            self.terminate(worker)
        return self._new(index, settings, log)

    def release(self, worker: WorkerProcess) -> None:
        """Takes back a worker that a later run may hire; one that still has a stage ends."""
        if worker.stage is None and worker.process.poll() is None:
            self.idle.append(worker)
        else:
            self.terminate(worker)

    def terminate(self, worker: WorkerProcess) -> None:
        """Ends a worker."""
        worker.kill()
        if self._guardian:
            self._guardian.forget(worker.pid)

    def close(self) -> None:
        """Ends all that wait."""
        for worker in self.idle:
            self.terminate(worker)
        self.idle.clear()
        if self._guardian:
            self._guardian.close()
            self._guardian = None

    def _new(self, index: int, settings: WorkerSettings, log: Path) -> WorkerProcess:
        self._guardian = self._guardian or Guardian()
        worker = WorkerProcess(index, settings, log)
        self._guardian.watch(worker.pid)
        return worker


_shared: ContextVar[WorkerPool | None] = ContextVar("shared_worker_pool", default=None)


@contextmanager
def shared_worker_pool() -> Iterator[WorkerPool]:
    """All runs inside the ``with`` block share their workers."""
    pool = WorkerPool()
    before = _shared.set(pool)
    try:
        yield pool
    finally:
        _shared.reset(before)
        pool.close()


def has_ready_worker() -> bool:
    """Whether workers have stayed from an earlier run, with their imports done."""
    pool = _shared.get()
    return pool is not None and any(worker.ready for worker in pool.idle)


def current_worker_pool() -> AbstractContextManager[WorkerPool]:
    """The pool of the ``shared_worker_pool`` block around, or one that ends with the ``with`` block."""
    pool = _shared.get()
    return nullcontext(pool) if pool else shared_worker_pool()
