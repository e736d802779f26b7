"""Measuring processes: they time and count the workloads of a suite, each with the code of one revision.

A suite is a Python file with ``WORKLOADS``, a mapping from names to workloads. A workload is a function
``prepare(scratch, device)`` that makes its inputs (``scratch`` is a folder that the processes of a revision share,
``device`` is ``cpu`` or ``cuda:i``) and returns ``run(lap)``; ``run`` calls ``lap()`` when the first piece of work
begins and after each piece. Or it is an object with such a method ``prepare`` and any of the attributes

    control  no change of the repository can touch it: if it moves, the machine was disturbed (default False)
    timed    whether it is timed (default True)
    counts   what is counted exactly: "operations" of torch, "graphs" of torch.compile, or "" for nothing (the default)

``PRELOAD``, where the suite has one, names third-party modules that are imported before the processes are forked. The
suite may import what lies beside it, and the packages of its repository from the root or from ``src/``. It needs
nothing of sota_bench.

This file needs nothing of it either: it is run by path, as ``python -P measure.py JOB``. It and the suite, which is the
head's, are the same for both revisions; everything else is imported from ``tree``.

``JOB`` is JSON: ``preload``, and ``processes``, each with ``suite``, ``tree``, ``scratch``, ``device``, ``log`` and the
descriptors ``requests`` and ``replies``. Every process is forked from the one that has only imported ``preload`` (as
asv's forkserver does; here it is a new one for every block): imports of third-party code are paid once a block, and
both revisions get the same layout of it in memory. A process reads one JSON request a line and writes one JSON reply a
line; whatever its workloads print goes to the log. It ends when its requests end.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import itertools
import json
import os
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Run = Callable[[Callable[[], None]], None]

MAX_RUNS = 10_000
"""Runs of one workload for one request, so that work which takes no time at all comes to an end."""


@dataclass(frozen=True)
class Workload:
    """One workload of a suite, with its defaults filled in; see the top of this file.

    Attributes:
        prepare: makes the inputs and returns what is measured.
        control, timed, counts: as the suite says.
    """

    prepare: Callable[[Path, str], Run]
    control: bool = False
    timed: bool = True
    counts: str = ""

    @classmethod
    def of(cls, value: Any) -> Workload:
        """A workload as a suite writes it: a function, or an object with attributes."""
        attributes = {name: getattr(value, name) for name in ("control", "timed", "counts") if hasattr(value, name)}
        return cls(getattr(value, "prepare", value), **attributes)


class Suite:
    """The workloads of a file, prepared once each.

    Args:
        file: the suite.
        scratch: a folder that is kept between the processes of one tree.
        device: ``cpu`` or ``cuda[:i]``.

    Raises:
        ValueError: the file has no ``WORKLOADS``.
    """

    def __init__(self, file: Path, scratch: Path, device: str) -> None:
        sys.path.insert(0, str(file.parent))
        spec = importlib.util.spec_from_file_location("sota_bench_gate_suite", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        if not hasattr(module, "WORKLOADS"):
            raise ValueError(f"{file.name} has no WORKLOADS, a mapping from names to workloads")
        self.workloads = {str(name): Workload.of(value) for name, value in module.WORKLOADS.items()}
        self.preload: tuple[str, ...] = tuple(getattr(module, "PRELOAD", ()))
        self.scratch, self.device = scratch, device
        self._ready: dict[str, Run] = {}

    def run_of(self, name: str) -> Run:
        """The prepared workload."""
        if name not in self._ready:
            self._ready[name] = self.workloads[name].prepare(self.scratch, self.device)
        return self._ready[name]

    def warm(self, name: str) -> None:
        """Runs a workload once. What it leaves in memory is frozen: otherwise each garbage collection walks over all
        objects of torch and timm, which takes as long as many laps."""
        self.run_of(name)(lambda: None)
        gc.collect()
        gc.freeze()

    def forget(self, name: str) -> None:
        """Frees a workload's memory."""
        self._ready.pop(name, None)
        gc.unfreeze()
        gc.collect()


def laps_of(run: Run, seconds: float, device: str) -> list[float]:
    """Seconds of every piece of work, in runs that take ``seconds`` together or more.

    On a GPU each piece ends when the device has done it.
    """
    synchronize = _synchronizer(device)
    marks: list[float] = []

    def lap() -> None:
        synchronize()
        marks.append(time.perf_counter())

    laps: list[float] = []
    gc.collect()
    gc.disable()
    try:
        until = time.perf_counter() + seconds
        for _ in range(MAX_RUNS):
            marks.clear()
            run(lap)
            laps += [after - before for before, after in itertools.pairwise(marks)]
            if time.perf_counter() >= until:
                break
    finally:
        gc.enable()
    return laps


def _synchronizer(device: str) -> Callable[[], None]:
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)


