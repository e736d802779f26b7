"""The worker processes of a command: kept between its runs, so that each worker imports torch once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path

from sota_bench.engine.messages import WorkerSettings
from sota_bench.engine.worker_process import WorkerProcess


class WorkerPool:
    """Worker processes that wait for a run to acquire them.

    Attributes:
        idle: those that wait.
    """

    def __init__(self) -> None:
        self.idle: list[WorkerProcess] = []

    def prestart(self, settings: WorkerSettings) -> None:
        """Start a worker before it is known what it will run, so that it imports while the command plans."""
        self.idle.append(WorkerProcess(0, settings, Path(os.devnull)))

    def acquire(self, index: int, settings: WorkerSettings, log: Path) -> WorkerProcess:
        """Return a worker with these settings: one that waits if there is any, else a new one.

        Args:
            index: the number that it gets.
            settings: what it has to have been started with.
            log: where a new one writes until its first stage.

        Raises:
            UserError: none can start.
        """
        for worker in list(self.idle):
            self.idle.remove(worker)
            if worker.settings == settings and worker.process.poll() is None:
                worker.index, worker.log, worker.finished = index, log, ""
                worker.started = worker.last_message = time.monotonic()
                return worker
            worker.kill()
        return WorkerProcess(index, settings, log)

    def release(self, worker: WorkerProcess) -> None:
        """Take back a worker, so that a later run may acquire it; one that still has a stage is terminated."""
        if worker.stage is None and worker.process.poll() is None:
            self.idle.append(worker)
        else:
            worker.kill()

    def terminate(self) -> None:
        """End all workers that wait."""
        for worker in self.idle:
            worker.kill()
        self.idle.clear()


_shared: ContextVar[WorkerPool | None] = ContextVar("shared_worker_pool", default=None)


@contextmanager
def shared_worker_pool() -> Iterator[WorkerPool]:
    """Have all runs inside the ``with`` block share their workers, which end with the block."""
    pool = WorkerPool()
    before = _shared.set(pool)
    try:
        yield pool
    finally:
        _shared.reset(before)
        pool.terminate()


def has_ready_worker() -> bool:
    """Whether a worker of an earlier run waits, with its imports done."""
    pool = _shared.get()
    return pool is not None and any(worker.ready for worker in pool.idle)


def current_worker_pool() -> AbstractContextManager[WorkerPool]:
    """The pool of the :func:`shared_worker_pool` block around, or one that ends with the ``with`` block."""
    pool = _shared.get()
    return nullcontext(pool) if pool else shared_worker_pool()
