"""Workers that stay from one run to the next, and one that starts before there is a run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_stages import make

from sota_bench.engine.messages import WorkerSettings
from sota_bench.engine.run_stages import run_stages
from sota_bench.engine.worker_pool import shared_worker_pool
from sota_bench.errors import UserError
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

FAKE = "fake_stages:execute"


def run(store: Store, *stages: Stage, threads: int = 1) -> list[int]:
    """Runs stages one after the other with one worker; the process of each."""
    with store.hold("test"):
        assert run_stages(stages, store, execute=FAKE, threads=threads).complete
    return [int(store.result(stage.key).values["pid"]) for stage in stages]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process ends within a time."""
    deadline = time.monotonic() + within_s
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


def test_a_later_run_has_the_workers_of_an_earlier_one_on_any_store(store: Store, tmp_path: Path) -> None:
    with shared_worker_pool():
        first = run(store, make("a"), make("b"))
        second = run(Store(tmp_path / "other"), make("c"))
        assert {*first, *second} == {first[0]} and psutil.pid_exists(first[0])
    assert not psutil.pid_exists(first[0])
    assert run(store, make("d"))[0] != first[0]


def test_other_settings_get_another_worker_and_the_first_one_ends(store: Store) -> None:
    with shared_worker_pool():
        (first,) = run(store, make("a"))
        (second,) = run(store, make("b"), threads=2)
        assert second != first and not psutil.pid_exists(first)


def test_a_worker_that_died_meanwhile_is_replaced(store: Store) -> None:
    with shared_worker_pool():
        (first,) = run(store, make("a"))
        psutil.Process(first).kill()
        (second,) = run(store, make("b"))
        assert second != first


def test_a_worker_that_failed_at_a_stage_does_not_stay(store: Store) -> None:
    with shared_worker_pool():
        with store.hold("test"):
            run_stages([wrong := make("a", does="raise")], store, execute=FAKE)
        assert store.rows()[wrong.key].status == "failed"
        (second,) = run(store, make("b"))
        assert second != store.rows()[wrong.key].pid


def test_a_worker_started_ahead_imports_and_gets_the_first_stage(store: Store) -> None:
    with shared_worker_pool() as pool:
        pool.prestart(WorkerSettings(execute=FAKE))
        (ahead,) = [child.pid for child in psutil.Process().children() if "engine.worker" in " ".join(child.cmdline())]
        time.sleep(1.0)
        stage = make("a")
        assert run(store, stage) == [ahead]
        assert store.result(stage.key).values["preloaded"]


def test_what_keeps_a_worker_from_starting_is_in_its_log_also_if_it_started_ahead(store: Store) -> None:
    with shared_worker_pool() as pool, store.hold("test"):
        pool.prestart(WorkerSettings(execute="no_such_module:execute"))
        with pytest.raises(UserError, match=r"no_such_module.*worker-0\.log"):
            run_stages([make("a")], store, execute="no_such_module:execute")
    assert "ModuleNotFoundError" in (store.root / "logs" / "worker-0.log").read_text()


def test_workers_that_wait_end_with_a_killed_command(tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(
        "import time\n"
        "from sota_bench.engine.worker_pool import shared_worker_pool\n"
        "from sota_bench.engine.messages import WorkerSettings\n"
        "with shared_worker_pool() as pool:\n"
        "    pool.prestart(WorkerSettings())\n"
        "    print('started', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as command:
        assert command.stdout is not None and command.stdout.readline()
        children = [child.pid for child in psutil.Process(command.pid).children()]
        assert len(children) == 2  # with the guardian
        command.send_signal(signal.SIGKILL)
    assert all(gone(pid) for pid in children)
