"""Numbers, names and lists in sentences: one rounding and one spelling. Text is ASCII but for names of users."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sota_bench.stats.result import ContrastRow

PERCENTAGE_POINTS = ("pp", "points")


def decimals(row: ContrastRow, unit: str) -> int:
    """Decimals that a row's estimate and interval are shown with.

    Percentage points have one, and two where the interval is narrower than half a point; other units have two
    significant digits of the standard error. A limit close to 0 gets as many as show its side, up to three more.
    """
    if row.low is None or row.high is None or not row.se:
        return 1 if unit in PERCENTAGE_POINTS else 4
    if unit in PERCENTAGE_POINTS:
        places = 2 if row.high - row.low < 0.5 else 1
    else:
        places = min(max(1 - math.floor(math.log10(row.se)), 0), 8)
    nearest = min(abs(row.low), abs(row.high))
    return next((more for more in range(places, places + 3) if round(nearest, more)), places + 2 if nearest else places)


def number(value: float, places: int, sign: bool = False) -> str:
    """A number with fixed decimals, without "-0.0", with a plus sign on request."""
    text = f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0:
        return text.lstrip("-")
    return f"+{text}" if sign and value > 0 else text


def short_number(value: float) -> str:
    """A number that a user declared: at least one decimal, no digits that were not given."""
    text = f"{value:.6g}"
    return text if "." in text or "e" in text else f"{text}.0"


def join(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def level_name(level: object) -> str:
    """A level as people say it: ``true`` is on, ``false`` is off."""
    return {"true": "on", "false": "off"}.get(str(level).lower(), str(level))


def round_up(count: int) -> int:
    """A number of images with two digits that are not 0, rounded up: a forecast is no better."""
    step = int(10 ** max(len(str(count)) - 2, 0))
    return -(-count // step) * step
