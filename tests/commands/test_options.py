"""A command without ``--device`` and ``--workers`` takes those of the grid's last run, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sota_bench.commands.options import machine_of
from sota_bench.grid import load
from sota_bench.grid.grid import Grid
from sota_bench.plan import machine as machines
from sota_bench.runs.entry import RunEntry
from sota_bench.store import Store

GRID = "[recipe]\nbackbone = 'test_resnet'\nresize = '32x1'\n[factors]\nlr = [0.001, 0.002]\n"


def entry(device: str) -> dict[str, Any]:
    """What the ledger keeps of a run with one worker."""
    return RunEntry(workers=1, plan={"keys": {"a": "b"}, "environment": {"device": device}}).to_json()


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """A grid whose last run used one worker on the CPU, on a machine of four cores."""
    monkeypatch.setattr(machines, "cores", lambda: 4)
    file = tmp_path / "grid.toml"
    file.write_text(GRID)
    grid = load(file)
    store = Store(tmp_path / "store")
    with store.hold("test"):
        run = store.begin_run(grid.name, "out", "run")
        store.end_run(run, entry("cpu"))
    return grid


def test_options_left_out_are_those_of_the_last_run(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = machine_of(tmp_path / "store", "", 0, grid=grid)
    assert (machine.device, machine.workers) == ("cpu", 1)
    assert "cpu and 1 worker" in capsys.readouterr().err


def test_options_that_are_given_hold(grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine_of(tmp_path / "store", "", 2, grid=grid).workers == 2
    assert machine_of(tmp_path / "store", "auto", 0, grid=grid).workers == 0
    assert machine_of(tmp_path / "elsewhere", "", 0, grid=grid).workers == 0
    assert machine_of(tmp_path / "store", "", 0, grid=load(grid.file, ["grid.name=other"])).workers == 0


def test_nothing_is_said_where_the_defaults_are_the_same(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machines, "cores", lambda: 1)
    machine_of(tmp_path / "store", "", 0, grid=grid)
    assert capsys.readouterr().err == ""


def test_a_device_that_is_gone_is_not_taken(grid: Grid, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with store.hold("test"):
        store.end_run(store.begin_run(grid.name, "out", "run"), entry("cuda:7"))
    assert machine_of(tmp_path / "store", "", 0, grid=grid).device == "auto"
