"""Child processes: started here, and ended with this process, however it ends.

Two mechanisms see to that. A guardian, a tiny process that outlives this one by a moment, kills the process groups of
:class:`Child`: it reaches what hangs in native code, and what a child has started itself. The processes of a
:func:`process_pool` are not groups, since the pool starts them; each watches its parent.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NoReturn


class Child:
    """A process in a group of its own: a terminal's Ctrl-C does not reach it, and its children end with it.

    Args:
        command: program and arguments.
        log: file that it writes to.
        environment: its environment variables; this process's by default.
        pass_fds: descriptors that it inherits.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        guardian = _Guardian.instance()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        guardian.watch(self.pid)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended, at most for a time, and say whether it has."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it and its children at once."""
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        _Guardian.instance().forget(self.pid)


def output_of(command: Sequence[str], *, given: str = "", timeout_s: float) -> str | None:
    """What a short command prints, or None if it cannot be started, fails, or takes too long.

    Args:
        command: program and arguments.
        given: its standard input.
        timeout_s: seconds after which it is ended.
    """
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout_s, check=True)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout


@contextmanager
def process_pool(
    workers: int, initializer: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes that ends with the ``with`` block: at once if the block raises.

    Args:
        workers: how many.
        initializer: what each does first, with ``arguments``.
        arguments: of the initializer.
    """
    # Spawned, not forked: this process may run threads.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_in_pool, (initializer, *arguments)) as pool:
        try:
            yield pool
        except BaseException:
            for process in list((pool._processes or {}).values()):  # else leaving waits for what was submitted
                process.kill()
            raise


def _start_in_pool(initializer: Callable[..., None], *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the parent
    end_with_parent()
    initializer(*arguments)


def end_with_parent() -> None:
    """In a process that multiprocessing started: end it when its parent is gone.

    A pool's process would wait for ever otherwise, since it holds both ends of the pipe that it reads from.
    """

    def watch() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_now(code: int) -> NoReturn:
    """End this process at once, without waiting for its threads or taking down what it has loaded."""
    with suppress(OSError, ValueError, AttributeError):  # the streams may be closed
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def kill_children() -> None:
    """End all processes that this one has started, and those that they have started."""
    import psutil

    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()


_GUARDIAN = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class _Guardian:
    """Kills the groups that it watches when its standard input closes, which it does when this process ends."""

    _started: _Guardian | None = None

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARDIAN],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        atexit.register(self.close)

    @classmethod
    def instance(cls) -> _Guardian:
        """The guardian of this process, started with its first child."""
        if cls._started is None or cls._started._process.poll() is not None:
            cls._started = cls()
        return cls._started

    def watch(self, group: int) -> None:
        """Take a process group on."""
        self._send(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Let a process group go that has ended."""
        self._send(f"-{group}\n")

    def close(self) -> None:
        """End what is still being watched, and the guardian."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # somebody killed it: the work goes on without
            self._process.stdin.write(line)
            self._process.stdin.flush()
