"""A worker process as the driver sees it: started, sent to, listened to, ended, and why it ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from sota_bench.engine.messages import DriverMessage, RunStage, StopStage, WorkerMessage, WorkerSettings
from sota_bench.errors import UserError
from sota_bench.processes import Child
from sota_bench.stages.stage import Stage

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

ALLOCATOR = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"
"""glibc maps every large tensor anew and gives it back, so that each step on a CPU touches all its pages for the first
time: a tenth (64 px) to a sixth (128 px) of a ResNet's step. Kept in the heap they are reused. Other C libraries do not
look at it."""


_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP)


class WorkerProcess:
    """One running worker.

    Args:
        index: its number, from 0; a replacement keeps the number.
        settings: what it is given.
        log: where it writes until its first stage.
    """

    def __init__(self, index: int, settings: WorkerSettings, log: Path) -> None:
        self.index, self.settings, self.log = index, settings, log
        self.stage: Stage | None = None
        self.finished = ""
        self.ready = self.garbled = False
        self.concurrent = 1
        self.started = self.began = self.last_progress = self.last_message = time.monotonic()
        ends: tuple[Connection[DriverMessage, WorkerMessage], Connection[WorkerMessage, DriverMessage]] = Pipe()
        self.connection, theirs = ends
        environment = {
            "GLIBC_TUNABLES": ALLOCATOR,
            **os.environ,
            **dict.fromkeys(_THREAD_VARIABLES, str(settings.threads)),
            "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
            **settings.environment,
        }
        module, end = "sota_bench.engine.worker", theirs.fileno()
        command = [sys.executable, "-P", "-X", "faulthandler", "-m", module, str(end)]
        with theirs:
            try:
                self.process = Child(command, log, environment, [end])
            except OSError as error:
                self.connection.close()
                remedy = "free memory or processes, or use fewer --workers"
                raise UserError("worker", "", f"cannot start ({error.strerror})", remedy) from error
        with suppress(OSError):
            self.connection.send(settings)

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def run(self, job: RunStage) -> None:
        """Send it a stage to run; a worker that is gone is noticed when its pipe is read."""
        self.stage, self.concurrent = job.stage, 1
        self.began = self.last_progress = time.monotonic()
        with suppress(OSError):
            self.connection.send(job)

    def ask_to_stop(self) -> None:
        """Ask the running stage to save what it has and end."""
        with suppress(OSError):
            self.connection.send(StopStage())

    def receive(self) -> tuple[list[WorkerMessage], bool]:
        """Its messages since the last call, without waiting, and whether it is still there."""
        received: list[WorkerMessage] = []
        gone = self.process.poll() is not None
        try:
            while self.connection.poll():
                received.append(self.connection.recv())
        except Exception as error:  # end of file, a message cut short by a kill, or bytes that are no message
            self.garbled = not isinstance(error, EOFError | OSError)
            self.kill()
            return received, False
        if received:
            self.last_message = time.monotonic()
        return received, not gone

    def kill(self) -> None:
        """End it and its children at once."""
        self.process.kill()
        self.connection.close()

    def how_it_ended(self) -> str:
        """One line on a process that ended by itself."""
        self.process.wait()
        code = self.process.poll() or 0
        if code >= 0:
            return f"the worker exited with code {code}"
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return f"the worker was killed by signal {-code} ({name}{', out of memory?' if code == -9 else ''})"
        return f"the worker was killed by signal {-code}"

    def killed_from_outside(self) -> bool:
        """Whether it ended by a signal that somebody sent, or the system where memory is short, and not by an error of
        its own. Valid before :meth:`kill`, which sends such a signal."""
        return not self.garbled and self.process.poll() in _FROM_OUTSIDE

    def memory_mb(self) -> float:
        """Resident memory of the process and its children, in 2**20 bytes."""
        import psutil

        total = 0
        with suppress(psutil.Error):
            me = psutil.Process(self.pid)
            for process in [me, *me.children(recursive=True)]:
                with suppress(psutil.Error):
                    total += process.memory_info().rss
        return total / 2**20


def last_lines(log: Path, count: int = 1) -> str:
    """The last lines of a log file as one line, "" when there is none."""
    try:
        lines: Sequence[str] = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return " ".join(line.strip() for line in lines[-count:])
