"""``list``: techniques with their cards, recipe fields, data sources and small backbones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from sota_bench.errors import UserError

SOURCES = {
    "known-effects": "4,000 synthetic images that sota_bench renders: a control with known effects",
    "imagenette": "10 easy classes of ImageNet, 9,469 training and 3,925 validation photographs (fast.ai)",
    "imagewoof": "10 breeds of dogs from ImageNet, 9,025 training and 3,929 validation photographs (fast.ai)",
    "imagenet": "ImageNet-1k, 1,281,167 training and 50,000 validation photographs",
    "torchvision:NAME": "a data set that torchvision stored, such as torchvision:CIFAR10, MNIST, Flowers102 or Food101",
    "folder:PATH": "your images: train/<class>/ and val/<class>/, or one folder for each class",
    "archive:PATH": "the same layout in a .tar, .tgz or .zip file",
    "manifest:PATH": "the images that `curate` kept: its manifest.csv",
}


@click.command("list", short_help="Show techniques, recipe fields, data sources and small backbones.")
@click.argument("what", default="all", metavar="[techniques|fields|sources|backbones|NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--markdown", is_flag=True, help="Print the reference of all grid keys as Markdown.")
def command(what: str, as_json: bool, markdown: bool) -> None:
    """Show what a grid can compare, and on what.

    NAME is a technique (its whole card), a recipe field or a backbone.
    """
    if markdown:
        from sota_bench.grid.reference import reference

        click.echo(reference(), nl=False)
        return
    sections: dict[str, list[dict[str, Any]]]
    if what == "all":
        sections = {name: rows() for name, rows in SECTIONS.items()}
    elif what in SECTIONS:
        sections = {what: SECTIONS[what]()}
    else:
        sections = named(what)
    if as_json:
        click.echo(json.dumps(sections[what] if what in SECTIONS else sections, indent=2, ensure_ascii=False))
    elif what == "all" or what in SECTIONS:
        for section, rows in sections.items():
            if what == "all" and section == "fields":
                continue
            SHOW[section](rows)
        if what == "all":
            click.echo("`list NAME` shows a whole card; `list fields` shows every recipe field.")
    else:
        show_named(sections)


def technique_rows() -> list[dict[str, Any]]:
    """Every technique: its card, the field and level that switch it on, and its settings with defaults."""
    from sota_bench import registry
    from sota_bench.grid.fields import recipe_fields

    fields = {field.name: field for field in recipe_fields()}
    rows = []
    for name, technique in registry.techniques().items():
        switch = fields[technique.field]
        levels = [technique.level] if technique.level is not None else list(switch.levels)
        own = [field for field in fields.values() if field.technique == name or field.name == technique.field]
        rows.append(
            {
                "name": name,
                "field": technique.field,
                "levels": levels,
                "off": "none" if technique.level is not None else technique.off,
                "always": technique.always,
                "applies_to": technique.applies_to,
                "settings": [field.row() for field in own],
                "card": technique.card.model_dump(),
            }
        )
    return rows


def field_rows() -> list[dict[str, Any]]:
    """Every recipe field."""
    from sota_bench.grid.fields import recipe_fields

    return [field.row() for field in recipe_fields()]


def source_rows() -> list[dict[str, Any]]:
    """Every data source and where it was found on this machine (None: not here, or a path is yours to give)."""
    from sota_bench.data.find import NAMED_DATASETS, locate

    rows = []
    for name, description in SOURCES.items():
        path = locate(name) if name in NAMED_DATASETS else None
        location = "built in" if name == "known-effects" else None if path is None else str(path)
        rows.append({"name": name, "about": description, "found": location})
    return rows


def backbone_rows() -> list[dict[str, Any]]:
    """The curated short list of backbones."""
    from dataclasses import asdict

    from sota_bench.grid.backbones import small_backbones

    return [asdict(row) for row in small_backbones()]


SECTIONS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "techniques": technique_rows,
    "fields": field_rows,
    "sources": source_rows,
    "backbones": backbone_rows,
}


def named(name: str) -> dict[str, Any]:
    """What one name means: ``{"techniques": [...]}``, ``{"fields": [...]}`` or ``{"backbones": [...]}``.

    Raises:
        UserError: it is the name of nothing.
    """
    from sota_bench.grid.backbones import backbone_names, backbone_problem
    from sota_bench.grid.nearest import did_you_mean

    techniques, fields = technique_rows(), field_rows()
    folded = name.casefold()
    cards = [row for row in techniques if folded in (row["name"], row["field"], row["card"]["name"].casefold())]
    if cards:
        return {"techniques": cards}
    if rows := [row for row in fields if row["name"] == folded]:
        return {"fields": rows}
    if backbone_names() and backbone_problem(name) is None:
        rows = [row for row in backbone_rows() if row["name"] == name.split(".")[0]]
        return {"backbones": rows or [{"name": name}]}
    valid = [*SECTIONS, *(row["name"] for row in techniques), *(row["name"] for row in fields), *backbone_names()]
    raise UserError("list", "", f"nothing is called {name[:80]!r}", did_you_mean(name, valid, "`list` alone shows all"))


def show_techniques(rows: Sequence[dict[str, Any]]) -> None:
    """One line or two for each technique."""
    from sota_bench.grid.levels import level_text

    lines = [
        (row["name"], row["field"], ", ".join(level_text(level) for level in row["levels"]), row["card"]["claim"])
        for row in rows
    ]
    table("Techniques", ("name", "field", "levels", "claim"), lines)


def show_fields(rows: Sequence[dict[str, Any]]) -> None:
    """One line or two for each recipe field."""
    from sota_bench.grid.template import toml_value

    lines = [(row["name"], toml_value(row["default"]), row["accepts"], row["help"]) for row in rows]
    table("Recipe fields", ("field", "default", "accepts", ""), lines)


def show_sources(rows: Sequence[dict[str, Any]]) -> None:
    """One line or two for each data source."""
    lines = [
        (row["name"], row["about"], row["found"] or ("" if "PATH" in row["name"] else "not found")) for row in rows
    ]
    table("Data sources", ("data.source", "", "on this machine"), lines)


def show_backbones(rows: Sequence[dict[str, Any]]) -> None:
    """One line for each backbone."""
    if "params" not in rows[0]:
        click.echo(f"{rows[0]['name']} is a backbone of the installed timm; `list backbones` shows small ones")
        return
    lines = [
        (
            row["name"],
            f"{row['params'] / 1e6:.2f} M",
            f"{row['flops'] / 1e9:.3f} G at {row['size']} px",
            "yes" if row["batch_norm"] else "no",
        )
        for row in rows
    ]
    table("Small backbones (any of timm's can be named)", ("backbone", "parameters", "FLOPs", "batch norm"), lines)


SHOW: dict[str, Callable[[Sequence[dict[str, Any]]], None]] = {
    "techniques": show_techniques,
    "fields": show_fields,
    "sources": show_sources,
    "backbones": show_backbones,
}


def show_named(sections: dict[str, list[dict[str, Any]]]) -> None:
    """Whole cards, or the one field or backbone."""
    for section, rows in sections.items():
        if section == "techniques":
            for row in rows:
                show_card(row)
        else:
            SHOW[section](rows)


def show_card(row: dict[str, Any]) -> None:
    """Everything about one technique."""
    from sota_bench.grid.levels import level_text

    card = row["card"]
    on = "acts at every level" if row["always"] else f"off at {level_text(row['off'])}"
    levels = ", ".join(level_text(level) for level in row["levels"])
    lines = [(heading, card[heading]) for heading in card if heading != "name"]
    lines.append(("switch", f"{row['field']} = {levels} ({on}; applies to {row['applies_to']})"))
    table(f"{card['name']} ({row['name']})", None, lines)
    show_fields(row["settings"])


def table(title: str, header: Sequence[str] | None, lines: Iterable[Sequence[str]]) -> None:
    """A plain table that wraps between words: at the terminal's width, and at 100 columns in a file or a pipe."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100)
    grid = Table(box=None, show_header=header is not None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    lines = [tuple(line) for line in lines]
    for position in range(len(lines[0]) if lines else len(header or ())):
        heading = header[position] if header is not None else ""
        width = max((len(line[position]) for line in lines), default=0)
        grid.add_column(heading, no_wrap=position == 0, max_width=None if position == 0 else max(24, width))
    for line in lines:
        grid.add_row(Text(line[0], style="bold"), *(Text(cell) for cell in line[1:]))
    with console.capture() as captured:
        console.print(Text(title, style="bold underline"))
        console.print(grid)
    text = captured.get()
    click.echo(text if console.is_terminal else "\n".join(line.rstrip() for line in text.splitlines()) + "\n")
