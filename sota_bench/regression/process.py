"""Measuring processes as their driver sees them: started together, asked over pipes, ended for sure."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

MEASURE = Path(__file__).with_name("measure.py")
PATIENCE_S = 300.0
"""The longest that one request may take, imports of a busy machine included."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class MeasuringFailed(Exception):
    """A workload raised, or its process died; the text says what."""


@dataclass(frozen=True)
class Place:
    """Where a process measures.

    Attributes:
        tree: folder of the revision.
        scratch: folder for what workloads prepare, kept between the processes of a tree.
        log: file that what it prints is added to.
    """

    tree: Path
    scratch: Path
    log: Path


class Together:
    """Fresh processes, forked from one that has imported what no revision can change.

    Args:
        places: of each process.
        suite: file of the workloads.
        device: ``cpu`` or ``cuda[:i]``.
        preload: modules that are imported once for all of them.
    """

    def __init__(self, places: Sequence[Place], suite: Path, device: str, preload: Sequence[str] = ()) -> None:
        theirs, self.processes = list[int](), list[Measuring]()
        job: dict[str, Any] = {"preload": list(preload), "processes": []}
        for place in places:
            place.scratch.mkdir(parents=True, exist_ok=True)
            (requests, to_it), (from_it, replies) = os.pipe(), os.pipe()
            theirs += [requests, replies]
            self.processes.append(Measuring(to_it, from_it, place.log))
            job["processes"].append(
                {"suite": str(suite), "tree": str(place.tree), "scratch": str(place.scratch), "log": str(place.log),
                 "device": device, "requests": requests, "replies": replies}
            )  # fmt: skip
        with places[0].log.open("ab") as log:
            self._parent = subprocess.Popen(
                [sys.executable, "-P", str(MEASURE), json.dumps(job)], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, pass_fds=theirs, env=environment(), start_new_session=True,
            )  # fmt: skip
        for descriptor in theirs:
            os.close(descriptor)

    def __enter__(self) -> list[Measuring]:
        return self.processes

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes."""
        for process in self.processes:
            process.close()
        try:
            self._parent.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._parent.pid, signal.SIGKILL)
            self._parent.wait()


def one_by_one(
    start: Callable[[], Together], names: Sequence[str], work: Callable[[Measuring, str], None]
) -> dict[str, str]:
    """Does the same with every workload in one process, and in a fresh one after a failure.

    Returns:
        Workload -> why it fails.
    """
    failed, left = dict[str, str](), list(names)
    while left:
        with start() as (process,):
            while left:
                name = left.pop(0)
                try:
                    work(process, name)
                except MeasuringFailed as error:
                    failed[name] = str(error)
                    break
    return failed


class Measuring:
    """One of those processes: requests go in, answers come out.

    Args:
        requests, replies: descriptors of the two pipes, closed by :meth:`close`.
        log: where it prints.
    """

    def __init__(self, requests: int, replies: int, log: Path) -> None:
        self._requests, self._replies, self._log, self._buffer = requests, replies, log, b""

    def send(self, request: Mapping[str, Any]) -> None:
        """Sends a request without waiting for its answer."""
        with suppress(BrokenPipeError):  # a dead process is told by receive
            os.write(self._requests, json.dumps(request).encode() + b"\n")

    def receive(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next answer.

        Raises:
            MeasuringFailed: the workload raised, the process ended, or it took too long.
        """
        until = time.monotonic() + patience_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise MeasuringFailed(f"no answer within {patience_s:.0f} s")
                part = os.read(self._replies, 1 << 16)
                if not part:
                    raise MeasuringFailed(f"the measuring process has ended: {_last_line(self._log)}")
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        if "ended" in found:
            raise MeasuringFailed(f"the measuring process ended with code {found['ended']}: {_last_line(self._log)}")
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
        """Lets the process end."""
        os.close(self._requests)
        os.close(self._replies)


def environment() -> dict[str, str]:
    """The environment of measuring processes: this one's without its paths, with one thread and no bytecode written."""
    settings = {"PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    settings |= {name: os.environ.get("OMP_NUM_THREADS", "1") for name in THREADS}
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **settings}


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"
    return "it said nothing"
