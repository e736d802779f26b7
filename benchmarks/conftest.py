"""Makes ``pytest benchmarks`` measure: the laps of each workload become the rounds of a pytest-benchmark."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the gate measures, and before torch is imported
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from workloads import WORKLOADS, Workload  # noqa: E402

from sota_bench.regression.measure import laps_of  # noqa: E402

SECONDS = 0.3


def pytest_configure(config: pytest.Config) -> None:
    """The test suite skips benchmarks; here they run."""
    config.option.benchmark_skip = False


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for what workloads prepare."""
    return tmp_path_factory.mktemp("workloads")


class Replay:
    """A clock and a function that replay measured laps: a training step cannot be called from outside of its loop, so
    its laps are taken there and handed to pytest-benchmark one by one."""

    def __init__(self) -> None:
        self.laps: list[float] = []
        self._now, self._next = 0.0, 0

    def clock(self) -> float:
        """Seconds."""
        return self._now

    def lap(self) -> None:
        """Advances the clock by the next lap."""
        self._now += self.laps[self._next % len(self.laps)]
        self._next += 1


@pytest.fixture
def measured(request: pytest.FixtureRequest, scratch: Path) -> Callable[[str], list[float]]:
    """Measures a workload and reports its laps."""
    replay = Replay()
    request.node.add_marker(pytest.mark.benchmark(timer=replay.clock, warmup=False))
    benchmark = request.getfixturevalue("benchmark")

    def measure(name: str) -> list[float]:
        workload: Workload = WORKLOADS[name]
        run = workload.prepare(scratch, "cpu")
        run(lambda: None)  # warms up
        replay.laps = laps_of(run, SECONDS, "cpu")
        benchmark.group = workload.group
        benchmark.pedantic(replay.lap, rounds=len(replay.laps), iterations=1)
        return replay.laps

    return measure
