"""The driver: gives stages to workers, commits their results to the store, and handles whatever happens to them."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from sota_bench.engine import messages
from sota_bench.engine.disk_room import DiskRoom
from sota_bench.engine.events import (
    Event,
    Failure,
    Note,
    StageBlocked,
    StageDone,
    StageFailed,
    StageInterrupted,
    StageProgress,
    StageStarted,
    Summary,
    Tick,
)
from sota_bench.engine.limits import Limits, Watchdog
from sota_bench.engine.messages import RunStage, WorkerMessage, WorkerSettings
from sota_bench.engine.stage_queue import StageQueue
from sota_bench.engine.worker_pool import WorkerPool
from sota_bench.engine.worker_process import WorkerProcess, last_lines
from sota_bench.errors import UserError
from sota_bench.interrupts import SignalCount, counted_signals
from sota_bench.stages.protocol import StageOutcome
from sota_bench.stages.stage import Stage
from sota_bench.store import Store
from sota_bench.store.ledger import StageRow

TICK_S = 0.5
_START_S = 300.0
_MOST_REPAIRS = 3
_MOST_FAILED_STARTS = 3
_MOST_KILLS = 3
"""Times that a stage is started again after its worker was killed from outside. A stage that needs more memory than
there is would be killed by the system each time, so there is an end to it."""


@dataclass
class Driver:
    """The state of one run; :func:`~sota_bench.engine.run_stages.run_stages` describes its arguments."""

    queue: StageQueue
    must_run: Callable[[], Collection[str]]
    store: Store
    settings: list[WorkerSettings]
    limits: Limits
    pool: WorkerPool
    on_event: Callable[[Event], None]
    summary: Summary = field(default_factory=Summary)
    live: dict[int, WorkerProcess] = field(default_factory=dict)
    earlier: dict[str, StageRow] = field(default_factory=dict)
    repairs: dict[str, int] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)
    failed_starts: int = 0
    ticked: float = 0.0

    def __post_init__(self) -> None:
        self.watchdog = Watchdog(self.limits)
        self.room = DiskRoom(self.store, self.queue, self.limits.disk_bytes)

    def run(self, retry: frozenset[str], fail_fast: bool) -> Summary:
        """Run until every stage is done, failed or blocked, or a signal stops the run."""
        began = time.monotonic()
        try:
            self._answer_from_store(retry)
            with counted_signals() as signals:
                try:
                    while self.queue.left() and not signals.count:
                        if fail_fast and self.summary.failed:
                            self.summary.stopped_early = True
                            break
                        self._dispatch()
                        self._listen()
                        self._watch()
                        self._tick(time.monotonic() - began)
                finally:
                    self._stop_running(signals)
                self.summary.interrupted = signals.count > 0
        except OSError as error:
            raise self.store.trouble(error) from error
        finally:
            for worker in self.live.values():
                self.pool.release(worker)
            self.summary.left = self.queue.left()
            self.summary.wall_s = time.monotonic() - began
        return self.summary

    # Before anything runs

    def _answer_from_store(self, retry: frozenset[str]) -> None:
        """Report what is done, and what failed before and is not tried again, with what that blocks.

        A failure of the surroundings is tried again by itself.
        """
        self.earlier = {} if not self.queue.left() else self.store.rows()
        done = [stage for key, stage in self.queue.stages.items() if self.queue.state[key] == "done"]
        self.store.touch(stage.key for stage in done)
        for stage in done:
            self.summary.reused.append(stage.key)
            self._emit(StageDone(stage, -1, self.store.result(stage.key), reused=True))
        self._notes()
        for key, stage in self.queue.stages.items():
            row = self.earlier.get(key)
            failed = row is not None and row.status == "failed" and row.failure != "environment"
            if row and failed and key not in retry and self.queue.state[key] == "waiting":
                self._fail(stage, row.failure, row.reason, earlier=True)

    # One turn of the loop

    def _dispatch(self) -> None:
        """Acquire workers while there are more stages than workers, then give every idle one a stage."""
        for index, settings in enumerate(self.settings):
            if index not in self.live and len(self.live) < self.queue.left():
                log = self.store.root / "logs" / f"worker-{index}.log"
                self.live[index] = self.pool.acquire(index, settings, log)
        idle = [worker for worker in self.live.values() if worker.ready and worker.stage is None]
        for worker in sorted(idle, key=lambda worker: not self.queue.ready_children(worker.finished)):
            if (stage := self.queue.next_for(worker.finished)) is not None:
                self._start(worker, stage)
        if not any(worker.stage or not worker.ready for worker in self.live.values()) and self.queue.left():
            raise RuntimeError("stages are left, but none is ready")

    def _start(self, worker: WorkerProcess, stage: Stage) -> None:
        row = self.earlier.pop(stage.key, None)
        if row and row.status == "failed" and (row.failure in ("error", "diverged") or row.attempts > 1):
            self.store.discard_workspace(stage.key)  # what it left may be what makes it fail
        workspace = self.store.workspace(stage.key)
        inputs = {role: self.store.folder(key) for role, key in stage.parents.items()}
        worker.run(RunStage(stage, inputs, workspace, self.store.log_path(stage.key)))
        self.store.running(stage, worker.pid)
        busy = [other for other in self.live.values() if other.stage]
        for other in busy:
            other.concurrent = max(other.concurrent, len(busy))
        self._emit(StageStarted(stage, worker.index, worker.pid))

    def _listen(self, timeout: float = TICK_S) -> None:
        """Wait for messages of the workers, and handle them."""
        readable = wait([worker.connection for worker in self.live.values()], timeout)
        for worker in list(self.live.values()):
            if worker.connection not in readable and worker.process.poll() is None:
                continue
            received, alive = worker.receive()
            for message in received:
                self._handle(worker, message)
            if not alive and self.live.get(worker.index) is worker:
                self._handle_exit(worker)

    def _handle(self, worker: WorkerProcess, message: WorkerMessage) -> None:
        stage = worker.stage
        match message:
            case messages.Ready():
                worker.ready, self.failed_starts = True, 0
            case messages.StageError(_, reason, trace) if not worker.ready:
                with suppress(OSError), worker.log.open("a") as log:
                    log.write(trace)
                raise UserError("worker", "", f"cannot start: {reason}", f"see {worker.log}")
            case messages.Advanced(progress) if stage:
                worker.last_progress = time.monotonic()
                self._emit(StageProgress(stage, worker.index, progress))
            case messages.Finished(outcome, digests) if stage:
                worker.stage, worker.finished = None, stage.key
                self._commit(worker, stage, outcome, digests)
            case messages.StageError(kind, reason) if stage:
                worker.stage = None
                self._remove(worker)  # a fresh process, so that nothing that it left can reach the next stage
                if kind == "disk full":
                    self._emit(Note(f"{stage.title}: {reason}"))
                    self._make_room(stage, OSError(errno.ENOSPC, reason, str(self.store.root)))
                else:
                    self._fail(stage, kind, reason)
            case messages.DamagedInput(key, reason) if stage:
                worker.stage = None
                self._repair(stage, key, reason)
            case messages.Interrupted() if stage:
                worker.stage = None
                self._interrupt(stage)

    def _watch(self) -> None:
        """End workers that do not start, that hang, or that take more memory than allowed."""
        for worker in list(self.live.values()):
            if not worker.ready and time.monotonic() - worker.started > _START_S:
                self._handle_exit(worker)
        for excess in self.watchdog.excesses(self.live.values()):
            self._end(excess.worker, excess.kind, excess.reason)

    def _tick(self, elapsed_s: float) -> None:
        if elapsed_s - self.ticked >= TICK_S:
            self.ticked = elapsed_s
            self._emit(Tick(elapsed_s))

    # What becomes of a stage

    def _commit(self, worker: WorkerProcess, stage: Stage, outcome: StageOutcome, digests: dict[str, str]) -> None:
        workspace = self.store.workspace(stage.key)
        values, seconds, peak = outcome.values, outcome.seconds, outcome.peak_memory_mb
        try:
            result = self.store.commit(stage, workspace, values, seconds, peak, worker.concurrent, digests)
        except OSError as error:
            if not self.store.root.is_dir():
                raise
            self._make_room(stage, error)
            return
        except (ValueError, TypeError) as error:
            self._fail(stage, "error", f"its result cannot be stored: {error}")
            return
        self.queue.finish(stage.key)
        self.summary.ran.append(stage.key)
        wall_s = time.monotonic() - worker.began
        self._emit(StageDone(stage, worker.index, result, reused=False, wall_s=wall_s))
        if line := self.room.keep_limit():
            self._emit(Note(line))
        self._notes()

    def _fail(self, stage: Stage, kind: str, reason: str, *, earlier: bool = False) -> None:
        log = self.store.shown_log(stage.key)
        self.summary.failed[stage.key] = Failure(kind, reason, log)
        if not earlier:
            self.store.fail(stage, reason, kind)
        self._emit(StageFailed(stage, kind, reason, log, earlier))
        for child in self.queue.fail(stage.key):
            line = f"it needs {stage.title!r}, which failed: {reason}"
            self.summary.blocked[child.key] = Failure("blocked", line, log)
            self.store.fail(child, line, "blocked", log_of=stage.key)
            self._emit(StageBlocked(child, stage.key, line))

    def _interrupt(self, stage: Stage) -> None:
        self.queue.requeue(stage.key)
        self.store.interrupted(stage)
        self._emit(StageInterrupted(stage))

    def _repair(self, stage: Stage, key: str, reason: str) -> None:
        """Run a parent again whose files are damaged, and then the stage that noticed."""
        self.repairs[stage.key] = self.repairs.get(stage.key, 0) + 1
        if self.repairs[stage.key] > _MOST_REPAIRS:
            self._fail(stage, "error", f"its input {key[:12]} is damaged: {reason}")
            return
        if self.queue.state[key] == "done" and not self.store.verify(key):  # another child may have noticed before
            self.store.set_aside(key, reason)
            self._notes()
            self.queue.reopen(self.must_run())
        self._interrupt(stage)

    def _make_room(self, stage: Stage, error: OSError) -> None:
        """After a full disk: remove what nobody needs and try the stage again, or stop the run."""
        self._interrupt(stage)
        self._emit(Note(self.room.after(error)))

    def _emit(self, event: Event) -> None:
        with suppress(OSError):  # the terminal may be gone: the run finishes without it
            self.on_event(event)

    # What becomes of a worker

    def _handle_exit(self, worker: WorkerProcess) -> None:
        """Handle a worker that ended by itself: its stage waits again or fails, and a new worker takes its number."""
        stage, running = worker.stage, worker.process.poll() is None
        ended = "it did not start in time" if running else worker.how_it_ended()
        killed = worker.killed_from_outside()
        self._remove(worker)
        if stage is not None and killed:
            self._requeue(stage, ended)
        elif stage is not None:
            self._fail(stage, "crashed", ended)
        elif not worker.ready:
            self.failed_starts += 1
            if self.failed_starts >= _MOST_FAILED_STARTS:
                raise UserError("worker", "", f"cannot start: {ended} {last_lines(worker.log)}", f"see {worker.log}")

    def _requeue(self, stage: Stage, ended: str) -> None:
        """Let a stage whose worker was killed from outside resume from its last checkpoint in another worker."""
        self.kills[stage.key] = self.kills.get(stage.key, 0) + 1
        if self.kills[stage.key] > _MOST_KILLS:
            self._fail(stage, "crashed", f"{ended}, {self.kills[stage.key]} times")
        else:
            self._interrupt(stage)
            self._emit(Note(f"{stage.title}: {ended}; it resumes from its last checkpoint in another worker"))

    def _end(self, worker: WorkerProcess, kind: str, reason: str) -> None:
        """End a worker whose stage hangs or takes too much memory."""
        stage = worker.stage
        self._remove(worker)
        if stage is not None:
            self._fail(stage, kind, reason)

    def _remove(self, worker: WorkerProcess) -> None:
        del self.live[worker.index]
        worker.kill()

    def _stop_running(self, signals: SignalCount) -> None:
        """Let running stages save themselves; end those that take too long, or all at once at a second signal."""
        deadline = time.monotonic() + self.limits.grace_s
        busy = [worker for worker in self.live.values() if worker.stage]
        for worker in busy:
            worker.ask_to_stop()
        while any(worker.stage for worker in self.live.values()):
            if time.monotonic() > deadline or signals.count > 1:
                break
            with suppress(UserError):
                self._listen(0.1)
        for worker in list(self.live.values()):
            if worker.stage:
                stage = worker.stage
                self._remove(worker)
                with suppress(OSError):
                    self._interrupt(stage)

    def _notes(self) -> None:
        for line in self.store.take_notes():
            self._emit(Note(line))
