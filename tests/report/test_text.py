"""Numbers, intervals and durations as people read them."""

from __future__ import annotations

import pytest

from sota_bench.report.text import (
    duration,
    duration_range,
    first_of,
    interval,
    number,
    p_value,
    plus_minus,
    signed,
    time_unit,
)

NAN = float("nan")


def test_numbers_have_true_minus_signs_and_no_negative_zero() -> None:
    assert (number(-0.42), number(-0.04), number(None), number(NAN)) == ("−0.4", "0.0", "–", "–")
    assert (signed(0.04), signed(1234.5), signed(-1)) == ("0.0", "+1,234.5", "−1.0")
    assert (p_value(0.0004), p_value(0.04), p_value(None)) == ("< 0.001", "0.040", "–")


def test_what_has_no_interval_shows_none() -> None:
    assert (interval(-1.25, 2), interval(NAN, NAN)) == ("−1.2 to 2.0", "–")
    assert (plus_minus(71.2, 0.35), plus_minus(71.2, NAN)) == ("71.20 ± 0.35", "71.20")


@pytest.mark.parametrize(
    ("minutes", "shown"),
    [(0.005, "0.3 s"), (5 / 60, "5.0 s"), (0.4234, "25 s"), (1.72, "1.7 min"), (38.2, "38 min"), (186, "3.1 h"),
     (5 * 1440, "5.0 days"), (None, "–"), (NAN, "–")],
)  # fmt: skip
def test_durations_have_a_unit_that_suits_them(minutes: float | None, shown: str) -> None:
    assert duration(minutes) == shown


def test_ranges_and_axes_of_durations() -> None:
    assert (duration_range(0.1, 0.2), duration_range(1.71, 1.72)) == ("6.0 s to 12 s", "1.7 min")
    assert [time_unit(minutes)[1] for minutes in (0.5, 30, 300)] == ["seconds", "minutes", "hours"]


def test_long_lists_are_cut() -> None:
    assert (first_of(["a"], 2), first_of(["a", "b"], 2), first_of(["a", "b", "c", "d"], 2)) == (
        "a",
        "a and b",
        "a, b and 2 more",
    )
