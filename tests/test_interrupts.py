"""A signal ends any command in any phase within ten seconds: exit 130, one line that says how to go on, no traceback.

How running stages save themselves is tested in ``tests/engine``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sota_bench import interrupts

ROOT = Path(__file__).parents[1]
LINE = interrupts.LINE + "\n"
GRID = """
[grid]
seeds = [0]
[data]
source = "known-effects"
fraction = 0.05
[recipe]
backbone = "test_resnet"
resize = "32x1"
[factors]
lr = [0.001, 0.002]
"""

START = """
import importlib, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a suite in the background ignores some
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
"""

HOLD = """
from sota_bench import cli, interrupts

def hold(*arguments, **options):
    told = False
    while True:
        try:  # the signal may come right after the line is read
            if not told:
                told = True
                print("held", flush=True)
            time.sleep(5)
        except {swallowed}:
            pass

module, _, path = {place!r}.partition(":")
*above, name = path.split(".")
owner = importlib.import_module(module)
for part in above:
    owner = getattr(owner, part)
setattr(owner, name, hold)
interrupts.GRACE_S = {grace}
sys.exit(cli.main({arguments!r}))
"""
"""Runs a command that comes to a stop at one of its phases."""


class Command:
    """A command in a session of its own, as in a terminal."""

    def __init__(self, folder: Path, code: str) -> None:
        (folder / "grid.toml").write_text(GRID)
        (folder / "table.csv").write_text("accuracy,lr,seed\n1,a,0\n")
        paths = os.pathsep.join([str(ROOT), str(folder)])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", START + code], cwd=folder, env=environment, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def wait_for(self, words: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in line:
                return
        raise AssertionError(f"it ended without {words!r}: {self.process.communicate()}")

    def stop(self, number: int) -> tuple[int, str, float]:
        """Signals all of the session, as a terminal does; exit code, standard error, and seconds until the end."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        began = time.monotonic()
        os.killpg(self.process.pid, number)
        _, error = self.process.communicate(timeout=60)
        took = time.monotonic() - began
        assert not psutil.wait_procs(children, timeout=10)[1], "a child is left"
        return self.process.returncode, error, took


PHASES = {
    "reading a grid": ("sota_bench.grid.loading:parse", ["plan", "grid.toml"], signal.SIGTERM),
    "planning": ("sota_bench.plan.make:build", ["status", "grid.toml"], signal.SIGINT),
    "calibration": ("sota_bench.forecast.calibrate:small_stages", ["plan", "grid.toml"], signal.SIGTERM),
    "entering a run": (
        "sota_bench.store.store:Store.begin_run",
        ["run", "grid.toml", "--no-calibrate"],
        signal.SIGTERM,
    ),
    "analysis": (
        "sota_bench.stats:analyze",
        ["analyze", "table.csv", "--response", "accuracy", "--factors", "lr"],
        signal.SIGHUP,
    ),
}


def held(folder: Path, phase: str, swallowed: str = "Exception", grace: float = 8.0) -> Command:
    place, arguments, _ = PHASES[phase]
    arguments = [*arguments, "--device", "cpu"] if "grid.toml" in arguments else arguments
    code = HOLD.format(place=place, arguments=arguments, swallowed=swallowed, grace=grace)
    command = Command(folder, code)
    command.wait_for("held")
    return command


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_ends_with_one_line(tmp_path: Path, phase: str) -> None:
    command = held(tmp_path, phase)
    code, error, took = command.stop(PHASES[phase][2])
    assert code == 130 and took < 10, error
    assert error.endswith(LINE) and "Traceback" not in error
    assert not list((tmp_path / ".sota_bench").glob("holder.json"))


def test_code_that_swallows_the_interrupt_is_ended_after_the_grace(tmp_path: Path) -> None:
    code, error, took = held(tmp_path, "planning", "BaseException", 1.0).stop(signal.SIGTERM)
    assert code == 130 and error == LINE and took < 10


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    command = held(tmp_path, "planning", "BaseException", 60.0)
    command.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert command.process.poll() is None
    code, error, took = command.stop(signal.SIGINT)
    assert code == 130 and error == LINE and took < 10


RENDER = """
from sota_bench import cli
from sota_bench.report import page

def hold(*arguments):
    print("held", flush=True)
    time.sleep(600)

page.render = hold
sys.exit(cli.main(["run", "grid.toml", "--no-calibrate", "--device", "cpu", "--workers", "1"]))
"""


@pytest.mark.slow
def test_rendering_ends_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = Command(tmp_path, RENDER)
    command.wait_for("held")
    code, error, took = command.stop(signal.SIGTERM)
    assert code == 130 and took < 10 and error.endswith(LINE) and "Traceback" not in error
    arguments = ["run", "grid.toml", "--no-calibrate", "--device", "cpu", "--workers", "1"]
    again = Command(tmp_path, f"from sota_bench import cli; sys.exit(cli.main({arguments!r}))")
    out, error = again.process.communicate(timeout=120)
    assert again.process.returncode == 0, error
    assert "reused" in error and "done  " not in error, "nothing was trained twice"
    assert (tmp_path / "reports" / "grid" / "report.html").exists() and out


SLOW = """
import os, time

def read(path):
    open(f"seen-{os.getpid()}", "w").close()
    time.sleep(30)
    return b""
"""

SCAN = """
from pathlib import Path
from slow import read
from sota_bench.data import scan
from sota_bench.interrupts import interruptible
if __name__ == "__main__":
    scan.usable_cores = lambda: 2
    try:
        with interruptible():
            print("scanning", flush=True)
            scan.scan_files(read, [(str(n), 1, 1) for n in range(600)], None)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_scan_in_processes_ends_with_all_of_them(tmp_path: Path, number: int) -> None:
    """Also when it is killed: what it had started does not wait for ever."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = Command(tmp_path, SCAN)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("seen-*"))) < 2:
        assert time.monotonic() < deadline and command.process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(command.process.pid).children(recursive=True)
    if number == signal.SIGKILL:
        command.process.kill()
        command.process.wait()
        assert not psutil.wait_procs(children, timeout=10)[1], "a child is left"
        return
    code, error, took = command.stop(number)
    assert code == 130 and took < 10 and "Traceback" not in error
