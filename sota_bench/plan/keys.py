"""Stage keys: SHA-256 over everything that decides a stage's result, as canonical JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

UNKEYED_ROLES = ("data",)
"""Parents that are needed and do not decide: the decoded images, whose content the parameters name by digest. So a
grid that decodes more images than another still shares its trainings."""


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks; refuses NaN and infinities."""
    return _ENCODER.encode(value)


_name = lru_cache(maxsize=1024)(canonical)


class Texts:
    """Canonical JSON of values that are part of many keys, each made once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, str]] = {}
        self._same: dict[str, Any] = {}

    def __call__(self, value: Any) -> str:
        """As :func:`canonical`."""
        if type(value) is int:
            return str(value)
        found = self._known.get(id(value))
        return canonical(value) if found is None else found[1]

    def shared(self, value: Any) -> Any:
        """The one object that stands for all equal values; nobody may change it from here on."""
        if id(value) in self._known:
            return value
        text = canonical(value)
        found = self._same.setdefault(text, value)
        self._known[id(found)] = found, text  # holding it keeps its id from being given to another
        return found


def stage_key(
    kind: str, params: Mapping[str, Any], parents: Mapping[str, str], text: Callable[[Any], str] = canonical
) -> str:
    """The key of a stage.

    Args:
        kind: of the stage.
        params: resolved parameters, with the ``code``, ``software`` and ``device`` that decide the result.
        parents: role -> key.
        text: :func:`canonical`, or :class:`Texts` where many keys have parts in common.
    """
    deciding = {role: key for role, key in parents.items() if role not in UNKEYED_ROLES}
    parts = ",".join([f"{_name(name)}:{text(params[name])}" for name in sorted(params)])
    return hashlib.sha256(f"[{_name(kind)},{{{parts}}},{canonical(deciding)}]".encode()).hexdigest()
