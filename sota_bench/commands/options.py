"""Options that several commands share, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from sota_bench.commands.sources import chosen_source
from sota_bench.engine.engines import ENGINES
from sota_bench.errors import UserError
from sota_bench.grid import Grid, load
from sota_bench.plan.machine import Machine
from sota_bench.units import counted, parse_bytes

DEFAULT_STORE = Path(".sota_bench")

Command = TypeVar("Command", bound=Callable[..., Any])


def grid_options(command: Command, out_help: str = "The report's folder (default reports/<name>).") -> Command:
    """GRID.toml and the options that change it or say where it runs; ``out_help`` says what --out is."""
    for decorate in reversed([
        click.argument("grid", type=click.Path(path_type=Path)),
        click.option("--out", type=click.Path(path_type=Path), help=out_help),
        click.option(
            "--store", type=click.Path(path_type=Path), default=DEFAULT_STORE, show_default=True,
            help="Folder for finished stages, which grids share.",
        ),
        click.option(
            "--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE",
            help="Override a key of the grid; repeatable.",
        ),
        click.option(
            "--device", default="", help="auto, cpu or cuda[:i] (default: as in the grid's last run, else auto)."
        ),
        click.option(
            "--workers", type=click.IntRange(0, 256), default=0,
            help="Worker processes (default: as in the grid's last run, else chosen for the device).",
        ),
        click.option("--seeds", help="Seeds instead of the grid's, such as 0,1,2."),
        click.option("--only", metavar="EXPR", help="Only these trials, such as 'mixup=0.2,seed=0|1'."),
    ]):  # fmt: skip
        command = decorate(command)
    return command


def kept_options(store: Path, overrides: tuple[str, ...], seeds: str | None) -> list[str]:
    """The options that say which run this is, where they were given, for a further command on it.

    Device and workers are not among them: later commands use those of the last run.
    """
    given = [
        ("--store", str(store) if store != DEFAULT_STORE else None),
        *(("--set", override) for override in overrides),
        ("--seeds", seeds),
    ]
    return [part for option, value in given if value is not None for part in (option, value)]


def stopping_options(command: Command) -> Command:
    """Options that say when a run ends; the command gets them together, as ``stopping``, for `load_grid`."""

    @wraps(command)
    def with_stopping(*, until_decided: bool, budget: str | None, max_seeds: int | None, **others: Any) -> Any:
        given = {"stop": "decided" if until_decided else None, "budget": budget, "max_seeds": max_seeds}
        return command(stopping={key: value for key, value in given.items() if value is not None}, **others)

    for decorate in reversed([
        click.option(
            "--until-decided", is_flag=True,
            help="Add seeds where comparisons still need them, at looks planned in advance, until all are decided.",
        ),
        click.option(
            "--budget", metavar="TEXT",
            help="With --until-decided: wall-clock minutes, such as '40 min'; no look starts that would exceed them.",
        ),
        click.option(
            "--max-seeds", type=click.IntRange(2), metavar="N",
            help="With --until-decided: the most seeds per cell (default 20).",
        ),
    ]):  # fmt: skip
        with_stopping = decorate(with_stopping)
    return cast(Command, with_stopping)


def load_grid(
    grid: Path, overrides: tuple[str, ...], seeds: str | None, out: Path | None, writes: bool = True,
    stopping: Mapping[str, str | int] | None = None,
) -> Grid:  # fmt: skip
    """The grid with the options applied; ``writes`` says whether the command writes into the report's folder.

    Raises:
        UserError: the grid or an option is wrong.
    """
    chosen = parse_seeds(seeds) if seeds is not None else None
    loaded = load(grid, overrides, seeds=chosen, out=out, stopping=stopping)
    if loaded.sources:
        loaded = loaded.for_source(chosen_source(loaded))
    must_be_folder("--out", loaded.out, writes)
    return loaded


def must_be_folder(option: str, path: Path, writes: bool) -> None:
    """A folder, or a place where one can be made.

    Raises:
        UserError: it is a file, below a file, no path that can be looked at, or not writable where that is needed.
    """
    try:
        str(path).encode()  # the ledger and reports name it
        existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    except UnicodeEncodeError:
        raise UserError(option, "", f"{str(path)!r} is not valid UTF-8", "name another folder") from None
    except OSError as error:
        raise UserError(option, "", f"{str(path)!r} cannot be used: {error.strerror}", "name another folder") from None
    if not existing.is_dir():
        raise UserError(
            option, "", f"{str(path)!r} cannot be a folder: {existing.name!r} is a file", "name another folder"
        )
    if writes and not os.access(existing, os.W_OK):
        raise UserError(option, "", f"{str(path)!r} is not writable", "name another folder, or change its permissions")


def parse_seeds(text: str) -> list[int]:
    """``0,1,2`` as numbers.

    Raises:
        UserError: a part is not a whole number.
    """
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError("--seeds", "", f"{text!r} is not a list of whole numbers", "write for example 0,1,2") from None


def machine_of(store: Path, device: str, workers: int, writes: bool = True, grid: Grid | None = None) -> Machine:
    """Where a grid runs: by the options, and where they are left out, as its last run did.

    The device and the number of workers are part of stage keys (on a CPU the order of a sum depends on the threads of
    a worker), so a command without the options of the run before would not find its results.

    Args:
        store: folder of the store.
        device: ``--device``, "" where it was left out.
        workers: ``--workers``, 0 where it was left out.
        writes: whether the command writes into the store.
        grid: whose last run is looked up; None for no grid.

    Raises:
        UserError: the store cannot be a folder.
    """
    must_be_folder("--store", store, writes)
    machine = Machine(store, device or "auto", workers)
    if grid is None or (device and workers) or not store.is_dir():
        return machine
    recorded = _last_run(grid.name, store)
    if recorded is None or device not in ("", recorded.device):
        return machine
    as_before = replace(machine, device=device or recorded.device, workers=workers or recorded.workers)
    try:
        environment, count = as_before.resolve()
    except UserError:  # a device that this machine does not have
        return machine
    usual, usual_count = machine.resolve()
    if (usual.device, usual_count) != (environment.device, count):
        click.echo(
            f"Using {environment.device} and {counted(count, 'worker')}, as the last run of {grid.name} did; "
            "--device and --workers choose others.",
            err=True,
        )
    return as_before


def _last_run(name: str, store: Path) -> Machine | None:
    """Where the last run of a grid ran; None where the ledger holds none."""
    from sota_bench.runs.history import recorded_runs
    from sota_bench.store import Store

    for entry in recorded_runs(Store(store), name):
        if entry.keys:
            return Machine(store, str(entry.plan["environment"]["device"]), entry.workers)
    return None


def engine_options(command: Command) -> Command:
    """Options that say how stages are run; the command gets them together, as ``options``."""

    @wraps(command)
    def with_options(
        *, engine: str, retry: str | None, fail_fast: bool, disk_limit: str | None, stall_minutes: float,
        checkpoint_minutes: float, no_accumulate: bool, memory_limit: str | None, **others: Any,
    ) -> Any:  # fmt: skip
        from sota_bench.runs.execute import RunOptions

        options = RunOptions(
            engine=engine,
            retry=retry == "failed",
            fail_fast=fail_fast,
            disk_limit=parse_bytes("--disk-limit", disk_limit) if disk_limit else None,
            stall_s=60 * stall_minutes,
            checkpoint_s=60 * checkpoint_minutes,
            accumulate=not no_accumulate,
            memory_limit=parse_bytes("--memory-limit", memory_limit) if memory_limit else None,
        )
        return command(options=options, **others)

    for decorate in reversed([
        click.option(
            "--engine", type=click.Choice(list(ENGINES)), default="local", show_default=True, help="Where stages run."
        ),
        click.option("--retry", type=click.Choice(["failed"]), help="Try failed stages once more."),
        click.option("--fail-fast", is_flag=True, help="Stop at the first failure."),
        click.option(
            "--disk-limit", help="Remove checkpoints that no stage needs when the store exceeds this, such as 2GB."
        ),
        click.option(
            "--stall-minutes", type=click.FloatRange(0.05), default=15.0, show_default=True,
            help="Stop a stage that makes no progress for this long.",
        ),
        click.option(
            "--checkpoint-minutes", type=click.FloatRange(0.01), default=5.0, show_default=True,
            help="Minutes between checkpoints within a phase.",
        ),
        click.option(
            "--no-accumulate", is_flag=True,
            help="Let a training that runs out of memory fail instead of accumulating gradients over smaller batches.",
        ),
        click.option("--memory-limit", help="Stop a stage whose process uses more memory than this, such as 8GB."),
    ]):  # fmt: skip
        with_options = decorate(with_options)
    return cast(Command, with_options)
