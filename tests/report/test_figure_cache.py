"""Figures from before: the same bytes as drawn anew, and never a figure of other data, words or code."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import FACTORS, synthetic

from sota_bench.report import figure_cache
from sota_bench.report.answers import answers_of
from sota_bench.report.figure_cache import chart_key, figures_file
from sota_bench.report.output import write
from sota_bench.report.page import render
from sota_bench.report.parts import Chart
from sota_bench.report.tables import RunTables


@pytest.fixture(scope="module")
def small() -> RunTables:
    return synthetic(seeds=3, factors={name: FACTORS[name] for name in ("normalize", "tta")})


def refuse(chart: Chart) -> str:
    raise AssertionError(f"{chart.key} was drawn")


def test_a_page_from_kept_figures_is_the_page(
    small: RunTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "figures.json"
    fresh = render(small, answers_of(small))
    write(tmp_path / "first", small, file)
    monkeypatch.setattr(figure_cache, "draw", refuse)
    write(tmp_path / "second", small, file)
    for name in ("first", "second"):
        assert (tmp_path / name / "report.html").read_text("utf-8") == fresh
    with pytest.raises(AssertionError, match="was drawn"):
        write(tmp_path / "third", small)


def test_another_process_finds_the_figures(small: RunTables, tmp_path: Path) -> None:
    """As the second run of a finished grid does, which reads its tables from the store again."""
    file = tmp_path / "figures.json"
    write(tmp_path / "out", small, file)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from synthetic import FACTORS, synthetic\n"
        "from sota_bench.report import figure_cache\n"
        "from sota_bench.report.output import write\n"
        "def refuse(chart): raise SystemExit(f'{chart.key} was drawn')\n"
        "figure_cache.draw = refuse\n"
        "tables = synthetic(seeds=3, factors={name: FACTORS[name] for name in ('normalize', 'tta')})\n"
        "write(Path(sys.argv[2]), tables, Path(sys.argv[3]))\n"
    )
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", program, here, str(tmp_path / "again"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_figure_comes_out_of_a_store(tmp_path: Path) -> None:
    """It may be somebody else's, and the page shows a kept figure as it is."""
    files = {figures_file(tmp_path / store, name) for store in "ab" for name in ("grid", "other")}
    assert len(files) == 4 and not any(file.is_relative_to(tmp_path) for file in files)


def test_other_numbers_are_drawn_anew(small: RunTables, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    write(tmp_path / "out", small, file)
    moved = small.trials.assign(accuracy=small.trials["accuracy"] + 1.0 * (small.trials["normalize"] == "dataset"))
    other = RunTables(**{**vars(small), "trials": moved, "predictions": {}})
    write(tmp_path / "out", other, file)
    assert (tmp_path / "out" / "report.html").read_text("utf-8") == render(other, answers_of(other))


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"a": 1}', "no json"])
def test_a_damaged_file_is_drawn_over(small: RunTables, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "figures.json"
    write(tmp_path / "out", small, file)
    kept = file.read_text("utf-8")
    file.write_text(damage or kept.replace("<svg", "<b", 1), encoding="utf-8")
    write(tmp_path / "out", small, file)
    assert file.read_text("utf-8") == kept
    assert (tmp_path / "out" / "report.html").read_text("utf-8") == render(small, answers_of(small))


def draw(data: Any, width: int) -> Any:
    raise NotImplementedError


def other_draw(data: Any, width: int) -> Any:
    raise NotImplementedError


def chart(data: Any, function: Any = draw, **changes: Any) -> Chart:
    return Chart(
        **{"key": "k", "title": "t", "finding": "f", "draw": partial(function, data), "table": None, **changes}
    )


FRAME = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", "y"]})


def test_equal_charts_have_one_key_and_different_ones_have_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chart_key(chart([FRAME, {"x": 1.0}])) == chart_key(chart([FRAME, {"x": 1.0}]))
    keys = [
        chart_key(other)
        for other in (
            *(chart(data) for data in (1, 1.0, "1", [1], (1,), None, True, np.float32(1), np.array([1]))),
            *(chart(data) for data in (FRAME, FRAME.iloc[::-1], FRAME.rename(columns={"a": "c"}), {"a": 1}, {"b": 1})),
            *(chart(1, **{name: "other"}) for name in ("key", "title", "finding")),
            chart(1, width=300),
            chart(1, narrow=False),
            chart(1, other_draw),
        )
    ]
    assert len(set(keys)) == len(keys)
    monkeypatch.setattr(figure_cache, "_code", lambda: "other code")
    assert chart_key(chart(1)) not in keys
