"""``timing record|compare|gate``: is the project still as fast as it was?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sota_bench.errors import UserError

if TYPE_CHECKING:
    from sota_bench.regression.outcome import Outcome, Settings

Command = TypeVar("Command", bound=Callable[..., Any])

SUITE = "benchmarks/workloads.py"
HISTORY = Path("timing-history")


def _measuring_options(command: Command) -> Command:
    for decorate in reversed([
        click.option("--only", default="", metavar="NAMES", help="Workloads, such as 'training_*,store'."),
        click.option("--suite", default=SUITE, show_default=True, help="File of the workloads, inside the project."),
        click.option("--device", default="cpu", show_default=True, help="cpu or cuda[:i]."),
        click.option(
            "--seconds", type=click.FloatRange(0.01, 60), default=0.4, show_default=True,
            help="Each process times a workload for so long.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON."),
    ]):  # fmt: skip
        command = decorate(command)
    return command


@click.group()
def command() -> None:
    """Record, compare and gate the times of what must stay fast.

    Run it in the project's folder: the workloads are those of its benchmarks/workloads.py.
    """


@command.command()
@click.option("--base", metavar="REF", help="Revision or folder to compare with, such as origin/main.")
@click.option("--head", default=".", show_default=True, metavar="REF", help="Revision or folder that is judged.")
@_measuring_options
@click.option(
    "--blocks", type=click.IntRange(1, 50), default=4, show_default=True, help="Blocks of 4 processes a stage."
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.1, 100),
    default=5.0,
    show_default=True,
    help="The slow-down that matters, in percent.",
)
@click.option("--counts-only", is_flag=True, help="Exact counts alone; without --base against counts.json.")
@click.option("--times-only", is_flag=True, help="Times alone.")
@click.option("--accept", default="", metavar="NAMES", help="Workloads that may be missing or whose counts may change.")
@click.option("--write-counts", is_flag=True, help="Write the counts of this folder into counts.json, and stop.")
@click.option("--minutes", type=click.FloatRange(0, 600), default=0.0, help="No block begins after so many minutes.")
@click.option(
    "--on-void",
    type=click.Choice(["fail", "pass"]),
    default="fail",
    show_default=True,
    help="The exit code if nothing can be said: a disturbed machine, or no counts of this software to compare with.",
)
@click.option("--summary", type=click.Path(path_type=Path), help="Also append the table to this file, as Markdown.")
def gate(
    base: str | None, head: str, only: str, suite: str, device: str, seconds: float, as_json: bool, blocks: int,
    threshold: float, counts_only: bool, times_only: bool, accept: str, write_counts: bool, minutes: float,
    on_void: str, summary: Path | None,
) -> int:  # fmt: skip
    """Compare two revisions: fails (exit 3) on a slow-down that two independent stages confirm, or a changed count."""
    import tempfile

    from sota_bench.regression.counting import against_file
    from sota_bench.regression.gate import Gate
    from sota_bench.regression.outcome import Settings
    from sota_bench.regression.show import as_json as outcome_json
    from sota_bench.regression.show import markdown
    from sota_bench.regression.tree import export

    settings = Settings(
        _names(only), blocks, threshold / 100, seconds, _device(device), not counts_only, not times_only,
        _names(accept), minutes,
    )  # fmt: skip
    if counts_only and times_only:
        raise UserError("timing gate", "", "--counts-only and --times-only leave nothing", "give one of them")
    if write_counts:
        return _write_counts(settings, suite)
    if base is None and not counts_only:
        raise UserError("timing gate", "--base", "is missing", "name a revision, or compare counts with --counts-only")
    with tempfile.TemporaryDirectory(prefix="sota-bench-gate-") as folder:
        here = Path(folder)
        judged = export(Path.cwd(), head, here / "head")
        _check_suite(judged.folder / suite, suite)
        if base is None:
            outcome = against_file(judged, here, settings, _tell, suite)
        else:
            outcome = Gate(export(Path.cwd(), base, here / "base"), judged, here, settings, _tell, suite).run()
    text = markdown(outcome)
    click.echo(json.dumps(outcome_json(outcome), allow_nan=False) if as_json else text, nl=as_json)
    if summary is not None:
        _append(summary, text)
    return _exit_code(outcome, on_void)


def _exit_code(outcome: Outcome, on_void: str) -> int:
    return 3 if outcome.answer == "fail" or (outcome.answer == "void" and on_void == "fail") else 0


def _append(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise UserError("--summary", "", f"{file} cannot be written: {error}", "name another file") from error


def _write_counts(settings: Settings, suite: str) -> int:
    import tempfile

    from sota_bench.regression import counts as exact
    from sota_bench.regression.counting import count_tree
    from sota_bench.regression.tree import Tree

    file = Path.cwd() / suite
    _check_suite(file, suite)
    if settings.only:
        raise UserError("--write-counts", "", "writes all workloads", "leave --only out")
    with tempfile.TemporaryDirectory(prefix="sota-bench-gate-") as scratch:
        counted, failed = count_tree(Tree(Path.cwd(), "working tree"), Path(scratch), settings, _tell, suite)
    for name, why in failed.items():
        click.echo(f"{name} cannot be counted: {why}", err=True)
    if failed:
        return 3
    exact.write(file.with_name("counts.json"), settings.device, counted)
    click.echo(f"counts of {len(counted)} workloads for {exact.key(settings.device)}: {file.with_name('counts.json')}")
    return 0


@command.command()
@click.option("--history", type=click.Path(path_type=Path), default=HISTORY, show_default=True, help="Its folder.")
@_measuring_options
@click.option("--processes", type=click.IntRange(1, 50), default=5, show_default=True, help="Fresh processes.")
def record(history: Path, only: str, suite: str, device: str, seconds: float, as_json: bool, processes: int) -> int:
    """Measure this folder and add a line to its history, which is kept by CPU, cores, GPU and release of torch."""
    from sota_bench.regression.history import append
    from sota_bench.regression.recording import measure

    found, failed = measure(Path.cwd(), suite, _names(only), _device(device), seconds, processes, _tell)
    for name, why in failed.items():
        click.echo(f"{name} is left out: {why}", err=True)
    if not found.times:
        raise UserError("timing record", "", "nothing was measured", "see the lines above, or change --only")
    file = append(history, found)
    if as_json:
        click.echo(json.dumps(vars(found)))
    else:
        for name in found.times:
            click.echo(f"{name:32} {1000 * found.seconds(name):10.2f} ms")
        click.echo(f"history: {file}")
    return 1 if failed else 0


@command.command()
@click.option("--history", type=click.Path(path_type=Path), default=HISTORY, show_default=True, help="Its folder.")
@click.option("--only", default="", metavar="NAMES", help="Workloads, such as 'training_*,store'.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of timing.html (default: the history's).")
@click.option("--json", "as_json", is_flag=True, help="Print the histories as JSON.")
def compare(history: Path, only: str, out: Path | None, as_json: bool) -> int:
    """Show the history, with the records at which a time changed for good, and write it as a page."""
    from sota_bench.regression.history import read
    from sota_bench.regression.recording import series
    from sota_bench.report.output import write_files
    from sota_bench.report.timing_history import page

    records, bad = read(history)
    histories = {name: rows for name, lines in records.items() if (rows := series(lines, _names(only)))}
    if not histories:
        raise UserError("--history", "", f"{history} has no record of these", "`timing record` adds one")
    notes = [f"{bad} lines of the history cannot be read and are left out."] if bad else []
    folder = out or history
    write_files(folder, {"timing.html": page(histories, notes)})
    if as_json:
        click.echo(json.dumps(histories))
    else:
        _show(histories)
        for note in notes:
            click.echo(note, err=True)
        click.echo(f"page: {folder / 'timing.html'}")
    return 0


def _show(histories: dict[str, list[dict[str, Any]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    for machine, rows in histories.items():
        table = Table(box=None, header_style="bold", title=machine, title_justify="left")
        for column in ("workload", "ms", "before", "records", "steps"):
            table.add_column(column, justify="left" if column in ("workload", "steps") else "right")
        for row in rows:
            seconds = row["seconds"]
            before = f"{100 * (seconds[-1] / seconds[-2] - 1):+.1f}%" if len(seconds) > 1 else ""
            steps = "; ".join(f"{100 * step['change']:+.1f}% at {step['at']}" for step in row["steps"])
            table.add_row(row["workload"], f"{1000 * seconds[-1]:.2f}", before, str(len(seconds)), steps)
        Console().print(table)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _device(text: str) -> str:
    from sota_bench.plan.environment import detect

    return "cpu" if text == "cpu" else detect(text, 1).device


def _check_suite(file: Path, suite: str) -> None:
    if not file.is_file():
        raise UserError("--suite", "", f"there is no {suite} here", "run it in the project's folder, or name the file")


def _tell(line: str) -> None:
    click.echo(line, err=True)
