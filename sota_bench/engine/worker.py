"""The worker process: imports once, then runs one stage after another until the driver is gone.

Started as ``python -m sota_bench.engine.worker FD`` with one end of a pipe. Everything that a stage prints goes to
that stage's log file. The process ends by itself as soon as the driver's end of the pipe closes.
"""

from __future__ import annotations

import importlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock, Timeout

from sota_bench.engine import messages
from sota_bench.engine.messages import (
    DriverMessage,
    RunStage,
    WorkerMessage,
    WorkerSettings,
)
from sota_bench.errors import UserError, disk_is_full, is_environmental, ran_out_of_memory
from sota_bench.files import canonical_json
from sota_bench.preload import preload
from sota_bench.processes import end_now
from sota_bench.stages.protocol import Diverged, PlanAgain, Progress, RunContext, StageOutcome, Stopped
from sota_bench.stages.stage import Stage
from sota_bench.store import artifacts, files

HEARTBEAT_S = 1.0
Execute = Callable[[Stage, RunContext], StageOutcome]
_SEND_EVERY_S = 0.2
_WORKSPACE_WAIT_S = 60.0


def load(dotted: str) -> Callable[..., Any]:
    """The function named ``package.module:function``."""
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def classify(error: BaseException) -> tuple[str, str]:
    """Kind of a failure and one line that says what happened.

    Args:
        error: what the stage raised.

    Returns:
        ``diverged``, ``out of memory``, ``disk full``, ``plan again``, ``environment`` or ``error``, and the line.
    """
    text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if disk_is_full(error):
        return "disk full", line
    if isinstance(error, FloatingPointError | Diverged):
        return "diverged", text or line
    if ran_out_of_memory(error):
        return "out of memory", line
    if isinstance(error, PlanAgain):
        return "plan again", text
    kind = "environment" if is_environmental(error) else "error"
    return kind, text if isinstance(error, UserError) else line


def non_finite(value: Any, path: str = "values") -> str:
    """Path of the first NaN or infinity inside JSON values, "" when there is none."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f"{path} is {value}"
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return next((text for name, part in parts if (text := non_finite(part, f"{path}.{name}"))), "")


class Worker:
    """The inside of one worker process.

    Args:
        connection: this end of the pipe to the driver.
    """

    def __init__(self, connection: Connection[WorkerMessage, DriverMessage]) -> None:
        self.connection = connection
        self.sending = threading.Lock()
        self.jobs: queue.SimpleQueue[RunStage] = queue.SimpleQueue()
        self.stop = threading.Event()
        self.last_sent = 0.0

    def serve(self) -> NoReturn:
        """Import, say ``Ready``, and run what the driver sends; never returns."""
        settings = self.connection.recv()
        assert isinstance(settings, WorkerSettings)
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            execute: Execute = load(settings.execute)
            if settings.setup:
                load(settings.setup)(settings.device)
            _limit_threads(settings.threads)
        except Exception as error:
            self._send(messages.StageError(*classify(error), traceback.format_exc()))
            end_now(1)
        self._send(messages.Ready())
        # A later stage needs these imports, which take seconds: they run while the first stage decodes images.
        preload(getattr(sys.modules[execute.__module__], "PRELOAD", ()), lambda: _limit_threads(settings.threads))
        while True:
            job = self.jobs.get()
            self._send(self._run(job, execute, settings.device))
            del job  # a worker that waits holds on to nothing

    def _run(self, job: RunStage, execute: Execute, device: str) -> WorkerMessage:
        """Run one stage and return the message that says how it ended."""
        try:
            _redirect_output(job.log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} process {os.getpid()}: {job.stage.title}")
            with FileLock(job.workspace.with_name(job.workspace.name + ".lock"), timeout=_WORKSPACE_WAIT_S):
                for folder in job.inputs.values():
                    artifacts.check_folder(folder, self._checking)
                    self._checking()
                outcome = execute(job.stage, RunContext(job.inputs, job.workspace, device, self._progress))
                return self._finished(outcome, job.workspace)
        except Stopped:
            return messages.Interrupted()
        except artifacts.DamagedArtifact as error:
            return messages.DamagedInput(error.key, error.reason)
        except Timeout:
            return messages.StageError("environment", "its workspace is in use by another process", "")
        except BaseException as error:
            with suppress(OSError):  # the log may lie on a disk that is full
                traceback.print_exc()
            return messages.StageError(*classify(error), traceback.format_exc())
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()

    def _finished(self, outcome: StageOutcome, workspace: Path) -> messages.Finished:
        if text := non_finite(outcome.values):
            raise Diverged(text)
        canonical_json([outcome.values, outcome.seconds, outcome.peak_memory_mb])
        digests = {}
        for name in files.result_files(workspace):
            digests[name] = files.synced_digest(workspace / name, self._checking)
            self._checking()
        return messages.Finished(outcome, digests)

    def _progress(self, progress: Progress) -> None:
        """What the stage calls between its steps: reports, and raises ``Stopped`` when the run is being stopped."""
        now = time.monotonic()
        if now - self.last_sent >= _SEND_EVERY_S:
            self.last_sent = now
            self._send(messages.Advanced(progress))
        if self.stop.is_set():
            raise Stopped

    def _checking(self) -> None:
        """Called while files are hashed: with large ones that takes minutes, and is no stall."""
        self._progress(Progress(0, 0, note="checking files"))

    def _send(self, message: WorkerMessage) -> None:
        try:
            with self.sending:
                self.connection.send(message)
        except OSError:
            end_now(1)

    def _listen(self) -> None:
        while True:
            try:
                message = self.connection.recv()
            except (EOFError, OSError):
                end_now(1)  # the workspace keeps what was saved
            if isinstance(message, RunStage):
                self.stop.clear()
                self.jobs.put(message)
            else:
                self.stop.set()

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT_S)
            self._send(messages.Heartbeat())


def _limit_threads(threads: int) -> None:
    """Hold torch, once it is imported, to its share; it may have read another number than OMP_NUM_THREADS."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


def _redirect_output(log: Path, header: str) -> None:
    """Let descriptors 1 and 2, native code's output included, go to the stage's log file."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
    finally:
        os.close(descriptor)
    print(f"--- {header}", flush=True)


def main() -> NoReturn:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")  # short of memory, a worker goes before the driver
    Worker(Connection(int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
