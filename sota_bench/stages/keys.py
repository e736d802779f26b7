"""Stage keys: SHA-256 over everything that decides a stage's result, as canonical JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeVar

from sota_bench.stages.params import StageParams
from sota_bench.stages.stage import MadeWith
from sota_bench.stages.values import canonical, record_fields

UNKEYED_ROLES = ("data",)
"""Parents that are needed and do not decide: the decoded images, whose content the parameters name by digest. So a
grid that decodes more images than another still shares its trainings."""

T = TypeVar("T")

_text_of_str = lru_cache(maxsize=1024)(canonical)


class CanonicalTexts:
    """Canonical JSON of values that are part of many keys, each made once."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[object, str]] = {}
        self._shared: dict[tuple[type, str], object] = {}

    def __call__(self, value: object) -> str:
        """As :func:`canonical`."""
        if type(value) is int:
            return str(value)
        if type(value) is str:
            return _text_of_str(value)
        entry = self._texts.get(id(value))
        return canonical(value) if entry is None else entry[1]

    def shared(self, value: T) -> T:
        """The one object that stands for all equal values of a type; nobody may change it from here on."""
        if id(value) in self._texts:
            return value
        text = canonical(value)
        first = self._shared.setdefault((type(value), text), value)
        self._texts[id(first)] = first, text  # holding it keeps its id from being given to another
        return first  # type: ignore[return-value]  # of the same type, which is part of its key


def stage_key(
    kind: str,
    params: StageParams,
    made_with: MadeWith,
    parents: Mapping[str, str],
    text: Callable[[object], str] = canonical,
) -> str:
    """The key of a stage: ``[kind, params, made_with, parents]`` as canonical JSON, hashed.

    Args:
        kind: of the stage.
        params: what decides the result.
        made_with: the code, software and device.
        parents: role -> key.
        text: :func:`canonical`, or :class:`CanonicalTexts` where many keys have parts in common.
    """
    deciding = [f'{_text_of_str(role)}:"{key}"' for role, key in sorted(parents.items()) if role not in UNKEYED_ROLES]
    fields = sorted(record_fields(params).items())
    parts = ",".join([f"{_text_of_str(name)}:{text(value)}" for name, value in fields])
    body = f"[{_text_of_str(kind)},{{{parts}}},{text(made_with)},{{{','.join(deciding)}}}]"
    return hashlib.sha256(body.encode()).hexdigest()
