"""Amounts of memory and disk as people write them: ``2GB``, ``500 MB``, ``1.5 GiB``."""

from __future__ import annotations

import re

from sota_bench.errors import UserError

_UNITS = {
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


def parse_bytes(place: str, text: str) -> int:
    """The number of bytes.

    Raises:
        UserError: it is not a size; ``place`` names the option.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].lower() not in _UNITS:
        raise UserError(place, "", f"{text!r} is not a size", "write for example 2GB or 500MB")
    return round(float(match[1]) * _UNITS[match[2].lower()])


def size_text(count: float) -> str:
    """Bytes in the largest unit that leaves one digit before the point."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"