def operations_of(run: Run) -> dict[str, Any]:
    """What torch computed between the first lap and the last of one run: exact, whatever the machine's load.

    Returns:
        ``laps``; ``operations``: ATen operations; ``synchronizations``: operations whose result the host has to read
        before it can go on (``item()``, ``nonzero()``: torch's tags for outputs that depend on data), and on a GPU
        calls that torch's own check reports; ``bytes_moved``: of the tensors that operations read and wrote, views
        left out; ``transferred_bytes``: copied between host and device; ``by_operation``: calls of each.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    waits = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.calls: Counter[str] = Counter()
            self.numbers: Counter[str] = Counter()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            read = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, torch.Tensor)]
            written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            self.calls[str(func)] += 1
            self.numbers["operations"] += 1
            self.numbers["synchronizations"] += bool(waits & set(func.tags))
            if not func.is_view:
                size = sum(tensor.numel() * tensor.element_size() for tensor in [*read, *written])
                self.numbers["bytes_moved"] += size
            devices = {tensor.device.type for tensor in [*read, *written] if tensor.dim() or tensor.numel() > 1}
            if len(devices) > 1:
                self.numbers["transferred_bytes"] += sum(t.numel() * t.element_size() for t in written)
            return result

    mode = Counting()
    states: list[tuple[Counter[str], Counter[str], int]] = []
    with counted_waits() as waited:

        def lap() -> None:
            states.append((mode.calls.copy(), mode.numbers.copy(), len(waited)))

        with mode:
            run(lap)
    (calls, numbers, waited_before), (last_calls, last_numbers, waited_after) = states[0], states[-1]
    names = ("operations", "synchronizations", "bytes_moved", "transferred_bytes")
    counts: dict[str, Any] = {"laps": len(states) - 1}
    counts |= {name: last_numbers[name] - numbers[name] for name in names}
    if torch.cuda.is_available():
        counts["device_waits"] = waited_after - waited_before
    counts["by_operation"] = {name: n - calls[name] for name, n in sorted(last_calls.items()) if n > calls[name]}
    return counts


@contextmanager
def counted_waits() -> Iterator[list[Any]]:
    """Collects a warning for each call that makes the host wait for a GPU; nothing without one."""
    import torch

    if not torch.cuda.is_available():
        yield []
        return
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", message=".*synchronizing CUDA operation")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode("default")


def graphs_of(run: Run) -> dict[str, Any]:
    """Graphs and graph breaks of what the workload compiles with ``torch.compile``, traced and not compiled to machine
    code.

    Returns:
        ``graphs`` that were traced and ``graph_breaks``.

    Raises:
        RuntimeError: it compiled nothing.
    """
    import torch
    import torch._dynamo
    from torch._dynamo.utils import counters

    original = torch.compile
    torch._dynamo.reset()
    counters.clear()
    torch.compile = lambda *args, **options: original(*args, **{**options, "backend": "eager"})  # type: ignore
    try:
        run(lambda: None)
    finally:
        torch.compile = original
    graphs = int(counters["stats"]["unique_graphs"])
    if not graphs:
        raise RuntimeError("the workload compiled nothing with torch.compile")
    return {"graphs": graphs, "graph_breaks": int(sum(counters["graph_break"].values()))}


def reply_to(suite: Suite, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request."""
    name = request.get("name", "")
    match request["do"]:
        case "list":
            workloads = {
                key: {"control": workload.control, "timed": workload.timed, "counts": workload.counts}
                for key, workload in suite.workloads.items()
            }
            return {"workloads": workloads, "preload": list(suite.preload)}
        case "prepare":
            suite.warm(name)
            return {}
        case "time":
            laps = laps_of(suite.run_of(name), float(request["seconds"]), suite.device)
            if not laps:
                raise RuntimeError("the workload measured no lap")
            return {"laps": laps}
        case "count":
            count = operations_of if suite.workloads[name].counts == "operations" else graphs_of
            return {"counts": count(suite.run_of(name))}
        case "forget":
            suite.forget(name)
            return {}
        case other:
            raise ValueError(f"unknown request {other!r}")


def serve(job: dict[str, Any]) -> None:
    """One forked process: answers requests until they end."""
    log = os.open(job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(job["scratch"])
    tree = job["tree"]
    roots = [str(folder) for folder in (Path(tree) / "src", Path(tree)) if folder.is_dir()]
    os.environ["PYTHONPATH"] = os.pathsep.join(roots)
    sys.path[:0] = roots
    suite: Suite | None = None
    with os.fdopen(job["requests"], encoding="utf-8") as requests, os.fdopen(job["replies"], "w", 1) as replies:
        for line in requests:
            try:
                if suite is None:
                    suite = Suite(Path(job["suite"]), Path(job["scratch"]), job["device"])
                reply = reply_to(suite, json.loads(line))
            except Exception as error:  # whatever a workload raises is reported
                traceback.print_exc()
                text = " ".join(f"{type(error).__name__}: {error}".split())
                reply = {"error": text.replace(tree, "<tree>")[:500]}
            replies.write(json.dumps(reply) + "\n")


def main() -> None:
    """Imports, forks, and reports the exit code of each process that died."""
    job = json.loads(sys.argv[1])
    for name in job["preload"]:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    replies_of: dict[int, int] = {}
    for number, process in enumerate(job["processes"]):
        child = os.fork()
        if not child:
            others = job["processes"][:number] + job["processes"][number + 1 :]
            for other in others:
                with suppress(OSError):  # this process has closed the requests of those before
                    os.close(other["requests"])
                os.close(other["replies"])
            serve(process)
            os._exit(0)  # an orderly exit of torch takes seconds
        replies_of[child] = process["replies"]
        os.close(process["requests"])
    while replies_of:
        ended, status = os.wait()
        replies, code = replies_of.pop(ended), os.waitstatus_to_exitcode(status)
        if code:
            with suppress(OSError):  # nobody reads it any more
                os.write(replies, json.dumps({"ended": code}).encode() + b"\n")
        os.close(replies)
    os._exit(0)


if __name__ == "__main__":
    main()
