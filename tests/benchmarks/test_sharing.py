"""The measurement of workers on one device: the command runs, and its rates leave out each worker's first trial."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def sharing(imported: Callable[[str], ModuleType]) -> ModuleType:
    return imported("sharing")


def test_the_command_runs(
    sharing: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = importlib.import_module("pictures")
    monkeypatch.setattr(sharing.common, "export", lambda *given: pictures.folder_of_images(tmp_path))
    options = ["--data", "x", "--out", str(tmp_path / "out"), "--device", "cpu", "--size", "32", "--batch", "16"]
    options += ["--backbones", "test_resnet", "--workers", "1", "2", "--each", "1", "--rounds", "1"]
    assert sharing.main(options) == 0
    found = json.loads((tmp_path / "out" / "sharing.json").read_text())
    (task,) = found["tasks"]
    assert [row["workers"] for row in task["rows"]] == [1, 2]
    assert all(row["trials_per_hour"] == row["rounds"][0] > 0 for row in task["rows"])
    assert "| 1 |" in capsys.readouterr().out


def test_the_rate_begins_when_every_worker_has_ended_one_trial(
    sharing: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pictures = importlib.import_module("pictures")
    moments = iter([100.0, 101.0, 103.0, 105.0])

    def finish(plan: Any, store: Path, stages: Any, *, workers: int, on_done: Any) -> None:
        assert workers == 2
        for stage in stages:
            on_done(stage.key)

    monkeypatch.setattr(sharing.steps, "finish", finish)
    monkeypatch.setattr(sharing, "time", SimpleNamespace(perf_counter=lambda: next(moments)))
    task: dict[str, Any] = {"backbone": "test_resnet", "size": 32, "epochs": 1, "batch": 16}
    task["images"] = pictures.folder_of_images(tmp_path)
    assert sharing.per_hour(task, 5, 2, 1, "cpu", tmp_path) == pytest.approx(3600 * 2 / 4.0)
