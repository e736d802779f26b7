"""JSON values: the type, and the conversion of records into them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import TypeAlias

Json: TypeAlias = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None


def record_fields(record: object) -> dict[str, object]:
    """The fields of a dataclass by name; a field that is None is left out, so a new optional field changes no key."""
    if not is_dataclass(record):
        raise TypeError(f"{type(record).__name__} is neither a JSON value nor a record")
    return {name: value for name, value in vars(record).items() if value is not None}


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True, default=record_fields
)


def canonical(value: object) -> str:
    """JSON with sorted keys and no blanks, of JSON values and dataclasses of them.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value is neither a JSON value nor a dataclass.
    """
    return _ENCODER.encode(value)


def to_json(record: object) -> dict[str, Json]:
    """A dataclass as JSON values, nested ones included; fields that are None are left out."""
    values: dict[str, Json] = json.loads(canonical(record))
    return values
