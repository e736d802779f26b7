"""The measurement of predictions: it reads the run's own files, and its exit code says whether the targets are met."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def prediction(imported: Callable[[str], ModuleType]) -> ModuleType:
    return imported("prediction")


@pytest.mark.parametrize(
    ("predicted", "seconds", "code"), [((1.1, 0.9, 2.0), 45.0, 0), ((1.2, 0.8, 1.0), 45.0, 1), ((1, 1, 1), 65.0, 1)]
)
def test_a_missed_target_is_exit_code_1(
    prediction: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    predicted: tuple[float, ...],
    seconds: float,
    code: int,
) -> None:
    plans = iter([seconds + 5.0, 5.0])

    def command(name: str, *arguments: str) -> float:
        assert arguments[arguments.index("--set") + 1] == "recipe.fraction=0.1"
        if name == "plan":
            return next(plans)
        out = Path(arguments[arguments.index("--out") + 1])
        out.mkdir()
        rows = [f"c{place}-s0,done,{minutes},1.0" for place, minutes in enumerate(predicted)]
        text = "\n".join(["trial,status,predicted_minutes,minutes", *rows, "c9-s0,not_applicable,,"])
        (out / "trials.csv").write_text(text + "\n")
        run = {"predicted": {"run_minutes": 3.0}, "measured": {"run_minutes": 3.1}, "cpu_wait": 0.02}
        (out / "run.json").write_text(json.dumps(run))
        return 100.0

    monkeypatch.setattr(prediction, "command", command)
    given = ["--out", str(tmp_path), "--device", "cpu", "--set", "recipe.fraction=0.1"]
    assert prediction.main(given) == code
    found = json.loads((tmp_path / "prediction.json").read_text())
    assert found["calibration_s"] == pytest.approx(seconds) and len(found["trials"]) == 3
    assert "| calibration |" in (tmp_path / "prediction.md").read_text()
