"""The canonical text of a level: what tables, figures, file rows and ``--only`` call it."""

from __future__ import annotations

from collections.abc import Mapping


def level_text(value: object) -> str:
    """``true``, ``0.2``, ``64x3 128x2``; the parts of a list are joined by ``+``, the pairs of a table by ``,``.

    Args:
        value: a resolved recipe value. ``None`` is ``none``, and so is an empty list or table; empty text is ``""``.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, Mapping):
        return ",".join(f"{level_text(key)}:{level_text(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list | tuple | set | frozenset):
        parts = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return "+".join(level_text(part) for part in parts) or "none"
    return repr(value) if isinstance(value, int | float) else str(value)
