"""Options that several commands share, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sota_bench.errors import UserError
from sota_bench.grid import Grid, load
from sota_bench.plan.machine import Machine

Command = TypeVar("Command", bound=Callable[..., Any])


def grid_options(command: Command) -> Command:
    """GRID.toml and the options that change it or say where it runs."""
    for decorate in reversed([
        click.argument("grid", type=click.Path(path_type=Path)),
        click.option("--out", type=click.Path(path_type=Path), help="The report's folder (default reports/<name>)."),
        click.option(
            "--store", type=click.Path(path_type=Path), default=Path(".sota_bench"), show_default=True,
            help="Folder of finished stages; grids share one.",
        ),
        click.option(
            "--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Change the grid; repeatable."
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:i]."),
        click.option(
            "--workers", type=click.IntRange(0, 256), default=0, help="Worker processes (default: by the device)."
        ),
        click.option("--seeds", help="Seeds instead of the grid's, such as 0,1,2."),
        click.option("--only", metavar="EXPR", help="Trials to look at, such as 'mixup=0.2,seed=0|1'."),
    ]):  # fmt: skip
        command = decorate(command)
    return command


def load_grid(grid: Path, overrides: tuple[str, ...], seeds: str | None, out: Path | None, writes: bool = True) -> Grid:
    """The grid with the options applied; ``writes`` says whether the command writes into the report's folder.

    Raises:
        UserError: the grid or an option is wrong.
    """
    question = load(grid, overrides, seeds=parse_seeds(seeds) if seeds is not None else None, out=out)
    _must_be_folder("--out", question.out, writes)
    return question


def _must_be_folder(option: str, path: Path, writes: bool) -> None:
    """A folder, or a place where one can be made.

    Raises:
        UserError: it is a file, below a file, no path that can be looked at, or not writable where that is needed.
    """
    try:
        str(path).encode()  # the ledger and reports name it
        found = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    except UnicodeEncodeError:
        raise UserError(option, "", f"{str(path)!r} is not valid UTF-8", "name another folder") from None
    except OSError as error:
        raise UserError(option, "", f"{str(path)!r} cannot be used: {error.strerror}", "name another folder") from None
    if not found.is_dir():
        raise UserError(
            option, "", f"{str(path)!r} cannot be a folder: {found.name!r} is a file", "name another folder"
        )
    if writes and not os.access(found, os.W_OK):
        raise UserError(option, "", f"{str(path)!r} cannot be written", "name another folder")


def parse_seeds(text: str) -> list[int]:
    """``0,1,2`` as numbers.

    Raises:
        UserError: a part is not a whole number.
    """
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError("--seeds", "", f"{text!r} is not a list of whole numbers", "write for example 0,1,2") from None


def machine_of(store: Path, device: str, workers: int, writes: bool = True) -> Machine:
    """The machine options together; ``writes`` says whether the command writes into the store.

    Raises:
        UserError: the store cannot be a folder.
    """
    _must_be_folder("--store", store, writes)
    return Machine(store, device, workers)
