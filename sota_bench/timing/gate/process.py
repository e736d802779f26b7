"""A measuring process as its driver sees it: started on a tree, asked over a pipe, ended for sure."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

MEASURE = Path(__file__).with_name("measure.py")
PATIENCE_S = 300.0
"""The longest that one request may take, imports of a busy machine included."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class MeasuringFailed(Exception):
    """A workload raised, or its process died; the text says what."""


class Measuring:
    """One fresh process that measures with the package of one tree.

    Args:
        tree: folder of the revision.
        suite: file of the workloads.
        scratch: folder for what workloads prepare, kept between the processes of a tree.
        device: ``cpu`` or ``cuda[:i]``.
        log: file that its standard error is added to.
    """

    def __init__(self, tree: Path, suite: Path, scratch: Path, device: str, log: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(MEASURE), str(suite), str(tree), str(scratch), device],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=scratch,
                env=environment(tree),
            )
        self._log, self._buffer = log, b""

    def __enter__(self) -> Measuring:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def send(self, request: Mapping[str, Any]) -> None:
        """Sends a request without waiting for its answer."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # a dead process is told by receive
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next answer.

        Raises:
            MeasuringFailed: the workload raised, the process ended, or it took too long.
        """
        assert self._process.stdout is not None
        until = time.monotonic() + patience_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, until - time.monotonic())):
                    self.close()
                    raise MeasuringFailed(f"no answer within {patience_s:.0f} s")
                part = os.read(self._process.stdout.fileno(), 1 << 16)
                if not part:
                    code = self._process.wait()
                    raise MeasuringFailed(f"the measuring process ended with code {code}: {_last_line(self._log)}")
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise MeasuringFailed(str(found["error"]))
        return found

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer.

        Raises:
            MeasuringFailed: as :meth:`receive`.
        """
        self.send({"do": do, **more})
        return self.receive()

    def close(self) -> None:
        """Ends the process."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment(tree: Path) -> dict[str, str]:
    """The environment of a measuring process: this one's, with the tree first on the path, one thread, no bytecode
    written."""
    settings = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    settings |= {name: os.environ.get("OMP_NUM_THREADS", "1") for name in THREADS}
    return {**os.environ, **settings}


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"
    return "it said nothing"
