"""Processes that end with the one that started them, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """On Linux, has the kernel kill this process when its parent is gone, even inside native code that never yields."""
    parent = os.getppid()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def start_in_pool() -> None:
    """What a process of a pool does first: a terminal's Ctrl-C is for its parent, and it must not outlive that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def kill_pool(pool: ProcessPoolExecutor) -> None:
    """Ends the processes of a pool that is not waited for any more."""
    for process in list((pool._processes or {}).values()):
        process.kill()
