"""The command line: finds a command's module, runs it, and turns every failure into one line and an exit code.

Exit codes: 0 done; 1 some trials failed, or an internal error; 2 bad input; 3 a gate or goal is not met; 130
interrupted.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import click

from sota_bench.errors import UserError, disk_is_full
from sota_bench.interrupts import INTERRUPTED, LINE, interruptible
from sota_bench.streams import protect, use_utf8

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {
    "run": "Train the trials that a grid still needs and render its report.",
    "plan": "Show the cells and stages of a grid, what is reused, and how long it takes; trains nothing.",
    "report": "Render the report again from the stored results; trains nothing.",
    "status": "Show what is done, running, failed, blocked and left.",
    "analyze": "Compute contrasts, intervals and verdicts for a table of your own.",
    "timing": "Record, compare and gate the time of an iteration.",
    "data": "Show what is in a data set: files, classes, splits, skipped files, near-duplicates.",
    "curate": "Find wrong labels, outliers and copies in a data set, and keep a small part of it.",
    "confirm": "Train the best cell with fresh seeds, and evaluate it on images that did not select it.",
    "fidelity": "Find the least data, the smallest images or the fewest epochs that rank the cells alike.",
    "verify": "Check a finished run: digests, metrics, and a sample of trials trained again.",
    "export": "Write a trained trial as a folder that timm loads, with input statistics and a model card.",
    "predict": "Predict the class of images with an exported model.",
    "promote": "Write the grid that trains the best cell on the full data set, with scaled settings and its cost.",
    "init": "Write a commented grid to start from.",
    "list": "Show techniques, recipe fields, data sources and small backbones.",
    "doctor": "Show what this machine has and what would make it faster.",
}
"""Every command in the order of the help page."""

DEBUG = "SOTA_BENCH_DEBUG"


class LazyGroup(click.Group):
    """A group whose commands are loaded when they are called, so that ``--help`` starts at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name, or None."""
        if name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"sota_bench.commands.{name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command, and names the nearest one when there is none.

        Raises:
            click.UsageError: there is no such command.
        """
        from sota_bench.grid.nearest import did_you_mean

        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            remedy = did_you_mean(args[0], names, "the commands are " + ", ".join(names))
            raise click.UsageError(f"there is no command {args[0][:80]!r}; {remedy}", ctx)
        return super().resolve_command(ctx, args)


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            installed = version("sota-bench")
        except PackageNotFoundError:
            installed = "(not installed)"
        click.echo(f"sota-bench {installed}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `init`, then `plan`, then `run`. Exit codes: 0 done, 1 some trials failed, 2 bad input, "
    "3 a timing gate or a goal failed, 130 interrupted.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="The version.")
def cli() -> None:
    """Find out which training techniques help on your images, in minutes per iteration and with sound statistics."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the command line without the program's name; ``sys.argv`` by default.

    Returns:
        The exit code.
    """
    args = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with interruptible():
            return _run(args)
    except KeyboardInterrupt:  # a second one, while the first was being reported
        return INTERRUPTED


def program() -> NoReturn:
    """Run the command of this process and exit with its code.

    Planning makes many objects that stay and hardly any cyclic garbage, so the collector runs less often than by
    default: 10,000 cells take a third less time to plan.
    """
    gc.set_threshold(50_000, 20, 20)
    use_utf8()
    protect()
    code = main()
    with suppress(OSError):
        sys.stdout.flush()
    sys.exit(code)


def _run(args: list[str]) -> int:
    try:
        # Not click's own main(): it prints a line of its own when interrupted, and ends the process on a broken pipe.
        with cli.make_context("sota-bench", args) as context:
            answer = cli.invoke(context)
        sys.stdout.flush()
        return answer if isinstance(answer, int) and not isinstance(answer, bool) else 0
    except click.exceptions.Exit as left:
        return left.exit_code
    except UserError as error:
        return _fail(str(error), 2)
    except click.UsageError as error:
        return _fail(_usage_line(error), 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        return _fail(LINE, INTERRUPTED)
    except SystemExit:
        raise
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        return _fail(_system_line(error), 2) if isinstance(error, OSError) else _internal(error)


def _usage_line(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx is not None else "sota-bench"
    message = error.format_message().rstrip(".")
    remedy = "" if "; " in message else f"; `{command} --help` shows how"
    return f"{command}: {message}{remedy}"


def _system_line(error: OSError) -> str:
    """What the operating system refuses, where, and what would help."""
    location = f"{error.filename}: " if error.filename else ""
    remedy = "free some space" if disk_is_full(error) else "fix this"
    return f"{location}{error.strerror or error or type(error).__name__}; {remedy} and run the same command again"


def _fail(line: str, code: int) -> int:
    text = " ".join(line.split())
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    with suppress(OSError):  # the exit code says it all the same
        click.echo(safe.encode(sys.stderr.encoding or "utf-8", "backslashreplace"), err=True)
    return code


def _internal(error: Exception) -> int:
    try:
        where = f"the traceback is in {_write_traceback(error)}"
    except OSError:
        where = f"{DEBUG}=1 shows the traceback"
    return _fail(f"internal error, please report it: {type(error).__name__}: {str(error)[:300]}; {where}", 1)


def _write_traceback(error: Exception) -> Path:
    import tempfile
    import traceback
    from pathlib import Path

    with tempfile.NamedTemporaryFile("w", prefix="sota-bench-", suffix=".log", delete=False, encoding="utf-8") as log:
        log.write("".join(traceback.format_exception(error)))
    return Path(log.name)
