"""Numbers and levels as people read them: true minus signs, fixed decimals, units."""

from __future__ import annotations

import math
from typing import Any

MINUS = "\u2212"
MISSING = "\u2013"


def finite(value: Any) -> bool:
    """Whether ``value`` is a number that can be shown."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def number(value: Any, digits: int = 1) -> str:
    """``-0.42`` as ``−0.4``; a dash where there is no number."""
    if value is None or not math.isfinite(float(value)):
        return MISSING
    shown = f"{float(value):,.{digits}f}"
    if float(shown.replace(",", "")) == 0:
        shown = shown.lstrip("-")
    return shown.replace("-", MINUS)


def signed(value: Any, digits: int = 1) -> str:
    """Like ``number``, with a plus sign before what is above zero."""
    shown = number(value, digits)
    return f"+{shown}" if shown[0].isdigit() and float(shown.replace(",", "")) > 0 else shown


def minutes(value: Any) -> str:
    """A duration given in minutes: ``0.42 min``, ``38 min``, ``3.1 h``, ``5.2 days``."""
    if value is None or not math.isfinite(float(value)):
        return MISSING
    value = float(value)
    if value >= 48 * 60:
        return f"{number(value / 1440)} days"
    if value >= 120:
        return f"{number(value / 60)} h"
    return f"{number(value, 2 if value < 10 else 0)} min"


def p_value(value: Any) -> str:
    """``0.0004`` as ``< 0.001``; three decimals otherwise."""
    if value is None or not math.isfinite(float(value)):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def compact(value: Any) -> str:
    """Large counts: ``11181642`` as ``11.2 M``."""
    if value is None or not math.isfinite(float(value)):
        return MISSING
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{number(value / size, 1)} {unit}"
    return number(value, 0)


def level_text(level: Any) -> str:
    """A level as people say it: ``true`` is on, ``false`` is off."""
    return {"true": "on", "false": "off"}.get(str(level).lower(), str(level))


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 seed``, ``3 seeds``, ``1,200 trials``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def join(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""
