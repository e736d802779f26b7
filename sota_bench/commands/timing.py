"""``timing record|compare|gate``: is a repository still as fast as it was?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sota_bench.errors import UserError

if TYPE_CHECKING:
    from sota_bench.regression.outcome import GateOutcome, GateSettings
    from sota_bench.regression.recording import Series

Command = TypeVar("Command", bound=Callable[..., Any])

SUITE = "benchmarks/workloads.py"
HISTORY = Path("timing-history")


def _measuring_options(command: Command) -> Command:
    for decorate in reversed([
        click.option("--only", default="", metavar="NAMES", help="Workloads, such as 'training_*,store'."),
        click.option(
            "--suite", default=SUITE, show_default=True, metavar="FILE",
            help="The suite of workloads, a path inside the repository.",
        ),
        click.option("--device", default="cpu", show_default=True, help="cpu or cuda[:i]."),
        click.option(
            "--seconds", type=click.FloatRange(0.01, 60), default=0.4, show_default=True,
            help="How long each process times a workload.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON."),
    ]):  # fmt: skip
        command = decorate(command)
    return command


@click.group()
def command() -> None:
    """Record, compare and gate the times of any repository.

    Run it in the repository's folder, with a suite of workloads: a Python file with WORKLOADS, a mapping from names to
    functions. `timing gate --help` shows one.
    """


@command.command()
@click.option("--base", metavar="REF", help="Revision or folder to compare with, such as origin/main.")
@click.option("--head", default=".", show_default=True, metavar="REF", help="Revision or folder to judge.")
@_measuring_options
@click.option(
    "--blocks", type=click.IntRange(1, 50), default=4, show_default=True, help="Blocks of 4 processes in a round."
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.1, 100),
    default=5.0,
    show_default=True,
    help="The slow-down that matters, in percent.",
)
@click.option(
    "--counts-only", is_flag=True, help="Compare exact counts only; without --base, with counts.json beside the suite."
)
@click.option("--times-only", is_flag=True, help="Compare times only.")
@click.option("--accept", default="", metavar="NAMES", help="Workloads that may be missing or whose counts may change.")
@click.option(
    "--write-counts", is_flag=True, help="Write the counts of this folder into counts.json beside the suite, and stop."
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, 600),
    default=0.0,
    help="Start no further block after this many minutes; 0 for no limit.",
)
@click.option(
    "--on-void",
    type=click.Choice(["fail", "pass"]),
    default="fail",
    show_default=True,
    help="What to exit with if no answer is possible: a disturbed machine, or no committed counts for this software.",
)
@click.option("--summary", type=click.Path(path_type=Path), help="Also append the table to this file, as Markdown.")
def gate(
    base: str | None, head: str, only: str, suite: str, device: str, seconds: float, as_json: bool, blocks: int,
    threshold: float, counts_only: bool, times_only: bool, accept: str, write_counts: bool, minutes: float,
    on_void: str, summary: Path | None,
) -> int:  # fmt: skip
    """Compare two revisions of a repository: fails (exit code 3) on a slow-down that two independent rounds confirm,
    or on a changed count.

    The suite of the head measures both revisions. It is a Python file such as

    \b
        def prepare_parse(scratch, device):
            from mypackage import parse
            text = "1 2 3 " * 10_000
            def run(lap):
                lap()                 # the first piece of work begins
                for _ in range(5):
                    parse(text)
                    lap()             # a piece of work has ended
            return run

    \b
        WORKLOADS = {"parse": prepare_parse}

    Instead of a function, a workload may be an object with the method `prepare` and the attributes `control` (no change
    can touch it: if its time moves, the machine was disturbed), `timed`, and `counts` ("operations" counts what torch
    computes, "graphs" what torch.compile traces). Packages are imported from the root of each revision, or from src/.
    """
    import tempfile

    from sota_bench.regression.counting import compare_with_file
    from sota_bench.regression.gate import Gate
    from sota_bench.regression.outcome import GateSettings
    from sota_bench.regression.process import MeasuringFailed
    from sota_bench.regression.show import as_json as outcome_json
    from sota_bench.regression.show import markdown
    from sota_bench.regression.tree import export

    settings = GateSettings(
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
        scratch = Path(folder)
        head_tree = export(Path.cwd(), head, scratch / "head")
        _check_suite(head_tree.folder / suite, suite)
        base_tree = None if base is None else export(Path.cwd(), base, scratch / "base")
        try:
            if base_tree is None:
                outcome = compare_with_file(head_tree, scratch, settings, _log, suite)
            else:
                outcome = Gate(base_tree, head_tree, scratch, settings, _log, suite).run()
        except MeasuringFailed as error:
            raise _unreadable(suite, error) from error
    text = markdown(outcome)
    click.echo(json.dumps(outcome_json(outcome), allow_nan=False) if as_json else text, nl=as_json)
    if summary is not None:
        _append(summary, text)
    return _exit_code(outcome, on_void)


def _exit_code(outcome: GateOutcome, on_void: str) -> int:
    return 3 if outcome.answer == "fail" or (outcome.answer == "void" and on_void == "fail") else 0


def _append(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise UserError("--summary", "", f"{file} cannot be written: {error}", "name another file") from error


def _write_counts(settings: GateSettings, suite: str) -> int:
    import tempfile

    from sota_bench.regression import counts as exact
    from sota_bench.regression.counting import count_tree
    from sota_bench.regression.process import MeasuringFailed
    from sota_bench.regression.tree import Tree

    file = Path.cwd() / suite
    _check_suite(file, suite)
    if settings.only:
        raise UserError("--write-counts", "", "writes the counts of all workloads", "leave --only out")
    with tempfile.TemporaryDirectory(prefix="sota-bench-gate-") as scratch:
        try:
            counted = count_tree(Tree(Path.cwd(), "working tree"), Path(scratch), settings, _log, suite)
        except MeasuringFailed as error:
            raise _unreadable(suite, error) from error
    for name, reason in counted.failed.items():
        click.echo(f"{name} cannot be counted: {reason}", err=True)
    if counted.failed:
        return 3
    counts_file, software = file.with_name("counts.json"), exact.software_key(settings.device)
    exact.write(counts_file, settings.device, counted.counts)
    workloads = "1 workload" if len(counted.counts) == 1 else f"{len(counted.counts)} workloads"
    click.echo(f"wrote the counts of {workloads} with {software}: {counts_file}")
    return 0


@command.command()
@click.option("--history", type=click.Path(path_type=Path), default=HISTORY, show_default=True, help="Its folder.")
@_measuring_options
@click.option("--processes", type=click.IntRange(1, 50), default=5, show_default=True, help="Processes to measure in.")
def record(history: Path, only: str, suite: str, device: str, seconds: float, as_json: bool, processes: int) -> int:
    """Measure this folder and append a record to its history, which is kept by CPU, cores, GPU and release of torch."""
    from sota_bench.regression.history import append
    from sota_bench.regression.outcome import GateSettings
    from sota_bench.regression.process import MeasuringFailed
    from sota_bench.regression.recording import measure

    settings = GateSettings(_names(only), seconds=seconds, device=_device(device))
    try:
        timing, failed = measure(Path.cwd(), suite, settings, processes, _log)
    except MeasuringFailed as error:
        raise _unreadable(suite, error) from error
    for name, reason in failed.items():
        click.echo(f"{name} is left out: {reason}", err=True)
    if not timing.times:
        raise UserError("timing record", "", "nothing was measured", "see the lines above, or change --only")
    file = append(history, timing)
    if as_json:
        click.echo(json.dumps(vars(timing)))
    else:
        for name in timing.times:
            click.echo(f"{name:32} {1000 * timing.seconds(name):10.2f} ms")
        click.echo(f"history: {file}")
    return 1 if failed else 0


@command.command()
@click.option("--history", type=click.Path(path_type=Path), default=HISTORY, show_default=True, help="Its folder.")
@click.option("--only", default="", metavar="NAMES", help="Workloads, such as 'training_*,store'.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for timing.html (default: the history's folder).")
@click.option("--json", "as_json", is_flag=True, help="Print the histories as JSON.")
def compare(history: Path, only: str, out: Path | None, as_json: bool) -> int:
    """Show the history, with the records at which a time changed for good, and write it as a page."""
    from sota_bench.regression.history import read
    from sota_bench.regression.recording import series_of
    from sota_bench.report.files import write_files
    from sota_bench.report.timing_history import page

    records, unreadable = read(history)
    histories = {name: series for name, lines in records.items() if (series := series_of(lines, _names(only)))}
    if not histories:
        raise UserError("--history", "", f"{history} has no record of these workloads", "`timing record` adds one")
    lines = "1 line" if unreadable == 1 else f"{unreadable} lines"
    notes = [f"{lines} of the history cannot be read and are left out."] if unreadable else []
    folder = out or history
    write_files(folder, {"timing.html": page(histories, notes)})
    if as_json:
        click.echo(
            json.dumps({name: [series.as_json() for series in workloads] for name, workloads in histories.items()})
        )
    else:
        _show(histories)
        for note in notes:
            click.echo(note, err=True)
        click.echo(f"page: {folder / 'timing.html'}")
    return 0


def _show(histories: dict[str, list[Series]]) -> None:
    from rich.console import Console
    from rich.table import Table

    for machine, workloads in histories.items():
        table = Table(box=None, header_style="bold", title=machine, title_justify="left")
        for column in ("workload", "ms", "before", "records", "lasting changes"):
            table.add_column(column, justify="left" if column in ("workload", "lasting changes") else "right")
        for series in workloads:
            seconds = series.seconds
            before = f"{100 * (seconds[-1] / seconds[-2] - 1):+.1f}%" if len(seconds) > 1 else ""
            changes = "; ".join(f"{100 * c.change:+.1f}% at {series.titles[c.index]}" for c in series.changes)
            table.add_row(series.workload, f"{1000 * seconds[-1]:.2f}", before, str(len(seconds)), changes)
        Console().print(table)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _device(text: str) -> str:
    from sota_bench.plan.environment import detect

    return "cpu" if text == "cpu" else detect(text, 1).device


def _check_suite(file: Path, suite: str) -> None:
    if not file.is_file():
        raise UserError("--suite", "", f"there is no {suite} here", "run it in the project's folder, or name the file")


def _unreadable(suite: str, error: Exception) -> UserError:
    """A suite that cannot be imported, as one line."""
    return UserError("--suite", "", f"{suite} cannot be measured: {error}", "see `timing gate --help` for a suite")


def _log(line: str) -> None:
    click.echo(line, err=True)
