"""Clocks of training: what they measure on a CPU, and on a GPU played by fakes."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lab import Lab

from sota_bench.stages.results import ResourceUse
from sota_bench.training import clock
from sota_bench.training.clock import ResourceMeter, StepClock, cpu_seconds

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class FakeEvent:
    """An event of a GPU that finishes one thing after the other, whenever the host asks for it."""

    now = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = FakeEvent.now

    def synchronize(self) -> None:
        self.done = True

    def elapsed_time(self, end: FakeEvent) -> float:
        return end.at - self.at


def test_on_a_cpu_a_step_is_what_the_host_measured() -> None:
    timer = StepClock(CPU)
    timer.begin()
    assert timer.end(0.25) == [250.0]
    assert timer.collect() == []


def test_on_a_gpu_steps_are_timed_by_its_own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    timer = StepClock(GPU)
    for step in (3.0, 5.0, 4.0):
        timer.begin()
        FakeEvent.now += step
        assert timer.end(0.001) == []
        if step == 5.0:
            timer.discard_last()  # that one compiled
    assert timer.collect() == [3.0, 4.0]
    assert timer.collect() == []


@contextmanager
def busy(count: int) -> Iterator[None]:
    processes = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _spin() -> None:
    while True:
        pass


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not count waiting")
def test_time_spent_waiting_for_a_cpu_is_measured() -> None:
    core = {min(os.sched_getaffinity(0))}
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    try:
        with busy(3):
            usage = ResourceMeter(CPU)
            ends = time.monotonic() + 0.8
            while time.monotonic() < ends:
                pass
            contended = usage.use().cpu_wait
    finally:
        os.sched_setaffinity(0, all_cores)
    assert contended is not None and contended > 0.4  # four share one core


def test_without_the_systems_counters_no_share_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu_seconds(tmp_path / "absent") == (0.0, 0.0)
    monkeypatch.setattr(clock, "cpu_seconds", lambda: (0.0, 0.0))
    assert ResourceMeter(CPU).use() == ResourceUse()


def test_energy_comes_from_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([2_000.0, 5_500.0])
    library = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(spent),
        nvmlDeviceGetComputeRunningProcesses=lambda handle: ["this", "other"],
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1"))
    use = ResourceMeter(GPU).use()
    assert (use.energy_j, use.gpu_processes) == (3.5, 2)


def test_a_training_says_how_long_its_steps_took(lab: Lab) -> None:
    outcome = lab.run('resize = "16x3"\nbatch_size = 8').trained()
    tail = outcome.values["step_ms"]
    assert 0 < tail["median"] <= tail["p90"] <= tail["p99"]
    assert outcome.values["steps"] == 18
    total_ms = 1000 * outcome.seconds["train"]
    assert tail["first"] + 17 * tail["median"] == pytest.approx(total_ms, rel=0.6)
    assert outcome.seconds["compile"] == 0.0
    assert set(outcome.values) >= {"cpu_wait", "energy_j", "gpu_processes"}


def test_compilation_is_kept_apart_from_training(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[tuple[int, ...]] = []

    def compiled(model: Any) -> Any:
        def forward(pixels: torch.Tensor) -> torch.Tensor:
            if tuple(pixels.shape) not in slept:  # as torch.compile does at a new shape
                slept.append(tuple(pixels.shape))
                time.sleep(0.5)
            out: torch.Tensor = model(pixels)
            return out

        return forward

    monkeypatch.setattr(torch, "compile", compiled)
    outcome = lab.run('resize = "16x2"\nbatch_size = 10\ncompile = "on"').trained()
    assert len(slept) == 2  # whole batches and the smaller last one
    assert outcome.seconds["compile"] > 1.0
    assert outcome.values["steps"] == 10
    assert 0 < outcome.seconds["train"] < 1.0
    assert outcome.values["step_ms"]["p99"] < 500
