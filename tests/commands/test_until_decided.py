"""``run --until-decided`` as a user runs it: looks, a budget that ends it, and the same command that goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sota_bench.commands.plan import PlannedLooks
from sota_bench.grid import load
from sota_bench.runs.expected import ExpectedCost

GRID = """
[grid]
name = "looked"
seeds = [0, 1, 2]
smallest_effect = 0.01
[recipe]
backbone = "test_vit"
batch_size = 32
fraction = 0.05
eval_images = 60
resize = "16x1"
[factors]
lr = [0.003, 0.0031]
"""
"""An effect so small is never shown to be none: the run goes on to its last look."""

UNTIL = ("run", "grid.toml", "--until-decided", "--max-seeds", "4", "--no-calibrate")


def sota_bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sota_bench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def run_json(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "reports" / "looked" / "run.json").read_text())
    return record


def contrasts(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "reports" / "looked" / "contrasts.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("user")
    (made / "grid.toml").write_text(GRID)
    return made


@pytest.fixture(scope="module")
def first(folder: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """A run whose budget is spent after the first look, and its record."""
    done = sota_bench(folder, *UNTIL, "--budget", "0.1 s")
    assert done.returncode == 0, done.stderr
    return done, run_json(folder)


@pytest.fixture(scope="module")
def second(folder: Path, first: object) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The same command with enough time, and its record."""
    done = sota_bench(folder, *UNTIL, "--budget", "30 min")
    assert done.returncode == 0, done.stderr
    return done, run_json(folder)


def test_a_look_that_does_not_fit_the_budget_is_not_started(
    first: tuple[subprocess.CompletedProcess[str], dict[str, Any]],
) -> None:
    done, record = first
    assert "The next look (4 seeds, 2 more trainings) would take about" in done.stderr
    assert "run the same command with a larger --budget" in done.stderr
    assert [(look["seeds"], look["trainings"], look["undecided"]) for look in record["looks"]] == [
        (3, 6, ["lr 0.0031 vs 0.003"])
    ]
    assert record["until_decided"]["ended"] == "budget" and record["grid"]["seeds"] == [0, 1, 2]


def test_the_same_command_goes_on_at_the_next_look(
    folder: Path,
    first: tuple[subprocess.CompletedProcess[str], dict[str, Any]],
    second: tuple[subprocess.CompletedProcess[str], dict[str, Any]],
) -> None:
    done, record = second
    assert "Look 2 of 2, 4 seeds: 2 more trainings" in done.stderr and "Look 1 of 2" not in done.stderr
    assert record["looks"][0] == first[1]["looks"][0]
    assert (record["looks"][1]["seeds"], record["looks"][1]["trainings"]) == (4, 8)
    assert record["looks"][1]["minutes"] > record["looks"][0]["minutes"]
    assert record["until_decided"]["ended"] == "maximum" and record["counts"]["done"] == 8
    rows = contrasts(folder)
    assert not rows["decided"].any() and set(rows["look"]) == {2} and set(rows["seeds_used"]) == {4}
    page = (folder / "reports" / "looked" / "report.html").read_text()
    assert "Until it is decided" in page and "Repeated 95% interval" in page


def test_a_finished_run_is_answered_from_its_record(folder: Path, second: object) -> None:
    before, record = contrasts(folder), run_json(folder)
    again = sota_bench(folder, *UNTIL)
    assert again.returncode == 0 and "more training" not in again.stderr
    assert run_json(folder)["looks"] == record["looks"]
    pd.testing.assert_frame_equal(contrasts(folder), before)
    assert sota_bench(folder, "report", "grid.toml").returncode == 0
    pd.testing.assert_frame_equal(contrasts(folder), before)


def test_status_and_verify_count_the_seeds_that_looks_added(folder: Path, second: object) -> None:
    assert json.loads(sota_bench(folder, "status", "grid.toml", "--json").stdout)["trials"] == {"done": 8}
    of_added = sota_bench(folder, "status", "grid.toml", "--only", "seed=3", "--json")
    assert json.loads(of_added.stdout)["trials"] == {"done": 2}
    checked = json.loads(sota_bench(folder, "verify", "grid.toml", "--retrain", "0", "--json").stdout)
    stages = pd.read_csv(folder / "reports" / "looked" / "stages.csv")
    assert checked["stages_checked"] == len(stages) and not checked["stages_missing"] and not checked["problems"]


def test_another_maximum_and_a_selection_are_refused(folder: Path, second: object) -> None:
    other = sota_bench(folder, "run", "grid.toml", "--until-decided", "--max-seeds", "9")
    assert other.returncode == 2 and other.stderr.startswith("grid.toml: grid.max_seeds: ")
    only = sota_bench(folder, *UNTIL, "--only", "seed=0")
    assert only.returncode == 2 and only.stderr.startswith("--only: ")


def test_plan_says_what_it_may_cost_and_is_likely_to_cost(folder: Path, second: object) -> None:
    told = sota_bench(folder, "plan", "grid.toml", "--until-decided", "--max-seeds", "4", "--no-calibrate", "--json")
    answer = json.loads(told.stdout)["until_decided"]
    assert answer["looks"] == [3, 4] and answer["questions"] == 1
    assert answer["most_trainings"] == 8 and 6 <= answer["likely_trainings"] < 8
    cost = ExpectedCost(answer["questions"], answer["most_trainings"], answer["likely_trainings"])
    lines = PlannedLooks(tuple(answer["looks"]), cost, most_minutes=4.0).lines(load(folder / "grid.toml"))
    assert lines[0].endswith("1 question, looks at 3, 4 seeds.") and "At most 8 trainings (4.0 min). Likely" in lines[1]


def test_plan_names_the_responses_without_a_smallest_effect(tmp_path: Path) -> None:
    costs = PlannedLooks((3, 4), ExpectedCost(2, 8, 7.0), most_minutes=None)
    for asked, smallest, expected in (
        ("nll", "accuracy = 2", "Set grid.smallest_effect for NLL: without it"),
        ("minutes", "accuracy = 2, minutes = 0.5", "find 2 pp or 0.5 min."),
    ):
        head = f'response = ["accuracy", "{asked}"]\nsmallest_effect = {{{smallest}}}'
        (tmp_path / "grid.toml").write_text(GRID.replace("smallest_effect = 0.01", head))
        assert expected in costs.lines(load(tmp_path / "grid.toml"))[1]
