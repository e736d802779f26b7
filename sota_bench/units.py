"""Amounts as people read and write them: ``2GB``, ``1.5 GiB``, ``38 min``, ``0.3 s``, ``1 stage``."""

from __future__ import annotations

import re

from sota_bench.errors import UserError

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def parse_bytes(option: str, text: str) -> int:
    """The number of bytes that a size such as ``2GB`` names.

    Args:
        option: that the error names.
        text: as written.

    Raises:
        UserError: it is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].lower() not in _BYTES:
        raise UserError(option, "", f"{text!r} is not a size", "write for example 2GB or 500MB")
    return round(float(match[1]) * _BYTES[match[2].lower()])


def size_text(count: float) -> str:
    """Bytes in the largest unit that leaves one digit before the point: ``1.5 GB``."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def duration_text(seconds: float) -> str:
    """A duration with two or three digits, in the unit that suits it: ``0.03 s``, ``4.8 s``, ``38 s``, ``2.4 min``,
    ``38 min``, ``3.1 h``, ``5.2 days``."""
    for limit, unit, factor in ((60, "s", 1), (7200, "min", 60), (48 * 3600, "h", 3600)):
        if _rounded(seconds / factor) * factor < limit:
            return f"{_digits(seconds / factor)} {unit}"
    return f"{_digits(seconds / 86400)} days"


def _digits(value: float) -> str:
    if value < 0.1:
        return f"{value:.1g}" if value >= 0.001 else "0"
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _rounded(value: float) -> float:
    return float(_digits(value))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 stage``, ``2 stages``, ``1,200 trials``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
