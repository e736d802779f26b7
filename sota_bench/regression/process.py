"""Measuring processes as their driver sees them: started together, asked over pipes, and always ended."""

from __future__ import annotations

import json
import os
import selectors
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from sota_bench.processes import Child
from sota_bench.regression.counts import WorkloadCounts

MEASURE = Path(__file__).with_name("measure.py")
TIMEOUT_S = 300.0
"""The longest that one request may take, imports on a busy machine included."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class MeasuringFailed(Exception):
    """A workload raised, or its process died; the text says which."""


@dataclass(frozen=True)
class WorkloadInfo:
    """A workload as its suite describes it.

    Attributes:
        control: no change of the repository can touch it.
        timed: whether it is timed.
        counts: what is counted exactly, "" for nothing.
    """

    control: bool
    timed: bool
    counts: str


@dataclass(frozen=True)
class SuiteInfo:
    """A suite as a measuring process describes it.

    Attributes:
        workloads: name -> workload, in the order of the suite.
        preload: modules that can be imported before processes are forked.
    """

    workloads: dict[str, WorkloadInfo]
    preload: tuple[str, ...]


@dataclass(frozen=True)
class Workspace:
    """Where a process measures.

    Attributes:
        tree: folder of the revision.
        scratch: folder for what workloads prepare, shared by the processes of a tree.
        log: file to which what it prints is appended.
    """

    tree: Path
    scratch: Path
    log: Path


class ProcessGroup:
    """Fresh processes, forked from one that has imported the modules that no revision can change.

    Args:
        workspaces: one for each process.
        suite: file of the workloads.
        device: ``cpu`` or ``cuda[:i]``.
        preload: modules that are imported once for all of them.
    """

    def __init__(self, workspaces: Sequence[Workspace], suite: Path, device: str, preload: Sequence[str] = ()) -> None:
        child_descriptors, self.processes = list[int](), list[MeasuringProcess]()
        job: dict[str, Any] = {"preload": list(preload), "processes": []}
        for workspace in workspaces:
            workspace.scratch.mkdir(parents=True, exist_ok=True)
            (requests, request_writer), (reply_reader, replies) = os.pipe(), os.pipe()
            child_descriptors += [requests, replies]
            self.processes.append(MeasuringProcess(request_writer, reply_reader, workspace.log))
            paths = {name: str(path) for name, path in vars(workspace).items()}
            job["processes"].append(
                {**paths, "suite": str(suite), "device": device, "requests": requests, "replies": replies}
            )
        command = [sys.executable, "-P", str(MEASURE), json.dumps(job)]
        self._parent = Child(command, workspaces[0].log, environment(), child_descriptors)
        for descriptor in child_descriptors:
            os.close(descriptor)

    def __enter__(self) -> list[MeasuringProcess]:
        return self.processes

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes."""
        for process in self.processes:
            process.close()
        self._parent.wait(timeout_s=2.0)
        self._parent.kill()


class MeasuringProcess:
    """One of those processes: requests go in, replies come out.

    Args:
        requests, replies: descriptors of the two pipes, closed by :meth:`close`.
        log: where it prints.
    """

    def __init__(self, requests: int, replies: int, log: Path) -> None:
        self._requests, self._replies, self._log, self._buffer = requests, replies, log, b""

    def suite(self) -> SuiteInfo:
        """The suite's workloads.

        Raises:
            MeasuringFailed: the suite cannot be imported.
        """
        reply = self._ask("list")
        workloads = {
            str(name): WorkloadInfo(bool(values["control"]), bool(values["timed"]), str(values["counts"]))
            for name, values in reply["workloads"].items()
        }
        return SuiteInfo(workloads, tuple(map(str, reply["preload"])))

    def laps(self, name: str, seconds: float) -> list[float]:
        """Seconds of each piece of work of a workload, in runs that take ``seconds`` together or more.

        Raises:
            MeasuringFailed: the workload raised, the process ended, or it took too long; so do the methods below.
        """
        return [float(lap) for lap in self._ask("time", name=name, seconds=seconds)["laps"]]

    def counts(self, name: str) -> WorkloadCounts:
        """Exact counts of one run of a workload."""
        return WorkloadCounts.from_json(self._ask("count", name=name)["counts"])

    def forget(self, name: str) -> None:
        """Frees a workload's memory."""
        self._ask("forget", name=name)

    def send(self, request: Mapping[str, Any]) -> None:
        """Sends a request without waiting for its reply."""
        with suppress(BrokenPipeError):  # receive reports a dead process
            os.write(self._requests, json.dumps(request).encode() + b"\n")

    def receive(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The next reply."""
        until = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise MeasuringFailed(f"no reply within {timeout_s:.0f} s")
                part = os.read(self._replies, 1 << 16)
                if not part:
                    raise MeasuringFailed(f"the measuring process has ended: {_last_line(self._log)}")
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        if "ended" in reply:
            raise MeasuringFailed(f"the measuring process ended with code {reply['ended']}: {_last_line(self._log)}")
        if "error" in reply:
            raise MeasuringFailed(str(reply["error"]))
        return reply

    def _ask(self, request: str, **arguments: str | float) -> dict[str, Any]:
        self.send({"do": request, **arguments})
        return self.receive()

    def close(self) -> None:
        """Lets the process end."""
        os.close(self._requests)
        os.close(self._replies)


def each_in_turn(
    start: Callable[[], ProcessGroup], names: Sequence[str], work: Callable[[MeasuringProcess, str], None]
) -> dict[str, str]:
    """Does the same with each workload in one process, and goes on in a fresh process after a failure.

    Returns:
        Workload -> why it failed.
    """
    failed, pending = dict[str, str](), list(names)
    while pending:
        with start() as (process,):
            while pending:
                name = pending.pop(0)
                try:
                    work(process, name)
                except MeasuringFailed as error:
                    failed[name] = str(error)
                    break
    return failed


def environment() -> dict[str, str]:
    """The environment of measuring processes: this one's without its paths, with one thread, and no bytecode
    written."""
    settings = {"PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    settings |= {name: os.environ.get("OMP_NUM_THREADS", "1") for name in THREADS}
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **settings}


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it printed nothing"
    return "it printed nothing"
