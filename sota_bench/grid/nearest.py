"""Near names: what a person probably meant by a key, a level or a backbone that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 80


def nearest(name: str, valid: Iterable[str], count: int = 3) -> list[str]:
    """Up to ``count`` valid names that look like ``name``, the nearest first.

    Args:
        name: what was written; case, blanks, ``-`` and ``_`` do not matter.
        valid: the names that exist.
        count: how many to give at most.
    """
    folded: dict[str, str] = {}
    for candidate in valid:
        folded.setdefault(_fold(candidate), candidate)
    folded_name = _fold(name[:_LONGEST])
    if folded_name in folded:
        return [folded[folded_name]]
    close = difflib.get_close_matches(folded_name, folded, n=count, cutoff=0.6)
    if len(folded_name) >= 3:
        close += [key for key in sorted(folded, key=len) if key.startswith(folded_name) and key not in close]
    return [folded[key] for key in close[:count]]


def did_you_mean(name: str, valid: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the nearest valid ones, or ``otherwise`` where none is near."""
    close = nearest(name, valid)
    if not close:
        return otherwise
    return "did you mean " + (" or ".join([", ".join(close[:-1]), close[-1]] if len(close) > 1 else close)) + "?"


def _fold(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")
