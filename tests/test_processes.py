"""Child processes end with the process that started them, however that one ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sota_bench.processes import Child, output_of, process_pool

ROOT = Path(__file__).parents[1]


def ends(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process ends within a time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_a_short_command_gives_what_it_prints_or_none(tmp_path: Path) -> None:
    python = [sys.executable, "-S", "-c"]
    assert output_of([*python, "print(input() * 2)"], given="ab\n", timeout_s=30) == "abab\n"
    assert output_of([*python, "raise SystemExit(1)"], timeout_s=30) is None
    assert output_of([*python, "import time; time.sleep(60)"], timeout_s=0.2) is None
    assert output_of([str(tmp_path / "absent")], timeout_s=1) is None


def test_a_child_is_killed_with_what_it_started(tmp_path: Path) -> None:
    code = "import subprocess as s, time; print(s.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    log = tmp_path / "log"
    child = Child([sys.executable, "-S", "-c", code], log)
    while not log.read_text().endswith("\n"):
        time.sleep(0.02)
    grandchild = int(log.read_text())
    assert child.poll() is None and psutil.pid_exists(grandchild)
    assert not child.wait(timeout_s=0.1)
    child.kill()
    assert child.poll() == -signal.SIGKILL and ends(grandchild)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_and_pools_end_with_a_killed_parent(tmp_path: Path, number: int) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from sota_bench.processes import Child, process_pool\n"
        "def main():\n"
        "    child = Child([sys.executable, '-c', 'import time; time.sleep(60)'], Path(os.devnull))\n"
        "    with process_pool(1, print, ('',)) as pool:\n"
        "        waiting = pool.submit(time.sleep, 60)\n"
        "        pids = [child.pid, *pool._processes]\n"
        "        print(*pids, flush=True)\n"
        "        waiting.result()\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    )
    command = [sys.executable, str(script)]
    environment = {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and all(map(psutil.pid_exists, pids))
        time.sleep(1.0)
        parent.send_signal(number)
        parent.wait()
        assert all(map(ends, pids))


def test_a_block_that_raises_does_not_wait_for_its_pool() -> None:
    began = time.monotonic()
    with pytest.raises(RuntimeError), process_pool(1, int, ()) as pool:
        pool.submit(time.sleep, 60)
        raise RuntimeError
    assert time.monotonic() - began < 30
