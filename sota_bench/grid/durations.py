"""Minutes as people write them: ``2``, ``"2 min"``, ``"90 s"``, ``"1.5 h"``."""

from __future__ import annotations

import re

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]*)", re.IGNORECASE)
_REMEDY = 'write minutes as 2.0, or "90 s", "2 min", "1.5 h"'
_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "m": 60, "minute": 60, "": 60, "h": 3600, "hour": 3600}


def minutes(value: object) -> object:
    """A duration written as text, in minutes; a number is minutes already, anything else comes back as it is.

    Raises:
        ValueError: the text is not a number and a unit.
    """
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a duration; {_REMEDY}")
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    unit = match[2].lower() if match else "?"
    unit = unit if unit in _SECONDS else unit.removesuffix("s")
    if match is None or unit not in _SECONDS:
        raise ValueError(f"{value[:40]!r} is not a duration; {_REMEDY}")
    return float(match[1]) * _SECONDS[unit] / 60
