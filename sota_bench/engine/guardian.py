"""A tiny process that outlives a killed driver just long enough to end its workers and their children."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

_SCRIPT = """
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


class Guardian:
    """Ends process groups when this process ends, however it ends.

    A worker ends by itself when its driver is gone, but what it had started (a pool that decodes images) would go on
    for ever: Python's process pools wait on pipes that they also hold open themselves.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def watch(self, group: int) -> None:
        """Take a process group on."""
        self._say(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Let a process group go that has ended."""
        self._say(f"-{group}\n")

    def close(self) -> None:
        """End what is still being watched, and the guardian."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # without its guardian a run goes on; workers still end by themselves
            self._process.stdin.write(line)
            self._process.stdin.flush()
