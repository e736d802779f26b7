"""The main job, end to end, as a user runs it: grid to report, answered from the store the second time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

GRID = """
[grid]
name = "tiny"
seeds = [0, 1]
smallest_effect = 1.0
minutes_per_iteration = 1.0
[recipe]
backbone = "test_vit"
lr = 0.003
batch_size = 32
fraction = 0.05
eval_images = 60
[factors]
resize = ["32x1", "16x1 32x1"]
mitigation = ["none", "low-lr"]
tta = ["off", "flip"]
"""
FIXED_COLUMNS = [
    "trial", "resize", "mitigation", "tta", "seed", "status", "accuracy", "nll", "ece", "minutes", "images_per_s",
    "params", "flops", "error",
]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A finished command."""

    code: int
    out: str
    err: str
    seconds: float


def sota_bench(folder: Path, *arguments: str) -> Run:
    """Runs the command line in a folder, as a user does."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "sota_bench", *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    return Run(done.returncode, done.stdout, done.stderr, time.monotonic() - started)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a grid in it."""
    made = tmp_path_factory.mktemp("user")
    (made / "grid.toml").write_text(GRID)
    return made


@pytest.fixture(scope="module")
def first(folder: Path) -> Run:
    """The first run of the grid."""
    return sota_bench(folder, "run", "grid.toml")


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "reports" / "tiny" / name)


def test_a_grid_becomes_a_report(folder: Path, first: Run) -> None:
    assert first.code == 0, first.err
    files = {path.name for path in (folder / "reports" / "tiny").iterdir()}
    assert files >= {
        "report.html",
        "trials.csv",
        "contrasts.csv",
        "evaluations.csv",
        "stages.csv",
        "run.json",
        "run.log",
    }
    lines = first.out.splitlines()
    assert lines.index("report: reports/tiny/report.html") < lines.index("Next:") < len(lines) - 2


def test_the_table_of_trials_keeps_the_contract(folder: Path, first: Run) -> None:
    trials = table(folder, "trials.csv")
    assert set(FIXED_COLUMNS) <= set(trials.columns)
    assert len(trials) == 2 * 2 * 2 * 2
    counts = trials["status"].value_counts().to_dict()
    assert counts == {"done": 12, "not_applicable": 4}
    done = trials[trials["status"] == "done"]
    assert done["accuracy"].between(0, 100).all()
    assert (done["minutes"] > 0).all() and (done["nll"] > 0).all() and done["ece"].between(0, 1).all()


def test_tta_and_mitigations_share_what_came_before(folder: Path, first: Run) -> None:
    run = json.loads((folder / "reports" / "tiny" / "run.json").read_text())
    assert run["sharing"]["epochs_asked"] == 2 * (2 * 1 + 4 * 2)
    assert run["sharing"]["epochs_run"] == 2 * (1 + 1 + 2)
    stages = table(folder, "stages.csv")
    assert (stages["kind"] == "train").sum() == 2 * 4
    assert stages.loc[stages["kind"] == "prepare", "trials"].item() == 12


def test_a_second_run_is_answered_from_the_store(folder: Path, first: Run) -> None:
    before = table(folder, "trials.csv")
    second = sota_bench(folder, "run", "grid.toml")
    assert second.code == 0, second.err
    assert table(folder, "stages.csv")["reused"].all()
    pd.testing.assert_frame_equal(before, table(folder, "trials.csv"))


def test_a_report_is_rendered_again_to_the_same_bytes(folder: Path, first: Run) -> None:
    assert sota_bench(folder, "report", "grid.toml").code == 0
    page = (folder / "reports" / "tiny" / "report.html").read_bytes()
    assert sota_bench(folder, "report", "grid.toml").code == 0
    assert (folder / "reports" / "tiny" / "report.html").read_bytes() == page


def test_plan_and_status_know_what_is_done(folder: Path, first: Run) -> None:
    plan = json.loads(sota_bench(folder, "plan", "grid.toml", "--json", "--no-calibrate").out)
    assert not any(stage["runs"] for stage in plan["stages"])
    assert {stage["why"] for stage in plan["stages"]} == {"done before"}
    more = json.loads(sota_bench(folder, "plan", "grid.toml", "--json", "--no-calibrate", "--seeds", "0,1,2").out)
    assert {stage["why"] for stage in more["stages"] if stage["runs"]} == {"new"}
    status = json.loads(sota_bench(folder, "status", "grid.toml", "--json").out)
    assert status["trials"] == {"done": 12, "not applicable": 4}


def test_a_trial_that_diverges_takes_only_itself_down(folder: Path) -> None:
    grid = GRID.replace('"tiny"', '"diverges"').split("[factors]")[0] + "[factors]\nlr = [0.003, 100]\n"
    (folder / "diverges.toml").write_text(grid.replace("[recipe]", '[recipe]\nresize = "16x2"\noptimizer = "sgd"'))
    run = sota_bench(folder, "run", "diverges.toml")
    trials = pd.read_csv(folder / "reports" / "diverges" / "trials.csv")
    assert run.code == 1, run.err
    assert trials.groupby("lr")["status"].first().to_dict() == {0.003: "done", 100: "failed"}
    assert trials.loc[trials["status"] == "failed", "error"].str.contains("diverged").all()
    assert (folder / "reports" / "diverges" / "report.html").exists()


def test_bad_input_is_one_line_and_writes_nothing(folder: Path) -> None:
    (folder / "bad.toml").write_text(GRID.replace("mitigation =", "mitigaton =").replace('"tiny"', '"bad"'))
    run = sota_bench(folder, "run", "bad.toml", "--store", "fresh")
    assert run.code == 2
    assert run.err.strip().count("\n") == 0 and "mitigaton" in run.err and "mitigation" in run.err
    assert not (folder / "fresh").exists() and not (folder / "reports" / "bad").exists()


def test_the_winner_is_confirmed_on_images_that_did_not_choose_it(folder: Path, first: Run) -> None:
    run = sota_bench(folder, "confirm", "grid.toml", "--cell", "c04", "--json")
    assert run.code == 0, run.err
    answer = json.loads(run.out)
    assert (answer["baseline"], answer["winner"]) == ("c00", "c04")
    confirmed = pd.read_csv(folder / "reports" / "tiny" / "confirmation.csv")
    assert set(confirmed["seed"]) == {2, 3, 4}
    assert answer["test"]["n"] == 3
