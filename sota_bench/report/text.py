"""Numbers, durations and levels as people read them: true minus signs, sensible digits, units."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sota_bench.responses import Response
from sota_bench.stats.wording import join
from sota_bench.units import duration_text

MINUS = "\u2212"
MISSING = "\u2013"


def finite(value: object) -> bool:
    """Whether ``value`` is a number that can be shown."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def number(value: float | None, digits: int = 1) -> str:
    """``-0.42`` as ``−0.4``; a dash where there is no number."""
    if value is None or not math.isfinite(float(value)):
        return MISSING
    shown = f"{float(value):,.{digits}f}"
    if float(shown.replace(",", "")) == 0:
        shown = shown.lstrip("-")
    return shown.replace("-", MINUS)


def signed(value: float | None, digits: int = 1) -> str:
    """Like ``number``, with a plus sign before what is above zero."""
    shown = number(value, digits)
    return f"+{shown}" if shown[0].isdigit() and float(shown.replace(",", "")) > 0 else shown


def interval(low: float | None, high: float | None, digits: int = 1) -> str:
    """``3.6 to 4.4``; a dash where there is no interval."""
    return f"{number(low, digits)} to {number(high, digits)}" if finite(low) and finite(high) else MISSING


def plus_minus(mean: float, half_width: float, digits: int = 2) -> str:
    """``71.20 ± 0.35``; the mean alone where there is no interval."""
    return f"{number(mean, digits)} \u00b1 {number(half_width, digits)}" if finite(half_width) else number(mean, digits)


def measured(value: float | None, response: Response, digits: int | None = None) -> str:
    """A value of a response with its unit: ``71.2%``, ``0.412 nats``, ``1.7 min``."""
    if response.name == "minutes":
        return duration(value)
    shown = number(value, response.digits if digits is None else digits)
    return shown if shown == MISSING else f"{shown}{response.value_unit}"


def duration(minutes: float | None) -> str:
    """A duration given in minutes, in the unit that suits it: ``0.3 s``, ``38 s``, ``1.7 min``, ``3.1 h``."""
    return duration_text(60 * minutes) if minutes is not None and math.isfinite(minutes) else MISSING


def duration_range(low: float, high: float) -> str:
    """``4 s to 6 s``, or one duration where both read alike; a dash where there is none."""
    first, last = duration(low), duration(high)
    return first if first == last else f"{first} to {last}"


def time_unit(minutes: float) -> tuple[float, str]:
    """The unit for an axis that reaches ``minutes``: (units in a minute, name)."""
    if minutes < 2:
        return 60.0, "seconds"
    return (1.0, "minutes") if minutes < 120 else (1 / 60, "hours")


def p_value(value: float | None) -> str:
    """``0.0004`` as ``< 0.001``; three decimals otherwise."""
    if value is None or not math.isfinite(float(value)):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def compact(value: float | None) -> str:
    """Large counts: ``11181642`` as ``11.2 M``."""
    if value is None or not math.isfinite(float(value)):
        return MISSING
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{number(value / size, 1)} {unit}"
    return number(value, 0)


def first_of(names: Sequence[str], most: int) -> str:
    """``a, b and c``; beyond ``most`` names ``a, b and 4 more``."""
    if len(names) <= most:
        return join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def lower_first(sentence: str) -> str:
    """The sentence with a small first letter, to follow a colon."""
    return sentence[:1].lower() + sentence[1:]
