"""The commented grid that ``init`` writes: every key with its own description, so that it cannot go stale."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from sota_bench import registry
from sota_bench.grid.explain import expects
from sota_bench.grid.fields import Field, recipe_fields
from sota_bench.grid.tables import DataTable, GridTable

_WIDTH = 100
_SHOWN = ("backbone", "resize", "lr", "batch_size")
"""Recipe fields that nearly everybody sets; the others stand there as comments."""


def toml_value(value: Any) -> str:
    """A JSON value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(part) for part in value) + "]"
    return repr(value)


def template(name: str, source: str = "known-effects", file: str = "grid.toml") -> str:
    """A grid that loads and runs as it is, with every other key as a comment.

    Args:
        name: the grid's name.
        source: the data source.
        file: the file that it will be, for the command in its first lines.
    """
    parts = [
        "# A grid: which of these settings help on these images? To see what it would train, without training, run:",
        f"#     python -m sota_bench plan {file if file.isprintable() else 'grid.toml'}",
        "",
        "[grid]",
        *_table(GridTable.model_fields, {"name": name, "minutes_per_iteration": 2.0, "smallest_effect": 1.0}),
        "[data]",
        *_table(DataTable.model_fields, {"source": source}),
        "# Every hyperparameter of the baseline. A key that is commented out shows its default.",
        "[recipe]",
        *_recipe(),
        "# What varies: any key of [recipe], with a list of levels. The first level is the baseline.",
        "[factors]",
        *_factors(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _explained(help: str, accepts: str) -> str:
    """The description, followed by the accepted values unless it names them or any text is accepted."""
    choices = accepts.removeprefix("one of ").split(", ")
    stated = accepts == "text in quotes" or (
        accepts.startswith("one of ") and all(choice in help for choice in choices)
    )
    return help if stated else f"{help} ({accepts})"


def _table(fields: Mapping[str, FieldInfo], given: Mapping[str, Any]) -> Iterator[str]:
    for name, info in fields.items():
        yield from _comment(_explained(info.description or "", expects(info)))
        value = given.get(name, info.default)
        quiet = name not in given and value in (None, "", (), {}, 0)
        example = toml_value(info.examples[0] if value is None and info.examples else value)
        yield f"# {name} = {example}" if quiet else f"{name} = {example}"
        yield ""


def _recipe() -> Iterator[str]:
    title = None
    for field in recipe_fields():
        if field.technique != title:
            title = field.technique
            if title:
                yield from (f"# ---- {title} ----", "")
        yield from _comment(_explained(field.help, field.accepts))
        yield ("" if field.name in _SHOWN else "# ") + f"{field.name} = {toml_value(field.default)}"
        yield ""


def _factors() -> Iterator[str]:
    fields = {field.name: field for field in recipe_fields() if len(field.levels) > 1}
    chosen = _chosen(fields)
    for field in sorted(fields.values(), key=lambda field: field.name not in chosen):
        levels: Iterable[Any] = field.levels[:2] if field.name in chosen else field.levels
        yield ("" if field.name in chosen else "# ") + f"{field.name} = {toml_value(list(levels))}"


def _chosen(fields: Mapping[str, Field]) -> set[str]:
    """The resolution, and one technique of each kind that costs little: a small grid that shows what a grid can ask."""
    chosen = {"resize"}
    for kind in ("training", "evaluation"):
        for technique in registry.techniques().values():
            field = fields.get(technique.field)
            if technique.applies_to == kind and not technique.always and field and field.levels[0] == technique.off:
                chosen.add(technique.field)
                break
    return chosen & fields.keys()
