"""Measuring processes: they time and count the workloads of a suite, each with the package of the tree it is told.

Run by path, as ``python -P measure.py JOB``, so that both revisions are measured by the same code: this file and the
suite come from the head, everything else from ``tree``. It needs nothing of the project itself. ``JOB`` is JSON:
``preload``, modules that are imported first, and ``processes``, each with ``suite``, ``tree``, ``scratch``, ``device``,
``log`` and the descriptors ``requests`` and ``replies``. Every process is forked from the one that has only imported
``preload`` (as asv's forkserver does; here it is a new one for every block): imports of other people's code are paid
once a block, and both revisions get the same layout of it in memory.

A process reads one JSON request a line and writes one JSON answer a line; whatever its workloads print goes to the log.
It ends when its requests end.

A suite is a Python file with ``WORKLOADS``, a mapping from names to objects with the attributes ``prepare(scratch,
device)``, which returns ``run(lap)``; ``control``; ``timed``; and ``counts`` (``"operations"``, ``"graphs"`` or
``""``). ``run`` calls ``lap()`` when the first piece of work begins and after each piece. ``PRELOAD``, where it has
one, names modules that its workloads import and that no revision of the project can change.
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
from pathlib import Path
from typing import Any

Run = Callable[[Callable[[], None]], None]

MOST_RUNS = 10_000
"""Runs of one workload in one visit: an end for work that takes no time at all."""


class Suite:
    """The workloads of a file, prepared once each.

    Args:
        file: the suite.
        scratch: a folder that is kept between the processes of one tree.
        device: ``cpu`` or ``cuda[:i]``.
    """

    def __init__(self, file: Path, scratch: Path, device: str) -> None:
        sys.path.insert(0, str(file.parent))
        spec = importlib.util.spec_from_file_location("sota_bench_gate_suite", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        self.workloads: dict[str, Any] = dict(module.WORKLOADS)
        self.preload: tuple[str, ...] = tuple(getattr(module, "PRELOAD", ()))
        self.scratch, self.device = scratch, device
        self._ready: dict[str, Run] = {}

    def run_of(self, name: str) -> Run:
        """The prepared workload."""
        if name not in self._ready:
            self._ready[name] = self.workloads[name].prepare(self.scratch, self.device)
        return self._ready[name]

    def warm(self, name: str) -> None:
        """Runs a workload once. What it leaves is put aside: a collection walks over all that torch and timm have
        made, which takes as long as many laps."""
        self.run_of(name)(lambda: None)
        gc.collect()
        gc.freeze()

    def forget(self, name: str) -> None:
        """Lets go of a workload's memory."""
        self._ready.pop(name, None)
        gc.unfreeze()
        gc.collect()


def laps_of(run: Run, seconds: float, device: str) -> list[float]:
    """Seconds of every piece of work, for at least so long.

    On a GPU each piece ends when the device has done it.
    """
    wait = _waiter(device)
    marks: list[float] = []

    def lap() -> None:
        wait()
        marks.append(time.perf_counter())

    found: list[float] = []
    gc.collect()
    gc.disable()
    try:
        until = time.perf_counter() + seconds
        for _ in range(MOST_RUNS):
            marks.clear()
            run(lap)
            found += [after - before for before, after in itertools.pairwise(marks)]
            if time.perf_counter() >= until:
                break
    finally:
        gc.enable()
    return found


def _waiter(device: str) -> Callable[[], None]:
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)


