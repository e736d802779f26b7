"""Schedules are read as people write them, and written in one way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sota_bench.grid.resize_schedule import (
    MAX_EPOCHS,
    MAX_PHASES,
    MAX_SIZE,
    MIN_SIZE,
    SizePhase,
    format_schedule,
    parse_schedule,
    rises,
    schedule_text,
)

PHASES = st.lists(
    st.builds(SizePhase, st.integers(MIN_SIZE, MAX_SIZE), st.integers(1, MAX_EPOCHS)), min_size=1, max_size=MAX_PHASES
)


@given(PHASES, st.sampled_from([" ", ", ", "  ", "->", " → ", "\t", ";"]), st.sampled_from(["x", "X", "×", " x "]))
def test_any_spelling_of_a_schedule_is_read_back(phases, between: str, times: str) -> None:
    text = between.join(f"{phase.size}{times}{phase.epochs}" for phase in phases)
    assert parse_schedule(text) == tuple(phases)
    assert parse_schedule(format_schedule(phases)) == tuple(phases)


@given(st.text(alphabet="0123456789xX× ,->→;\n\t-.e٣²", max_size=60) | st.text(max_size=30))
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        phases = parse_schedule(text)
    except ValueError as error:
        assert "; " in str(error)
    else:
        assert parse_schedule(format_schedule(phases)) == phases


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "an empty schedule trains nothing"),
        ("64", "'64' is not SIZExEPOCHS"),
        ("64x", "'64x' is not SIZExEPOCHS"),
        ("64x3.5", "'64x3.5' is not SIZExEPOCHS"),
        ("64x3x2", "'64x3x2' is not SIZExEPOCHS"),
        ("-64x3", "'-64x3' is not SIZExEPOCHS"),
        ("٦٤x٣", "'٦٤x٣' is not SIZExEPOCHS"),
        ("7x1", "size 7 is out of range"),
        ("2049x1", "size 2049 is out of range"),
        ("64x0", "0 epochs is out of range"),
        ("64x10001", "10001 epochs is out of range"),
        ("64x1 " * 65, "65 phases are more than 64"),
    ],
)
def test_mistakes_say_the_value(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_schedule(text)


def test_lists_are_schedules_too() -> None:
    assert schedule_text(["64x3", [128, 2]]) == "64x3 128x2"
    assert schedule_text("64x3") == "64x3" and schedule_text(7) == 7
    with pytest.raises(ValueError, match="not a phase"):
        schedule_text([[64, True]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64x1", False),
        ("64x1 32x1", False),
        ("64x1 64x1", False),
        ("64x1 32x1 48x1", False),
        ("64x1 32x1 65x1", True),
        ("32x1 64x1 16x1", True),
    ],
)
def test_rises(text: str, expected: bool) -> None:
    assert rises(parse_schedule(text)) is expected
