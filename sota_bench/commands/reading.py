"""Options that say how a source is read, which commands that take a SOURCE share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from sota_bench.errors import UserError

Command = TypeVar("Command", bound=Callable[..., Any])


def reading_options(command: Command) -> Command:
    """Adds the options; the command gets them together, as ``reading``."""

    @wraps(command)
    def with_options(
        *, root: str, roles: tuple[str, ...], labels: str, file_column: str, label_column: str, split_column: str,
        group: str, pixel_range: tuple[float, float] | None, **others: Any,
    ) -> Any:  # fmt: skip
        from sota_bench.data.options import ReadingOptions

        reading = ReadingOptions(
            root, _roles(roles), labels, file_column, label_column, split_column, group, pixel_range
        )
        return command(reading=reading, **others)

    for decorate in reversed([
        click.option("--root", default="", help="Folder of the data set inside the source."),
        click.option(
            "--folder", "roles", multiple=True, metavar="NAME=ROLE",
            help="What a folder is: train, val, test, class or skip; repeatable.",
        ),
        click.option("--labels", default="", help="Table of labels inside the source, or `folders` for class folders."),
        click.option("--file-column", default="", help="Column of that table with the file names."),
        click.option("--label-column", default="", help="Column of that table with the labels."),
        click.option("--split-column", default="", help="Column of that table with the splits."),
        click.option(
            "--group", default="", metavar="COLUMN|PATTERN",
            help="Images that belong together and stay in one split: a column, or a pattern on the path.",
        ),
        click.option(
            "--pixel-range", type=(float, float), metavar="BLACK WHITE",
            help="Values that become black and white in images with more than 8 bits.",
        ),
    ]):  # fmt: skip
        with_options = decorate(with_options)
    return cast(Command, with_options)


def _roles(pairs: tuple[str, ...]) -> dict[str, str]:
    roles = {}
    for pair in pairs:
        name, equals, role = pair.rpartition("=")
        if not equals:
            raise UserError("--folder", "", f"{pair!r} has no role", "write NAME=ROLE, such as masks=skip")
        roles[name] = role
    return roles


def source_of(source: str) -> str:
    """A plain path as a source; anything else as it is."""
    path = Path(source).expanduser()
    if ":" in source or not path.exists():
        return source
    return f"{'folder' if path.is_dir() else 'archive'}:{source}"