def operations_of(run: Run) -> dict[str, Any]:
    """What torch was asked to do between the first lap and the last of one run: exact, whatever the machine's load.

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
            given = func(*args, **(kwargs or {}))
            read = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, torch.Tensor)]
            written = [leaf for leaf in tree_leaves(given) if isinstance(leaf, torch.Tensor)]
            self.calls[str(func)] += 1
            self.numbers["operations"] += 1
            self.numbers["synchronizations"] += bool(waits & set(func.tags))
            if not func.is_view:
                size = sum(tensor.numel() * tensor.element_size() for tensor in [*read, *written])
                self.numbers["bytes_moved"] += size
            devices = {tensor.device.type for tensor in [*read, *written] if tensor.dim() or tensor.numel() > 1}
            if len(devices) > 1:
                self.numbers["transferred_bytes"] += sum(t.numel() * t.element_size() for t in written)
            return given

    mode = Counting()
    states: list[tuple[Counter[str], Counter[str], int]] = []
    with counted_waits() as waited:

        def lap() -> None:
            states.append((mode.calls.copy(), mode.numbers.copy(), len(waited)))

        with mode:
            run(lap)
    (calls, numbers, waited_before), (last_calls, last_numbers, waited_after) = states[0], states[-1]
    names = ("operations", "synchronizations", "bytes_moved", "transferred_bytes")
    found: dict[str, Any] = {"laps": len(states) - 1}
    found |= {name: last_numbers[name] - numbers[name] for name in names}
    if torch.cuda.is_available():
        found["device_waits"] = waited_after - waited_before
    found["by_operation"] = {name: n - calls[name] for name, n in sorted(last_calls.items()) if n > calls[name]}
    return found


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
    """Graphs and graph breaks of what the workload gives to ``torch.compile``, traced and not compiled to machine code.

    Returns:
        ``graphs`` that were traced and ``graph_breaks``.

    Raises:
        RuntimeError: it compiled nothing.
    """
    import torch
    import torch._dynamo
    from torch._dynamo.utils import counters

    compile_it = torch.compile
    torch._dynamo.reset()
    counters.clear()
    torch.compile = lambda *args, **options: compile_it(*args, **{**options, "backend": "eager"})  # type: ignore
    try:
        run(lambda: None)
    finally:
        torch.compile = compile_it
    graphs = int(counters["stats"]["unique_graphs"])
    if not graphs:
        raise RuntimeError("torch.compile was not asked for anything")
    return {"graphs": graphs, "graph_breaks": int(sum(counters["graph_break"].values()))}


def answer(suite: Suite, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request."""
    name = request.get("name", "")
    match request["do"]:
        case "list":
            about = {
                key: {"control": bool(w.control), "timed": bool(w.timed), "counts": str(w.counts)}
                for key, w in suite.workloads.items()
            }
            return {"workloads": about, "preload": list(suite.preload)}
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
            raise ValueError(f"no request {other!r}")


def serve(job: dict[str, Any]) -> None:
    """One forked process: answers requests until they end."""
    log = os.open(job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(job["scratch"])
    os.environ["PYTHONPATH"] = tree = job["tree"]
    sys.path.insert(0, tree)
    suite: Suite | None = None
    with os.fdopen(job["requests"], encoding="utf-8") as requests, os.fdopen(job["replies"], "w", 1) as replies:
        for line in requests:
            try:
                if suite is None:
                    suite = Suite(Path(job["suite"]), Path(job["scratch"]), job["device"])
                reply = answer(suite, json.loads(line))
            except Exception as error:  # whatever a workload raises is its result
                traceback.print_exc()
                text = " ".join(f"{type(error).__name__}: {error}".split())
                reply = {"error": text.replace(tree, "<tree>")[:500]}
            replies.write(json.dumps(reply) + "\n")


def main() -> None:
    """Imports, forks, and says of each process that died how it ended."""
    job = json.loads(sys.argv[1])
    for name in job["preload"]:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    left: dict[int, int] = {}
    for number, process in enumerate(job["processes"]):
        child = os.fork()
        if not child:
            others = job["processes"][:number] + job["processes"][number + 1 :]
            for other in others:
                with suppress(OSError):  # this process has closed the requests of those before
                    os.close(other["requests"])
                os.close(other["replies"])
            serve(process)
            os._exit(0)  # taking torch down takes seconds that nobody needs
        left[child] = process["replies"]
        os.close(process["requests"])
    while left:
        ended, status = os.wait()
        replies, code = left.pop(ended), os.waitstatus_to_exitcode(status)
        if code:
            with suppress(OSError):  # nobody reads any more
                os.write(replies, json.dumps({"ended": code}).encode() + b"\n")
        os.close(replies)
    os._exit(0)


if __name__ == "__main__":
    main()
