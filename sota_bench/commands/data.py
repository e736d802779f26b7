"""``data``: what is in a data set, before anything trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sota_bench.commands.reading import reading_options, source_of
from sota_bench.errors import printable

if TYPE_CHECKING:
    from sota_bench.data.account import Account
    from sota_bench.data.options import ReadingOptions

_MOST_CLASSES = 40
_MOST_COPIES = 5


@click.command()
@click.argument("source")
@click.option("--path", type=click.Path(path_type=Path),
              help="Where a source known by name lies, if it is not found automatically.")  # fmt: skip
@click.option("--all", "show_all", is_flag=True, help="List every class and every file that is left out.")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON.")
@reading_options
def command(source: str, path: Path | None, show_all: bool, as_json: bool, reading: ReadingOptions) -> int:
    """Show what is in a data set: files, classes, splits, what is left out and why, near-duplicates.

    SOURCE is a folder, an archive, or any value of data.source, such as imagenette or folder:PATH.
    """
    from sota_bench.data.account import account_of
    from sota_bench.data.find import open_source

    account = account_of(open_source(source_of(source), path, options=reading).scan())
    if as_json:
        click.echo(json.dumps(account.contract(), ensure_ascii=True))
    else:
        _show(account, show_all)
    return 0


def _show(account: Account, show_all: bool) -> None:
    from sota_bench.units import counted

    sizes = account.sizes()
    _print(
        f"{account.name}: {counted(account.used, 'image')} of {counted(account.files, 'file')} in "
        f"{counted(len(account.classes), 'class', 'classes')}: {sizes['train']:,} train, {sizes['select']:,} select, "
        f"{sizes['test']:,} test."
    )
    for note in account.notes:
        _print(f"{note[0].upper()}{note[1:]}.")
    names = list(account.classes) if show_all else list(account.classes)[:_MOST_CLASSES]
    width = max(len("class"), *(len(name) for name in names))
    _print()
    _print(f"{'class':<{width}}  {'train':>8}  {'select':>8}  {'test':>8}")
    for name in names:
        counts = account.classes[name]
        _print(f"{name:<{width}}  {counts['train']:>8,}  {counts['select']:>8,}  {counts['test']:>8,}")
    if len(names) < len(account.classes):
        _print(f"... and {len(account.classes) - len(names):,} more classes; --all shows them")
    if account.left_out:
        _print()
        _print("Left out:")
        for reason, count in account.left_out.items():
            example = next((file["path"] for file in account.left_out_files if file["reason"].startswith(reason)), "")
            _print(f"  {count:>8,}  {reason}" + (f", such as {example}" if example and not show_all else ""))
    if show_all:
        for file in account.left_out_files:
            _print(f"            {file['path']}: {file['reason']}")
    if account.near_copies:
        _print()
        _print(f"{counted(len(account.near_copies), 'group')} of near-duplicates:")
        for group in account.near_copies if show_all else account.near_copies[:_MOST_COPIES]:
            _print(f"  {', '.join(group)}")
    for alarm in account.alarms:
        _print()
        _print(alarm, "yellow")


def _print(line: str = "", colour: str | None = None) -> None:
    """A line without control characters, whatever files are called."""
    click.secho(printable(line), fg=colour)
