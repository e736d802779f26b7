"""Kills what a running command has started, for benchmarks that look whether anything is lost."""

from __future__ import annotations

import signal
from contextlib import suppress

import numpy as np
import psutil


def kill_a_worker(pid: int, generator: np.random.Generator) -> bool:
    """Kills one worker of a command with SIGKILL, any of them.

    Args:
        pid: of the command.
        generator: draws which.

    Returns:
        Whether there was one.
    """
    with suppress(psutil.Error):
        children = psutil.Process(pid).children()
        workers = [child for child in children if "sota_bench.engine.worker" in " ".join(child.cmdline())]
        if workers:
            workers[int(generator.integers(len(workers)))].send_signal(signal.SIGKILL)
            return True
    return False
