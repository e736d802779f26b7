"""Kills workers of a running command, for benchmarks that check that nothing is lost."""

from __future__ import annotations

import signal
from contextlib import suppress

import numpy as np
import psutil


def kill_a_worker(pid: int, generator: np.random.Generator) -> bool:
    """Kills a random worker of a command with SIGKILL, and returns whether there was one.

    Args:
        pid: of the command.
        generator: draws which.
    """
    with suppress(psutil.Error):
        children = psutil.Process(pid).children()
        workers = [child for child in children if "sota_bench.engine.worker" in " ".join(child.cmdline())]
        if workers:
            workers[int(generator.integers(len(workers)))].send_signal(signal.SIGKILL)
            return True
    return False
