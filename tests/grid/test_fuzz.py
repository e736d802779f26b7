"""Whatever a grid holds, the answer is a grid or one clear line; never another exception, never a hang."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sota_bench.errors import UserError
from sota_bench.grid import Grid, load
from sota_bench.grid.durations import minutes
from sota_bench.grid.fields import recipe_fields
from sota_bench.grid.names import safe_name
from sota_bench.grid.read import parse
from sota_bench.grid.tables import DataTable, GridTable
from sota_bench.grid.template import toml_value

FIELDS = [field.name for field in recipe_fields()]
ODD = st.sampled_from(
    [0, -1, 1, 2**31, 2**64, 0.0, -0.0, 1.5, math.nan, math.inf, -math.inf, True, False, "", " ", "..",
     "a/b", "nan", "0.1", "64x3", "64x3 128x2", "off", "none", "resnet18", "imagenette", "folder:x", "full",
     "a\nb", "\x1b[2J", "\x00", "é" * 300]
)  # fmt: skip
SCALARS = ODD | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab1", max_size=3), inner, max_size=2)
)
NAMES = st.sampled_from([*FIELDS, *GridTable.model_fields, *DataTable.model_fields]) | st.text("abn_.-é ", max_size=6)
LEVELS = st.lists(VALUES, max_size=4)
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "grid": st.dictionaries(st.sampled_from([*GridTable.model_fields]) | NAMES, VALUES, max_size=4) | VALUES,
        "data": st.dictionaries(st.sampled_from([*DataTable.model_fields]) | NAMES, VALUES, max_size=3) | VALUES,
        "recipe": st.dictionaries(NAMES, VALUES, max_size=4) | VALUES,
        "factors": st.dictionaries(NAMES, LEVELS | VALUES, max_size=3) | VALUES,
        "other": VALUES,
    },
)


def write(tables: dict[str, Any]) -> str:
    """The tables as TOML, scalars first so that they stay at the top."""
    lines = []
    for name, value in sorted(tables.items(), key=lambda item: isinstance(item[1], dict)):
        if isinstance(value, dict):
            lines.append(f"[{name}]")
            lines += [f"{toml_value(key)} = {toml_value(part)}" for key, part in value.items()]
        else:
            lines.append(f"{name} = {toml_value(value)}")
    return "\n".join(lines)


def check(path: Path, *overrides: str) -> Grid | None:
    """Loads a grid; a mistake must be one printable line."""
    try:
        grid = load(path, overrides)
    except UserError as error:
        line = str(error)
        assert line and line.isprintable() and len(line) < 2000
        return None
    assert grid.cells() and grid.trials()
    assert safe_name(grid.name) == grid.name
    assert len({cell.recipe.model_dump_json() for cell in grid.cells()}) == len(grid.cells())
    return grid


FUZZ = settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(tables=TABLES)
def test_any_tables(tmp_path: Path, tables: dict[str, Any]) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(write(tables), encoding="utf-8")
    check(path)


@FUZZ
@given(data=st.data())
def test_one_wrong_value_in_a_good_grid(tmp_path: Path, data: st.DataObject) -> None:
    tables: dict[str, dict[str, Any]] = {
        "grid": {"name": "a", "seeds": [0, 1]},
        "data": {"source": "imagenette"},
        "recipe": {"lr": 0.01, "batch_size": 8},
        "factors": {"dropout": [0.0, 0.1], "resize": ["64x1", "32x1 64x1"]},
    }
    table = data.draw(st.sampled_from(sorted(tables)))
    key = data.draw(st.sampled_from([*tables[table], *GridTable.model_fields, *FIELDS]))
    value = data.draw(st.lists(VALUES, max_size=3) if table == "factors" else VALUES)
    tables[table][key] = value
    path = tmp_path / "grid.toml"
    path.write_text(write(tables), encoding="utf-8")
    check(path)


@FUZZ
@given(
    override=st.builds("{}.{}={}".format, st.sampled_from(["grid", "data", "recipe", "factors", ""]), NAMES, SCALARS)
)
def test_any_override(tmp_path: Path, override: str) -> None:
    path = tmp_path / "grid.toml"
    path.write_text("[factors]\nlr = [0.1]\n", encoding="utf-8")
    check(path, override)


@FUZZ
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "grid.toml"
    path.write_bytes(content)
    check(path)


@FUZZ
@given(expression=st.text("lrsed=!|,0.1 -é", max_size=24))
def test_any_selection(tmp_path: Path, expression: str) -> None:
    path = tmp_path / "grid.toml"
    path.write_text("[factors]\nlr = [0.1, 1]\n", encoding="utf-8")
    try:
        assert load(path).only(expression)
    except UserError as error:
        assert str(error).isprintable()


@given(value=VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    back = parse(f"value = {toml_value(value)}", "t")["value"]
    assert repr(back) == repr(value)


@given(st.text(max_size=12) | st.from_regex(r"[0-9.]{1,6} ?(s|min|h|hours|m|sec)", fullmatch=True))
def test_any_duration(text: str) -> None:
    try:
        assert minutes(text) >= 0  # type: ignore[operator]
    except ValueError as error:
        assert "; write minutes" in str(error)


@pytest.mark.parametrize(
    ("text", "expected"), [("2", 2), ("90 s", 1.5), ("2 min", 2), ("1.5h", 90), ("3 Minutes", 3), (".5 hours", 30)]
)
def test_durations(text: str, expected: float) -> None:
    assert minutes(text) == expected
