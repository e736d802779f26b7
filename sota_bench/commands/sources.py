"""Grids on several data sets: a command is carried out on one after the other, each as a grid of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from sota_bench.errors import UserError
from sota_bench.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from sota_bench.grid import Grid

Command = TypeVar("Command", bound=Callable[..., Any])
Parameters = Mapping[str, Any]

CHOSEN = "sota_bench.commands.sources"
"""Key of click's ``Context.meta``, under which the name of the current data set stands."""


def chosen_source(grid: Grid) -> str:
    """The name of the data set that the command is carried out on.

    Raises:
        UserError: none was chosen.
    """
    label = click.get_current_context().meta.get(CHOSEN)
    if label is None:
        what = f"the grid is on {len(grid.sources)} data sets, and this command works on one"
        raise UserError(str(grid.file), "data.sources", what, f"add --source {' or --source '.join(grid.sources)}")
    return str(label)


def chosen_option() -> list[str]:
    """The option that chooses the data set that the command is carried out on; none for a grid on one."""
    label = click.get_current_context().meta.get(CHOSEN)
    return [] if label is None else ["--source", str(label)]


@contextmanager
def source_chosen(label: str | None) -> Iterator[None]:
    """While it is entered, grids on several data sets are loaded as the grid on this one."""
    meta = click.get_current_context().meta
    before = meta.get(CHOSEN)
    meta[CHOSEN] = label
    try:
        yield
    finally:
        meta[CHOSEN] = before


def each_source(
    before: Callable[[Parameters, Sequence[str]], Parameters] | None = None,
    after: Callable[[Parameters, Sequence[str]], int] | None = None,
    one: bool = False,
) -> Callable[[Command], Command]:
    """Carries out a command on each data set of its grid, or on the one that ``--source`` names.

    Args:
        before: called first with the command's parameters and the names of the data sets; gives other parameters.
        after: called last; gives an exit code.
        one: whether the command is about one data set, which must be named where there are several.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def on_each(*, source: str | None, **parameters: Any) -> int:
            labels = source_names(parameters)
            if source is not None and source not in labels:
                remedy = f"choose among {', '.join(labels)}" if labels else "leave --source out"
                raise UserError("--source", "", f"the grid has no data set named {source!r}", remedy)
            if source is not None or one or not labels:
                with source_chosen(source):
                    return int(command(**parameters) or 0)
            changed = {**parameters, **(before(parameters, labels) if before else {})}
            codes = []
            for label in labels:
                if not parameters.get("as_json"):
                    click.echo(f"{label}:")
                with source_chosen(label):
                    codes.append(int(command(**changed) or 0))
                if codes[-1] == INTERRUPTED:
                    return INTERRUPTED
                if not parameters.get("as_json"):
                    click.echo()
            return max([*codes, after(parameters, labels) if after else 0])

        help = "For a grid on several data sets: use only this one" + ("." if one else " (default: all of them).")
        return cast(Command, click.option("--source", metavar="NAME", help=help)(on_each))

    return decorate


def source_names(parameters: Parameters) -> list[str]:
    """The names of a grid's data sets; none of a grid on one. A grid that cannot be read is left to the command."""
    from sota_bench.grid.read import apply_overrides, parse, read_text
    from sota_bench.grid.sources import source_labels

    path = Path(parameters["grid"])
    tables = parse(read_text(path), str(path))
    apply_overrides(tables, parameters["overrides"])
    data = tables.get("data")
    sources = data.get("sources", ()) if isinstance(data, dict) else ()
    valid = isinstance(sources, list) and len(sources) > 1 and all(isinstance(source, str) for source in sources)
    return source_labels(sources) if valid else []
