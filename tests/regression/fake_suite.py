"""A suite without torch whose laps are read from a file of its tree: what the gate measures is then known exactly."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_package

TIMES = json.loads((Path(tiny_package.__file__).parent / "times.json").read_text())


class Clock:
    """Stands in for ``time.perf_counter``: goes on only when a workload says so."""

    now = 1000.0

    def read(self) -> float:
        return Clock.now


time.perf_counter = Clock().read


@dataclass(frozen=True)
class Workload:
    name: str
    control: bool = False
    timed: bool = True
    counts: str = ""

    def prepare(self, scratch: Path, device: str) -> Callable[[Callable[[], None]], None]:
        seconds = TIMES.get(self.name, 1.0)
        if seconds == "raises":
            raise ValueError(f"{self.name} is broken")
        if seconds == "dies":
            raise SystemExit(7)
        if seconds == "hangs":
            (scratch / "hangs").write_text(str(os.getpid()))
            time.sleep(600)

        def run(lap: Callable[[], None]) -> None:
            lap()
            for _ in range(3):
                Clock.now += seconds
                lap()

        return run


WORKLOADS: dict[str, Any] = {name: Workload(name, control=name == "control") for name in ("control", "alpha", "beta")}
