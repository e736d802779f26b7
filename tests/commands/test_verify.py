"""``verify`` finds what was changed after a run: files, and numbers that do not follow from the stored predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sota_bench import cli
from sota_bench.commands.verify import _same_accuracy, _stored_problems
from sota_bench.grid import load
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.stages.params import PrepareParams
from sota_bench.stages.results import StageResult
from sota_bench.stages.stage import Stage
from sota_bench.store import Store
from sota_bench.store.artifacts import ArtifactRecord, write_record

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
    result = replace(old.result, values={**old.result.values, **values})
    write_record(store.folder(key), ArtifactRecord(**{**vars(old), "result": result}))


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
    assert f"accuracy is stored as {accuracy + 1}" in out and "2 problems found" in out
    changed(store, evaluation, {"accuracy": accuracy})

    def problems() -> list[str]:
        cli.main(["verify", *options, "--retrain", "0", "--json"])
        return json.loads(capsys.readouterr().out)["problems"]

    table = Path("reports/grid/trials.csv")
    table.write_text(table.read_text().replace(str(accuracy), str(accuracy + 1), 1))
    (told,) = problems()
    assert told.startswith(f"{table}: accuracy of ") and told.endswith(f"is {accuracy + 1}, the store has {accuracy}")
    table.unlink()

    file = store.folder(training) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    (store.folder(evaluation) / "predictions.safetensors").unlink()
    assert len(problems()) == 2
    assert any("model.safetensors does not match its digest" in line for line in problems())
    assert any("predictions.safetensors cannot be read" in line for line in problems())
    (store.folder(evaluation) / "result.json").write_text("{}")
    assert any("result.json cannot be read" in line for line in problems())


@pytest.mark.slow
def test_a_run_is_compared_with_the_reference_that_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text(GRID)
    file, options = Path("reference.json"), ["grid.toml", "--device", "cpu", "--workers", "1", "--only", "lr=0.001"]
    seeds = ["--seeds", "0,1,2,3,4"]
    assert cli.main(["run", *options, *seeds, "--no-calibrate"]) == 0
    verify = ["verify", *options, "--retrain", "0"]
    assert cli.main([*verify, "--write-reference", str(file)]) == 2 and not file.exists()  # the grid has one seed
    assert cli.main([*verify, *seeds, "--write-reference", str(file)]) == 0
    assert cli.main([*verify, "--reference", str(file)]) == 0
    capsys.readouterr()

    content = json.loads(file.read_text())
    (cell,) = content["cells"]
    cell["accuracy"] = {seed: accuracy + 60 for seed, accuracy in cell["accuracy"].items()}
    file.write_text(json.dumps(content))
    assert cli.main([*verify, "--reference", str(file)]) == 3
    assert "PROBLEM lr 0.001 is too low" in capsys.readouterr().out
    assert cli.main([*verify, "--reference", str(file), "--json"]) == 3
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["problems"] == [] and outcome["reference"]["comparisons"][0]["outcome"] == "too low"
    assert cli.main([*verify, "--reference", "absent.json"]) == 2


def test_only_large_files_of_a_training_may_be_absent(tmp_path: Path) -> None:
    store, stage = Store(tmp_path / "store"), Stage("a" * 64, "prepare", PrepareParams("", 64), {}, "decode")
    with store.hold("test"):
        workspace = store.workspace(stage.key)
        (workspace / "model.safetensors").write_bytes(bytes(2**20))
        (workspace / "small.npz").write_bytes(bytes(10))
        store.commit(stage, workspace, {}, {}, 0.0, 1)
        store.prune((), 0)
    record = store.record(stage.key)
    assert not store.has_files(stage.key) and _stored_problems(store, stage, record) == []
    (store.folder(stage.key) / "small.npz").unlink()
    assert len(_stored_problems(store, stage, record)) == 1


@pytest.mark.parametrize(("accuracy", "same"), [(62.0, True), (57.0, True), (40.0, False)])
def test_what_is_repeated_on_a_gpu_may_differ_by_its_sampling_error(accuracy: float, same: bool) -> None:
    old, new = (StageResult({"accuracy": value, "images": 500}, {}, 0.0, 1, {}) for value in (61.0, accuracy))
    assert _same_accuracy(old, new) == {"accuracy": same}


def test_a_stage_without_a_result_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text(GRID)
    plan, _ = make_plan(load(Path("grid.toml")), Machine(Path(".sota_bench"), "cpu", 1))
    store = Store(Path(".sota_bench"))
    with store.hold("test"):
        store.commit(plan.prepare, store.workspace(plan.prepare.key), {}, {}, 0.0, 1)
    arguments = ["verify", "grid.toml", "--device", "cpu", "--workers", "1", "--json"]
    assert cli.main(arguments) == 1
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["stages_checked"], outcome["stages_missing"]) == (1, len(plan.stages) - 1)
    assert len(outcome["problems"]) == 1
