"""What a table's field accepts, and what is wrong with a value, in words: pydantic's errors as problem and remedy."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from sota_bench.grid.nearest import did_you_mean

Problem = tuple[str, str]
"""What is wrong, and what to do about it."""

LARGEST_INT = 2**63 - 1
_RANGE_ERRORS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


def shown(value: object, limit: int = 60) -> str:
    """A value as its grid file writes it, cut to ``limit`` letters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, list | tuple):
        text = "[" + ", ".join(shown(part, limit) for part in value[:limit]) + "]"
    elif isinstance(value, Mapping):
        pairs = list(value.items())[:limit]
        text = "{" + ", ".join(f"{str(key)[:limit]} = {shown(part, limit)}" for key, part in pairs) + "}"
    else:
        text = repr(value[: limit + 1]) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def expects(field: FieldInfo) -> str:
    """What a field accepts: ``a number from 0 to 1``, ``one of adamw, sgd``, ``true or false``."""
    return " or ".join(dict.fromkeys(_describe(field.annotation, _range(field))))


def _describe(annotation: Any, bounds: str) -> Iterator[str]:
    origin = get_origin(annotation)
    if origin is Literal:
        yield "one of " + ", ".join(str(choice) for choice in get_args(annotation))
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _describe(part, bounds)
    elif origin in (tuple, list, set, frozenset):
        inner = next((part for part in get_args(annotation) if part is not Ellipsis), str)
        yield "a list of " + {int: "whole numbers", float: "numbers", str: "texts", bool: "true and false"}.get(
            inner, "values"
        )
    elif origin is dict or annotation is dict:
        yield "a table such as {64 = 128}" if get_args(annotation)[:1] == (int,) else "a table"
    elif annotation is bool:
        yield "true or false"
    elif annotation is int:
        yield f"a whole number{bounds}"
    elif annotation is float:
        yield f"a number{bounds}"
    elif annotation is str:
        yield "text in quotes"


def _range(field: FieldInfo) -> str:
    limits: dict[str, Any] = {}
    for constraint in field.metadata:
        bounds = {name: getattr(constraint, name, None) for name in ("ge", "gt", "le", "lt")}
        limits |= {name: value for name, value in bounds.items() if value is not None}
    low, up_to = (
        ("gt", "above") if "gt" in limits else ("ge", "from"),
        ("lt", "below") if "lt" in limits else ("le", "to"),
    )
    both = low[0] in limits and up_to[0] in limits
    words = {
        "ge": "from" if both else "of at least",
        "gt": "above",
        "le": "to" if both else "of at most",
        "lt": "below",
    }
    text = [f"{words[name]} {limits[name]:,.12g}" for name in (low[0], up_to[0]) if name in limits]
    if both and (low[0], up_to[0]) != ("ge", "le"):
        text.insert(1, "and up" if up_to[0] == "le" else "and")
    return " " + " ".join(text) if text else ""


def remedy_for(field: FieldInfo) -> str:
    """``write`` and what the field accepts."""
    return f"write {expects(field) or 'another value'}"


def kind_problem(model: type[BaseModel], name: str, value: object) -> Problem | None:
    """What pydantic would quietly convert and a person would not mean: ``true`` or ``"3"`` as a number, 1 as ``true``.

    A field with a before-validator says itself what it takes.
    """
    field = model.model_fields[name]
    for scalar in _scalars(value):
        if isinstance(scalar, int) and abs(scalar) > LARGEST_INT:
            return f"{shown(scalar)} is too large", remedy_for(field)
    if _converts_itself(model, name):
        return None
    kinds = set(_kinds(field.annotation))
    for scalar in _scalars(value):
        wrong = (
            (isinstance(scalar, bool) and bool not in kinds)
            or (isinstance(scalar, str) and str not in kinds)
            or (type(scalar) in (int, float) and not kinds & {int, float})
        )
        if wrong:
            return f"{shown(scalar)} is not {_plain(field)}", remedy_for(field)
    return None


def explain(model: type[BaseModel], error: ValidationError) -> tuple[str, Problem]:
    """The first thing that a validation found: the field ("" for the whole table) and what is wrong with it."""
    details = error.errors(include_url=False)
    name = str(details[0]["loc"][0]) if details[0]["loc"] else ""
    same = [detail for detail in details if detail["loc"] and str(detail["loc"][0]) == name] or details[:1]
    detail = next((other for other in same if not other["type"].endswith(("_type", "_parsing"))), same[0])
    kind, value = detail["type"], detail["input"]
    if kind in ("value_error", "assertion_error"):
        problem, _, remedy = str(detail["ctx"]["error"]).partition("; ")
        return name, (problem, remedy)
    field = model.model_fields.get(name)
    if field is None:
        return name, (f"{shown(value)}: {detail['msg']}", "")
    if kind == "literal_error":
        choices = _choices(field.annotation)
        listed = ", ".join(shown(choice) if " " in choice else choice for choice in choices)
        return name, (
            f"{shown(value)} is not one of {listed}",
            did_you_mean(str(value), choices, "write one of them"),
        )
    if kind == "finite_number":
        return name, (f"{shown(value)} is not a finite number", remedy_for(field))
    if kind in _RANGE_ERRORS:
        return name, (f"{shown(value)} is out of range", remedy_for(field))
    if kind in ("too_short", "too_long", "string_too_long", "string_too_short"):
        short = "short" in kind
        what = "is empty" if short else "is too long"
        return name, (f"{shown(value)} {what}", "name at least one" if short else "write less")
    if kind.endswith(("_type", "_parsing", "_from_float")):
        return name, (f"{shown(value)} is not {_plain(field)}", remedy_for(field))
    return name, (f"{shown(value)}: {detail['msg']}", remedy_for(field))


def _plain(field: FieldInfo) -> str:
    return " or ".join(dict.fromkeys(_describe(field.annotation, ""))).replace("text in quotes", "text") or "accepted"


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _kinds(annotation: Any) -> Iterator[type]:
    if get_origin(annotation) is Literal:
        yield from (type(choice) for choice in get_args(annotation))
    elif get_origin(annotation) is None:
        yield annotation if isinstance(annotation, type) else object
    else:
        arguments = get_args(annotation)
        for part in arguments[1:] if get_origin(annotation) is dict else arguments:
            yield from _kinds(part)


def _scalars(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _scalars(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _scalars(part)
    else:
        yield value


def _converts_itself(model: type[BaseModel], name: str) -> bool:
    validators = model.__pydantic_decorators__.field_validators.values()
    return any(name in validator.info.fields and validator.info.mode == "before" for validator in validators)
