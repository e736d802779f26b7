"""``init``: writes a commented grid to start from."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sota_bench.errors import UserError


@click.command("init", short_help="Write a commented grid to start from.")
@click.argument("path", type=click.Path(path_type=Path), default=Path("grid.toml"))
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@click.option("--data", "source", metavar="SOURCE", default="known-effects", show_default=True, help="The data source.")
def command(path: Path, force: bool, source: str) -> None:
    """Write a commented grid to PATH (grid.toml when it is left out).

    Every key is explained and holds its default. The grid runs as it is, on images that sota_bench renders itself;
    --data names photographs instead: imagenette, imagewoof, imagenet, torchvision:NAME, folder:PATH or archive:PATH.
    """
    from pydantic import ValidationError

    from sota_bench.grid.explain import explain
    from sota_bench.grid.names import safe_name
    from sota_bench.grid.tables import DataTable
    from sota_bench.grid.template import template

    try:
        DataTable(source=source)
    except ValidationError as error:
        raise UserError("--data", "", *explain(DataTable, error)[1]) from error
    target = path / "grid.toml" if os.path.isdir(path) else path  # noqa: PTH112 (Path.is_dir raises for long names)
    try:
        text = template(safe_name(target.stem), source, target.name)
    except ValueError as error:
        problem, _, remedy = str(error).partition("; ")
        raise UserError(str(target), "", problem, remedy) from error
    try:
        with target.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(str(target), "", "the file exists", "name another one, or add --force") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(str(target), "", f"cannot be written ({reason})", "name a file in a folder of yours") from error
    click.echo(f"wrote {target}; next: python -m sota_bench plan {target}")
