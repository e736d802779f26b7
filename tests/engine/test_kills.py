"""Signals and kills of driver and workers: nothing is lost, nothing stays behind, and the same command goes on."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fake_stages import make
from filelock import FileLock
from test_run_stages import Run, check_values

from sota_bench.errors import UserError
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

HERE = Path(__file__).parent


class Driver:
    """A run in a process of its own."""

    def __init__(self, store: Store, stages: Sequence[Stage], **settings: Any) -> None:
        spec = store.root.parent / "spec.pickle"
        spec.write_bytes(pickle.dumps({"stages": list(stages), "settings": settings}))
        command = [sys.executable, str(HERE / "drive.py"), str(store.root), str(spec)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        )
        self.workers: list[int] = []

    def until(self, words: str) -> str:
        """Read its lines up to one that begins with ``words``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("started"):
                self.workers.append(int(line.split()[-1]))
            if line.startswith(words):
                return line
        raise AssertionError(f"it ended without {words!r}: {self.process.communicate()}")

    def end(self, timeout: float = 10.0) -> tuple[int, str, str]:
        out, error = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, error


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield Store(tmp_path / "store")


def soon(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether ``condition`` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def graph() -> list[Stage]:
    data = make("data")
    trains = [make(f"train {n}", data, steps=8, step_s=0.03, saves=True) for n in range(3)]
    return [data, *trains, *(make(f"evaluate {n}", train) for n, train in enumerate(trains))]


def test_a_driver_killed_at_random_moments_ends_with_the_same_numbers(store: Store) -> None:
    stages, generator = graph(), np.random.default_rng(7)
    for _ in range(8):
        driver = Driver(store, stages, workers=2)
        time.sleep(float(generator.uniform(0.1, 0.9)))
        driver.process.kill()
        driver.process.communicate()
    run = Run(store, stages, workers=2)
    assert run.summary.complete
    check_values(store, stages)
    assert {row.status for row in store.rows().values()} == {"done"}
    assert not list((store.root / "work").iterdir()) and not (store.root / "holder.json").exists()


@pytest.mark.parametrize("does", ["work", "hang", "grip"])
def test_workers_end_with_their_driver_whatever_they_do(store: Store, does: str) -> None:
    driver = Driver(store, [make("a", does=does, steps=1000, step_s=0.05)])
    driver.until("started")
    time.sleep(0.3)
    key = make("a", does=does, steps=1000, step_s=0.05).key
    assert store.rows()[key].status == "running"
    driver.process.kill()
    driver.process.communicate()
    assert soon(lambda: all(map(gone, driver.workers)))
    assert store.rows()[key].status == "interrupted", "nothing stays running"


@pytest.mark.parametrize("victim", ["driver", "worker", "both"])
def test_children_of_a_worker_end_too(store: Store, victim: str) -> None:
    driver = Driver(store, [make("a", does="children", times=1)])
    children = [int(pid) for pid in driver.until("progress").split()[3:]]
    assert len(children) == 2 and not any(map(gone, children))
    if victim != "driver":
        os.kill(driver.workers[0], signal.SIGKILL)
    if victim != "worker":
        driver.process.kill()
    driver.end()
    assert soon(lambda: all(map(gone, [*driver.workers, *children])))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_cleanly_and_the_stage_goes_on_where_it_was(store: Store, number: int) -> None:
    stage, after = make("long", steps=40, step_s=0.05), make("after")
    driver = Driver(store, [stage, after])
    driver.until("progress long")
    began = time.monotonic()
    driver.process.send_signal(number)
    code, out, error = driver.end()
    assert code == 130 and time.monotonic() - began < 5.0 and not error
    assert soon(lambda: all(map(gone, driver.workers)))
    assert json.loads(out.split("summary")[1])["left"] == 2
    assert store.rows()[stage.key].status == "interrupted" and not store.is_done(stage.key)
    assert Run(store, [stage, after]).summary.complete
    assert store.result(stage.key).values["resumed_at"] > 0


def test_a_stage_that_does_not_listen_is_ended_after_the_grace(store: Store) -> None:
    driver = Driver(store, [make("a", does="stubborn")], grace_s=1.0)
    driver.until("progress")
    began = time.monotonic()
    driver.process.send_signal(signal.SIGINT)
    assert driver.end()[0] == 130
    assert 0.9 < time.monotonic() - began < 5.0
    assert soon(lambda: all(map(gone, driver.workers)))


def test_a_second_interrupt_stops_at_once(store: Store) -> None:
    driver = Driver(store, [make("a", does="stubborn")], grace_s=60.0)
    driver.until("progress")
    driver.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert driver.process.poll() is None
    began = time.monotonic()
    driver.process.send_signal(signal.SIGINT)
    assert driver.end()[0] == 130
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stage_whose_worker_is_killed_from_outside_goes_on_in_another(store: Store, number: int) -> None:
    stages = [make("victim", steps=20, step_s=0.1, saves=True), make("other", steps=10, step_s=0.05), make("last")]
    driver = Driver(store, stages, workers=2)
    driver.until("progress victim")
    time.sleep(0.5)
    os.kill(driver.workers[0], number)
    code, _, _ = driver.end()
    assert code == 0
    check_values(store, stages)
    assert store.result(stages[0].key).values["resumed_at"] >= 1
    assert store.rows()[stages[0].key].attempts == 2


def test_a_stage_whose_worker_is_always_killed_is_given_up_alone(store: Store) -> None:
    stages = [make("victim", steps=200, step_s=0.05), make("other", steps=10, step_s=0.05), make("last")]
    driver = Driver(store, stages, workers=2)
    for _ in range(4):
        line = driver.until("started victim")
        driver.until("progress victim")
        os.kill(int(line.split()[-1]), signal.SIGKILL)
    code, _, _ = driver.end()
    assert code == 1
    assert set(store.failed()) == {stages[0].key}
    failed = store.failed()[stages[0].key]
    assert (failed.failure, "signal 9" in failed.reason, "4 times" in failed.reason) == ("crashed", True, True)
    check_values(store, stages[1:])


def test_two_runs_never_share_a_store(store: Store) -> None:
    stages = graph()
    first = Driver(store, [make("long", steps=60, step_s=0.05), *stages])
    first.until("progress")
    second = Driver(store, stages)
    code, _, error = second.end()
    assert code == 2 and f"process {first.process.pid}" in error and "Traceback" not in error
    assert error.count("\n") == 1
    assert Store(store.root).rows(), "readers need no lock"
    assert first.end(30)[0] == 0


def test_a_workspace_still_in_use_is_waited_for(store: Store) -> None:
    stage = make("a")
    lock = FileLock(store.root / "work" / f"{stage.key}.lock", thread_local=False)
    with store.hold("test"):
        lock.acquire()
    released: list[float] = []

    def release() -> None:
        released.append(time.monotonic())
        lock.release()

    threading.Timer(1.0, release).start()
    assert Run(store, [stage]).summary.complete
    assert released and time.monotonic() >= released[0]
    check_values(store, [stage])


def test_the_store_vanishing_under_a_run_is_one_line(store: Store) -> None:
    driver = Driver(store, [make("a", steps=10, step_s=0.1), make("b")])
    driver.until("progress")
    store.root.rename(store.root.with_name("elsewhere"))
    code, _, error = driver.end()
    assert code == 2 and "vanished" in error and "Traceback" not in error
    assert soon(lambda: all(map(gone, driver.workers)))
    store.root.with_name("elsewhere").rename(store.root)
    assert Run(store, [make("a", steps=10, step_s=0.1), make("b")]).summary.complete


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_is_one_line_and_nothing_is_lost(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    first = make("first")
    large = make("large", first, size=2**16)
    with pytest.raises(UserError, match="the disk is full"):
        Run(store, [first, large])
    assert store.is_done(first.key) and not store.is_done(large.key)
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    assert Run(store, [first, large]).summary.complete
    check_values(store, [first, large])


def test_tensors_that_do_not_fit_the_disk_are_nobodys_failure(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    stage = make("tensors")
    with pytest.raises(UserError, match="the disk is full"):
        Run(store, [stage], execute="fake_stages:execute_tensors")
    assert store.rows()[stage.key].status == "interrupted"


def test_a_disk_that_is_read_only_is_one_line(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    stage = make("a")
    Run(store, [stage])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\).*--store"):
        Run(store, [stage])
    assert store.is_done(stage.key) and store.rows()[stage.key].status == "done", "reading works"
