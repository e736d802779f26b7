"""Minutes at the command line: predicted, enforced, matched, and the commands that ask for them wrongly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sota_bench.cli import main
from sota_bench.forecast.predictor import Predictor

GRID = """
[grid]
name = "tiny"
seeds = [0]
[recipe]
backbone = "test_vit"
batch_size = 16
fraction = 0.05
eval_images = 40
tta_views = 8
[factors]
resize = ["16x1"]
tta = ["off", "augmented"]
"""
GOAL = 'grid.minutes_per_iteration="0.01 s"'


def sota_bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "sota_bench", *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a grid."""
    folder = tmp_path_factory.mktemp("minutes")
    (folder / "grid.toml").write_text(GRID)
    return folder


@pytest.fixture(scope="module")
def planned(folder: Path) -> dict[str, Any]:
    """The answer of ``plan --json``, which calibrates."""
    done = sota_bench(folder, "plan", "grid.toml", "--json")
    assert done.returncode == 0, done.stderr
    assert "calibrating" in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_plan_without_calibration_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "grid.toml", "--no-calibrate"]) == 0
    assert "Times are not predicted" in capsys.readouterr().out
    assert not (tmp_path / ".sota_bench").exists()


def test_a_plan_predicts_minutes_disk_and_memory(
    folder: Path, planned: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    minutes = planned["minutes"]
    assert minutes["calibrated"] and not minutes["not_predicted"] and not minutes["misses"]
    assert set(minutes["iteration_minutes"]["cells"]) == {"c00", "c01"}
    assert 0 < minutes["iteration_minutes"]["median"] <= minutes["iteration_minutes"]["max"] < 2
    assert minutes["iteration_minutes"]["cells"]["c01"] > minutes["iteration_minutes"]["cells"]["c00"]
    assert minutes["run_minutes"] > minutes["iteration_minutes"]["median"]
    assert minutes["disk_bytes"] > 1e6 and minutes["memory_mb"] > 100
    monkeypatch.chdir(folder)
    assert main(["plan", "grid.toml", "--no-calibrate", "--set", GOAL]) == 0
    shown = capsys.readouterr()
    assert "Predicted per iteration: " in shown.out and "2 of 2 cells miss the goal of 0.01 s" in shown.out
    assert "calibrating" not in shown.err


def test_a_missed_goal_is_exit_code_3_and_the_report_is_there(
    folder: Path, planned: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = sota_bench(folder, "run", "grid.toml", "--enforce-goal", "--set", GOAL)
    assert done.returncode == 3, done.stderr
    assert "is missed: the slowest cell takes" in done.stdout and "calibrating" not in done.stderr
    out = folder / "reports" / "tiny"
    assert (out / "report.html").exists()
    run = json.loads((out / "run.json").read_text())
    assert run["predicted"]["iteration_minutes"] == pytest.approx(planned["minutes"]["iteration_minutes"]["median"])
    # A run's first worker starts while the grid is planned, so the run may be spared its start.
    assert planned["minutes"]["iteration_minutes"]["max"] < run["predicted"]["run_minutes"]
    assert run["predicted"]["run_minutes"] <= planned["minutes"]["run_minutes"] * (1 + 1e-6)
    assert run["predicted"]["median_error"] >= 0
    trials = pd.read_csv(out / "trials.csv").set_index("cell")
    for cell, predicted in planned["minutes"]["iteration_minutes"]["cells"].items():
        assert trials.loc[cell, "predicted_minutes"] == pytest.approx(predicted)
    stages = pd.read_csv(out / "stages.csv").set_index("kind")
    assert stages.loc["train", "step_ms_median"] > 0 and stages.loc["train", "first_step_ms"] > 0
    monkeypatch.chdir(folder)
    assert main(["run", "grid.toml", "--enforce-goal", "--set", "grid.minutes_per_iteration=50"]) == 0


def test_only_the_trials_that_are_asked_for_are_judged(
    folder: Path, planned: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert main(["run", "grid.toml"]) == 0
    trials = pd.read_csv("reports/tiny/trials.csv").sort_values("minutes")
    goal = f"grid.minutes_per_iteration={trials['minutes'].mean()}"
    assert main(["run", "grid.toml", "--enforce-goal", "--set", goal]) == 3
    quickest = f"tta={trials['tta'].iloc[0]}"
    assert main(["run", "grid.toml", "--enforce-goal", "--set", goal, "--only", quickest]) == 0


def test_alone_the_goal_is_judged_on_what_is_measured_anew_or_on_the_run(
    folder: Path, planned: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    asked = ["run", "grid.toml", "--exclusive-timing", "--enforce-goal", "--set"]
    assert main([*asked, GOAL]) == 3
    shown = capsys.readouterr()
    assert "calibrating" in shown.err and "exclusive timing: " in shown.out
    assert pd.read_csv("reports/tiny/trials.csv")["minutes_alone"].gt(0).all()
    monkeypatch.setattr(Predictor, "predict_anew", lambda *arguments: None)
    assert main([*asked, GOAL]) == 3
    assert "exclusive timing: not measured for c00, c01; " in capsys.readouterr().out
    assert main([*asked, "grid.minutes_per_iteration=50"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --enforce-goal", "--enforce-goal: the grid has no goal; write grid.minutes_per_iteration"),
        ("plan --no-calibrate --set grid.match=minutes", "grid.match: its cells are not matched for minutes yet"),
        ("status --set grid.match=flops", "grid.match: its cells are not matched for flops yet; start with run"),
        ("fidelity", "fidelity: there are no settings to compare; write one of --fractions 0.25,0.5,1"),
        ("fidelity --sizes 16,32 --epochs 1,2", "fidelity: only one kind of setting can be compared"),
        ("fidelity --fractions half,1", "fidelity: 'half,1' is not a list of numbers"),
        ("fidelity --fractions 0.5,2", "recipe.fraction: 2.0 is out of range"),
        (
            "fidelity --fractions 0.5,1 --set recipe.per_class=2",
            "--fractions: 0.5 and 1 train c00 on the same images, since per_class = 2 limits both; name fractions",
        ),
        (
            "plan --no-calibrate --set recipe.per_class=2 --set factors.fraction=[0.05,0.1]",
            "factors.fraction: 0.05 and 0.1 choose the same images (in the cell resize = 16x1, tta = off); leave out",
        ),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    monkeypatch.chdir(tmp_path)
    command, *options = arguments.split()
    assert main([command, "grid.toml", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.toml"]
