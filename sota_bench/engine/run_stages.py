"""Runs a stage graph in local worker processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from sota_bench.engine.driver import Driver
from sota_bench.engine.events import Event, Summary
from sota_bench.engine.limits import Limits
from sota_bench.engine.messages import WorkerSettings
from sota_bench.engine.stage_queue import StageQueue
from sota_bench.engine.worker_pool import current_worker_pool
from sota_bench.plan.why import to_run
from sota_bench.stages.stage import Stage
from sota_bench.store import Store


def run_stages(
    stages: Sequence[Stage],
    store: Store,
    *,
    workers: int = 1,
    device: str | Sequence[str] = "cpu",
    threads: int = 1,
    fail_fast: bool = False,
    retry: Collection[str] = (),
    stall_s: float = 900.0,
    disk_limit: int | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    execute: str = WorkerSettings.execute,
    setup: str = "",
    environment: Mapping[str, str] | None = None,
    memory_limit_mb: float | None = None,
    grace_s: float = 8.0,
) -> Summary:
    """Run every stage that has no result yet, in worker processes.

    Args:
        stages: parents before children; the order given is the order preferred.
        store: held by the caller (``with store.hold(...)``).
        workers: processes that run at once; several may share one device.
        device: device of all workers, or a list over which they are spread in turn.
        threads: size of each worker's thread pools.
        fail_fast: stop at the first failure, as a signal would.
        retry: keys of stages that failed in an earlier run and are to be tried once more.
        stall_s: seconds without progress after which a stage is stopped and counts as ``timeout``.
        disk_limit: bytes of artifacts above which files that no later stage needs are removed.
        on_event: called with every event as it happens, in this process and thread.
        execute: dotted name of what runs a stage, ``package.module:function``.
        setup: dotted name of what a worker calls once with its device before its first stage.
        environment: further environment variables of the workers.
        memory_limit_mb: resident memory (2**20 bytes) at which a worker is ended and its stage counts as
            ``out of memory``; ``None`` leaves that to the operating system.
        grace_s: seconds that a stage has to save itself when the run is stopped.

    Returns:
        The summary. Its ``interrupted`` says that SIGINT, SIGTERM or SIGHUP ended the run; the caller exits with 130.

    Raises:
        UserError: the store's disk is full or gone, or no worker can start.
    """
    if not store.is_held:
        raise RuntimeError("run_stages needs the store to be held")
    devices = [device] if isinstance(device, str) else list(device)
    settings = [
        WorkerSettings(devices[index % len(devices)], threads, execute, setup, dict(environment or {}))
        for index in range(max(1, workers))
    ]
    limits = Limits(stall_s, memory_limit_mb, grace_s, disk_limit)
    must_run = partial(to_run, {stage.key: stage for stage in stages}, store.is_done, store.has_files)
    queue = StageQueue(stages, must_run())
    with current_worker_pool() as pool:
        driver = Driver(queue, must_run, store, settings, limits, pool, on_event)
        return driver.run(frozenset(retry), fail_fast)
