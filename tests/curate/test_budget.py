"""The largest set that meets a number of minutes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sota_bench.cli import main
from sota_bench.curate.budget import Budget, Cost, fit, largest_per_class
from sota_bench.errors import UserError

from .conftest import Flawed


def test_the_largest_number_of_images_of_each_class_that_fits() -> None:
    cost = Cost(image_s=0.5, fixed_s=10)
    assert largest_per_class([100, 100, 100], cost, minutes=1) == 33  # 10 s and 99 images of half a second
    assert largest_per_class([20, 100, 100], cost, minutes=1) == 40  # the small class leaves room for the others
    assert largest_per_class([20, 20, 20], cost, minutes=1) == 20
    assert largest_per_class([20, 20, 20], cost, minutes=0.1) is None
    for minutes in (0.3, 1, 2):
        most = largest_per_class([30, 60, 90], cost, minutes)
        assert most is not None and cost.minutes(sum(min(count, most) for count in (30, 60, 90))) <= minutes


def test_a_budget_below_the_evaluation_alone_says_what_to_change() -> None:
    budget = Budget(0.1, "resnet18", "128x5")
    with pytest.raises(UserError, match=r"--minutes-per-iteration: evaluation and start alone .* 10 s; allow more"):
        fit(budget, {"a": 10, "b": 10}, Cost(0.5, 10))


@pytest.mark.slow
def test_the_command_keeps_what_the_forecast_allows(
    flawed: Flawed, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sota_bench.data.find.user_cache", lambda: tmp_path / "user-cache")
    monkeypatch.setattr("sota_bench.curate.quick_probe.SEEN", 64)
    out, store = tmp_path / "out", tmp_path / "store"
    arguments = ["curate", str(flawed.folder), "--out", str(out), "--store", str(store), "--weights", "none"]
    recipe = ["--backbone", "test_resnet", "--resize", "32x20"]
    assert main([*arguments, *recipe, "--minutes-per-iteration", "500"]) == 0
    record = json.loads((out / "curation.json").read_text(encoding="utf-8"))
    assert record["manifest"]["kept"]["train"] == 185
    budget = record["budget"]
    minutes = (budget["fixed_seconds"] + 90 * budget["seconds_per_image"]) / 60
    assert main([*arguments, *recipe, "--minutes-per-iteration", str(minutes)]) == 0
    assert json.loads((out / "curation.json").read_text(encoding="utf-8"))["manifest"]["kept"]["train"] == 90
    assert "is predicted to take" in capsys.readouterr().out
