"""The command for a GPU: its code on drawn images on a CPU, and its arithmetic."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sota_bench.stages.params import ImageSelection, PhaseParams, TrainParams
from sota_bench.stages.stage import Stage


@pytest.fixture
def gpu(imported: Callable[[str], ModuleType]) -> ModuleType:
    return imported("gpu")


def test_all_parts_run_on_a_cpu(gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--device", "cpu", "--tiny", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["hardware"]["gpu"] == ""
    assert found["hardware"]["cpu"] in capsys.readouterr().out
    (share,) = found["share"]["rows"]
    assert share["share"] == pytest.approx(
        sorted(one["images_per_s"] / one["pure_images_per_s"] for one in share["rounds"])[0] / 2
        + sorted(one["images_per_s"] / one["pure_images_per_s"] for one in share["rounds"])[1] / 2
    )
    assert (share["precision"], share["compile"], share["compile_s"]) == ("fp32", "off", 0.0)
    assert share["peak_memory_mb"] > 0
    (iteration,) = found["iteration"]["rows"]
    assert iteration["training_s"] > 0 < iteration["evaluation_s"]
    assert iteration["seconds"] == pytest.approx(sum(iteration[f"{part}_s"] for part in ("training", "evaluation"))
                                                 + iteration["statistics_s"])  # fmt: skip
    assert found["leaderboard"]["alone"]["seconds"] > 0
    trials = found["leaderboard"]["trials"]
    assert [(trial["resize"], trial["seed"], trial["images"]) for trial in trials] == [
        ("32x1", 0, 128), ("32x1", 1, 128), ("16x1 32x1", 0, 128), ("16x1 32x1", 1, 128)
    ]  # fmt: skip
    for trial in trials:  # the mean over both halves, by their sizes
        low, high = sorted((trial["select"], trial["test"]))
        assert low <= trial["accuracy"] <= high
    assert found["share"]["reached"] is found["leaderboard"]["reached"] is None


@pytest.mark.slow
def test_an_iteration_runs_in_the_engines_worker(gpu: ModuleType, tmp_path: Path) -> None:
    from dataclasses import replace

    found = gpu.Bench(replace(gpu.tiny(tmp_path), here=False), "cpu", "fp32", tmp_path).iteration()
    (row,) = found["rows"]
    assert 0 < row["evaluation_s"] < row["seconds"]
    assert found["decode_s"] > 0
    assert found["reached"] == (row["seconds"] < gpu.ITERATION_S)


def test_a_share_leaves_out_the_first_epoch_and_is_in_images(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends = [100.0, 110.0, 111.0, 112.0, 113.0, 114.0]  # three epochs of two steps: 7 images in a step and the rest
    values = {"gpu_processes": 1}
    outcome = SimpleNamespace(seconds={"compile": 4.0}, peak_memory_mb=12.0, values=values)
    settings = {"precision": "bf16", "layout": "auto"}
    phase, images = PhaseParams(0, 128, 3, 0, (), False), ImageSelection("train", "", 128)
    stage = Stage("k", "train", TrainParams(settings, (), phase, "main", images, 0), {}, "train", epochs=3)
    training = gpu.steps.Training(stage, {}, tmp_path, "cpu", 12)
    monkeypatch.setattr(gpu.steps.Training, "run", lambda self: (ends, outcome))
    monkeypatch.setattr(gpu.steps, "first_training", lambda *_: training)
    asked: list[tuple[Any, ...]] = []

    def alone(*given: Any) -> list[float]:
        asked.append(given)
        return [1.0] * 4

    monkeypatch.setattr(gpu.steps, "pure_steps", alone)
    scale = gpu.Scale(batch=7, epochs=3, rounds=1)
    row = gpu.Bench(scale, "cpu", "bf16", tmp_path)._share("resnet18", 128, "off")
    assert row["images_per_s"] == pytest.approx(24 / 4)  # of 110 to 114
    assert row["share"] == pytest.approx(6 / 7)
    assert [given[1:] for given in asked] == [(128, 7, 4, "cpu", False), (128, 7, 4, "cpu", True)]


def test_compiling_pays_after_its_seconds_over_what_a_step_saves(gpu: ModuleType) -> None:
    def row(backbone: str, compile: str, rate: float, seconds: float) -> dict[str, Any]:
        return {"backbone": backbone, "size": 128, "compile": compile, "batch": 100, "images_per_s": rate,
                "compile_s": seconds}  # fmt: skip

    rows = [row("a", "off", 1000.0, 0.0), row("a", "on", 2000.0, 30.02), row("b", "off", 10.0, 0.0)]
    rows += [row("b", "on", 9.0, 5.0), row("c", "off", 1.0, 0.0)]
    found = gpu.pays(rows)
    assert [(one["backbone"], one["steps"]) for one in found] == [("a", 601), ("b", None)]
    assert found[0]["saved_ms"] == pytest.approx(50.0)


def test_the_winner_is_chosen_on_one_half_and_compared_on_all(gpu: ModuleType) -> None:
    from scipy.stats import ttest_1samp

    def trial(cell: str, select: float, test: float) -> dict[str, Any]:
        return {"cell": cell, "resize": cell, "select": select, "test": test, "accuracy": (select + test) / 2,
                "seconds": 8.0}  # fmt: skip

    trials = [trial("one", 88.0, 86.0), trial("one", 87.0, 85.0), trial("one", 89.0, 86.5)]
    trials += [trial("two", 86.0, 99.0), trial("two", 86.0, 98.0), trial("two", 86.0, 99.0)]
    found = gpu.judged(SimpleNamespace(factors={"resize": ()}), trials)
    assert found["best"]["resize"] == "one"
    accuracy = [one["accuracy"] for one in trials[:3]]
    interval = ttest_1samp(accuracy, 0.0).confidence_interval(0.95)
    assert found["best"]["half_width"] == pytest.approx((interval.high - interval.low) / 2)
    assert found["best"]["accuracy"] == pytest.approx(sum(accuracy) / 3)
    assert not found["reached"]  # 86.92 is below the row, although the other level is above it
    page = "\n".join(gpu.page({"leaderboard": {**found, "together": 3, "alone": {"seconds": 8.0}}}))
    assert "| one | 3 | 86.92 |" in page
    assert "**Missed.**" in page


def test_a_cpu_is_not_what_times_are_asked_of(gpu: ModuleType) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu"])
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu", "--parts", "leaderboard", "share"])


def test_the_rows_accuracy_is_asked_of_a_cpu_too_and_kept_beside_what_a_gpu_gave(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = {"resize": "128x5", "seeds": 2, "accuracy": 90.0, "half_width": 0.5, "test": 90.0, "seconds": 700.0}
    board = {"rows": [row], "reached": True}
    monkeypatch.setattr(gpu.Bench, "leaderboard", lambda self: board | {"together": self.scale.together})
    given = ["--device", "cpu", "--parts", "leaderboard", "--together", "2", "--out", str(tmp_path)]
    given += ["--set", 'factors.resize=["128x5"]']
    monkeypatch.setattr(sys, "argv", ["benchmarks/gpu.py", *given, "--scratch", "folder"])
    assert gpu.main(given) == 0
    found = json.loads((tmp_path / "leaderboard.json").read_text())
    assert found["leaderboard"]["together"] == 2
    said = """python benchmarks/gpu.py --device cpu --parts leaderboard --together 2 --set 'factors.resize=["128x5"]'"""
    assert found["command"] == said
    assert "Met." in (tmp_path / "leaderboard.md").read_text()
    assert not (tmp_path / "gpu.json").exists()


def test_an_interrupted_leaderboard_goes_on(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = gpu.Bench(gpu.tiny(tmp_path), "cpu", "fp32", tmp_path)
    first = bench.leaderboard()
    monkeypatch.setattr(gpu.steps, "_run", lambda *_: pytest.fail("a stage ran again"))
    again = bench.leaderboard()
    assert [trial["accuracy"] for trial in again["trials"]] == [trial["accuracy"] for trial in first["trials"]]
    assert all(
        0 < one["seconds"] <= other["seconds"] for one, other in zip(again["trials"], first["trials"], strict=True)
    )
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu", "--tiny", "--scratch", str(tmp_path)])


def test_the_recipe_keeps_the_rules_of_the_row(gpu: ModuleType) -> None:
    from sota_bench.grid import load

    grid = load(gpu.SPEEDRUN)
    assert len(grid.seeds) == 5
    for cell in grid.cells():
        recipe = cell.recipe
        assert sum(phase.epochs for phase in recipe.phases) == 5
        assert max(phase.size for phase in recipe.phases) == 128
        assert (recipe.weights, recipe.tta, recipe.eval_size) == ("", "off", 0)
