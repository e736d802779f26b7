"""The reference page of a grid's keys and of the techniques, generated from where they are defined."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic.fields import FieldInfo

from sota_bench import registry
from sota_bench.grid.explain import expects
from sota_bench.grid.fields import SCOPES, Field, recipe_fields
from sota_bench.grid.levels import level_text
from sota_bench.grid.tables import DataTable, GridTable
from sota_bench.grid.template import toml_value
from sota_bench.technique import Card

COMMAND = "python -m sota_bench list --markdown"


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join(_page()).rstrip() + "\n"


def _page() -> Iterator[str]:
    fields = recipe_fields()
    yield from ("# Reference of a grid", "", f"Written by `{COMMAND}`; change the fields where they are defined.", "")
    for title, model in (("[grid]", GridTable), ("[data]", DataTable)):
        yield from (f"## `{title}`", "", "| key | accepts | default | |", "| --- | --- | --- | --- |")
        yield from (_table_row(name, info) for name, info in model.model_fields.items())
        yield ""
    yield from (
        "Fields that choose images may stand in `[data]` as well as in `[recipe]`.",
        "",
        "## `[recipe]` and `[factors]`",
        "",
        "Each field stands in `[recipe]` with one value, or in `[factors]` with a list of levels, the baseline first.",
        "",
    )
    yield from _fields([field for field in fields if not field.technique])
    yield from ("## Techniques", "")
    for name, technique in registry.techniques().items():
        yield from (f"### {technique.card.name} (`{name}`)", "")
        level = technique.level if technique.level is not None else None
        on = f'at `"{level}"`' if level is not None else f"unless it is {level_text(technique.off)}"
        yield from (f"Switched on by `{technique.field}`, {'at every level' if technique.always else on}.", "")
        yield from (f"- **{title.capitalize()}**: {text}" for title, text in card_lines(technique.card))
        yield ""
        yield from _fields([field for field in fields if field.technique == name])
    shared = [field for field in fields if field.technique and field.technique == field.name]
    shared = [field for field in shared if field.name not in registry.techniques()]
    if shared:
        yield from ("### Fields that several techniques share", "")
        yield from _fields(shared)


def card_lines(card: Card) -> Iterator[tuple[str, str]]:
    """(heading, text) of a card, without its name."""
    yield from ((name, value) for name, value in card.model_dump().items() if name != "name")


def _table_row(name: str, info: FieldInfo) -> str:
    default = "" if info.default in (None, "", ()) else f"`{toml_value(info.default)}`"
    return f"| `{name}` | {_cell(expects(info))} | {default} | {_cell(info.description or '')} |"


def _fields(fields: list[Field]) -> Iterator[str]:
    if not fields:
        return
    yield from (
        "| field | accepts | default | levels worth comparing | decides | |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    for field in fields:
        levels = ", ".join(f"`{toml_value(level)}`" for level in field.levels)
        cells = (f"`{field.name}`", _cell(field.accepts), f"`{toml_value(field.default)}`", levels)
        yield "| " + " | ".join((*cells, SCOPES[field.scope], _cell(field.help))) + " |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
