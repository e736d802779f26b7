"""Commands that carry out more than one grid: one for each data set, and the second step of a fractional design."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from lab import BASELINE, write_images

from sota_bench import cli
from sota_bench.stats import aliases

SOURCES = f"""
[grid]
name = "pets"
seeds = [0, 1]
[data]
sources = ["folder:cats", "folder:dogs"]
[recipe]
{BASELINE}
[factors]
lr = [0.003, 0.0001]
"""

FRACTION = f"""
[grid]
name = "first"
design = "fractional"
refine = true
seeds = [0, 1]
[data]
source = "folder:cats"
[recipe]
{BASELINE}
[factors]
lr = [0.003, 0.000001]
flip = [true, false]
dropout = [0.0, 0.1]
weight_decay = [0.05, 0.0]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_images(tmp_path / "cats")
    write_images(tmp_path / "dogs", train=8, val=12)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_grid_on_two_data_sets(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pets.toml").write_text(SOURCES)
    run = ["run", "pets.toml", "--no-calibrate", "--device", "cpu", "--workers", "1"]
    assert cli.main(run) == 0
    shown = capsys.readouterr().out
    assert "\nover all data sets:\n" in shown and "at source cats" in shown and "at source dogs" in shown
    out = here / "reports" / "pets"
    trials = pd.read_csv(out / "trials.csv")
    assert trials.groupby("source").size().to_dict() == {"cats": 4, "dogs": 4}
    assert trials.groupby("source")["judged_on"].nunique().to_dict() == {"cats": 1, "dogs": 1}
    assert set(trials["trial"]) == {f"{source}/c0{cell}-s{seed}" for source in ("cats", "dogs")
                                    for cell in (0, 1) for seed in (0, 1)}  # fmt: skip
    contrasts = pd.read_csv(out / "contrasts.csv")
    assert set(contrasts["factor"]) == {"lr"} and set(contrasts["at_level"].dropna()) == {"cats", "dogs"}
    assert (out / "cats" / "report.html").is_file() and "dogs/report.html" in (out / "report.html").read_text()
    assert set(json.loads((out / "run.json").read_text())["sources"]) == {"cats", "dogs"}

    assert cli.main(["status", "pets.toml", "--json"]) == 0
    each = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["grid"], one["trials"]) for one in each] == [("pets-cats", {"done": 4}), ("pets-dogs", {"done": 4})]
    assert cli.main(["plan", "pets.toml", "--source", "dogs", "--json", "--no-calibrate"]) == 0
    assert json.loads(capsys.readouterr().out)["grid"] == "pets-dogs"
    before = (out / "contrasts.csv").read_bytes()
    assert cli.main(["report", "pets.toml"]) == 0
    assert (out / "contrasts.csv").read_bytes() == before
    capsys.readouterr()

    assert cli.main(["export", "pets.toml", "--out", "model"]) == 2
    assert "add --source cats or --source dogs" in capsys.readouterr().err
    assert cli.main(["status", "pets.toml", "--source", "birds"]) == 2
    assert "choose among cats, dogs" in capsys.readouterr().err
    assert cli.main(["export", "pets.toml", "--source", "dogs", "--out", "model"]) == 0
    assert "folder:dogs" not in (here / "model" / "recipe.toml").read_text().replace(str(here), "")
    capsys.readouterr()

    assert cli.main(["confirm", "pets.toml", "--cell", "c01", "--json"]) == 0
    confirmed = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [one["winner"] for one in confirmed] == ["c01", "c01"]


@pytest.mark.slow
def test_the_second_step_of_a_fractional_design(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(aliases, "clear_factors", lambda analysis: ["flip", "lr"])
    (here / "first.toml").write_text(FRACTION)
    run = ["run", "first.toml", "--no-calibrate", "--device", "cpu", "--workers", "1", "--json"]
    assert cli.main([*run, "--only", "flip=true"]) == 0
    only = json.loads(capsys.readouterr().out)
    assert "8 trials of the fractional design are not done, so it is not refined yet." in only["summary"]
    assert cli.main(run) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["run"]["counts"]["cells"] == 8 and first["run"]["grid"]["resolution"] == 4
    assert "Second step: the full factorial of lr and flip, the others at their baseline." in first["summary"]
    assert second["run"]["name"] == "first-refined" and second["run"]["counts"]["cells"] == 4
    assert Path(second["out"]) == Path("reports/first/refined")
    stages = pd.read_csv(Path(second["out"]) / "stages.csv")
    assert stages["reused"].sum() >= 3 and not stages["reused"].all()  # the baseline's trainings are shared
    assert cli.main(run) == 0
    _, again = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert pd.read_csv(Path(again["out"]) / "stages.csv")["reused"].all()
