"""``verify`` finds what was changed after a run: files, and numbers that do not follow from the stored predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sota_bench import cli
from sota_bench.plan.stage import StageResult
from sota_bench.store import Store
from sota_bench.store.artifacts import Record, write_record

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


def changed(store: Store, key: str, values: Mapping[str, Any]) -> None:
    """A result with other numbers under a digest that fits: what somebody would do who wants them to be believed."""
    old = store.record(key)
    result = StageResult(**{**vars(old.result), "values": {**old.result.values, **values}})
    write_record(store.folder(key), Record(**{**vars(old), "result": result}))


@pytest.mark.slow
def test_a_sound_run_is_repeated_and_changes_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text(GRID)
    options = ["grid.toml", "--device", "cpu", "--workers", "1"]
    assert cli.main(["run", *options, "--no-calibrate"]) == 0
    capsys.readouterr()

    assert cli.main(["verify", *options, "--json"]) == 0
    sound = json.loads(capsys.readouterr().out)
    assert sound["problems"] == [] and len(sound["retrained"]) == 1 and sound["files_compared"] >= 2
    assert sound["stages_missing"] == 0

    store = Store(Path(".sota_bench"))
    keys = store.keys()
    evaluation, training = (
        next(key for key in keys if store.record(key).kind == kind) for kind in ("evaluate", "train")
    )
    accuracy = store.result(evaluation).values["accuracy"]
    changed(store, evaluation, {"accuracy": accuracy + 1})
    assert cli.main(["verify", *options, "--retrain", "0"]) == 1
    out = capsys.readouterr().out
    assert f"accuracy is stored as {accuracy + 1}" in out and "1 problems" in out
    changed(store, evaluation, {"accuracy": accuracy})

    file = store.folder(training) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    assert cli.main(["verify", *options, "--retrain", "0"]) == 1
    assert "its files are not what was written" in capsys.readouterr().out
