"""Where a grid runs, as the options say it: the store, the device and the workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sota_bench.plan.environment import Environment, cores, detect

MOST_WORKERS = 4
"""Workers on a CPU by default, one for each core up to so many: two workers on two cores do 1.3 times the trials per
hour of one with both (``benchmarks/sharing.py``), and each holds about 600 MB of libraries. How many a GPU feeds has
not been measured: one, so that what its trials take is what they take alone."""


@dataclass(frozen=True)
class Machine:
    """The options that say where a grid runs.

    Attributes:
        store: folder of the store.
        device: ``auto``, ``cpu`` or ``cuda[:i]``.
        workers: worker processes; 0 decides by the device.
    """

    store: Path
    device: str = "auto"
    workers: int = 0

    def resolve(self) -> tuple[Environment, int]:
        """The environment and the number of workers."""
        on_gpu = detect(self.device, 1).device != "cpu"
        workers = self.workers or (1 if on_gpu else min(cores(), MOST_WORKERS))
        return detect(self.device, workers), workers
