"""``promote GRID.toml --to SOURCE --out production.toml``: a cell of an ablation, on the full data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sota_bench.commands.options import load_grid, machine_of
from sota_bench.commands.sources import each_source

if TYPE_CHECKING:
    from sota_bench.data.counts import ImageCounts


@click.command()
@click.argument("grid", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, metavar="SOURCE", help="The full data set: imagenet, folder:PATH or any "
              "other source of a grid.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True,
              help="The grid file to write, such as production.toml.")  # fmt: skip
@click.option("--cell", help="The cell to promote (default: the confirmed winner, else the most accurate one).")
@click.option("--with-baseline", is_flag=True, help="Also train the baseline, for comparison.")
@click.option("--batch-size", type=click.IntRange(2), help="Images per step (default: scaled with the data).")
@click.option("--epochs", type=click.IntRange(1), help="Total epochs (default: those of the cell).")
@click.option("--change", "changes", multiple=True, metavar="FIELD=VALUE", help="Change a recipe field; repeatable.")
@click.option("--store", type=click.Path(path_type=Path), default=Path(".sota_bench"), show_default=True,
              help="Folder with the finished stages of the ablation.")  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE",
              help="Override a key of the grid, as in the ablation's run; repeatable.")  # fmt: skip
@click.option("--seeds", help="Seeds of the ablation's run, if they were given there.")
@click.option("--device", default="", help="Device that the expected hours are for: auto, cpu or cuda[:i].")
@click.option("--no-calibrate", is_flag=True, help="Measure nothing; predict hours from earlier calibrations only.")
@each_source(one=True)
def command(
    grid: Path, target: str, out: Path, cell: str | None, with_baseline: bool, batch_size: int | None,
    epochs: int | None, changes: tuple[str, ...], store: Path, overrides: tuple[str, ...], seeds: str | None,
    device: str, no_calibrate: bool,
) -> int:  # fmt: skip
    """Write the grid that trains the best cell of an ablation on the full data set.

    Batch size, learning rate and schedule are scaled by published rules. Notes say what the ablation does not show;
    they never stop the command.
    """
    from sota_bench.commands.stored import stored_run
    from sota_bench.data.counts import ImageCounts
    from sota_bench.errors import UserError
    from sota_bench.files import write_text
    from sota_bench.report.answers import answers_of
    from sota_bench.report.effects import effects
    from sota_bench.report.view import View
    from sota_bench.ship.choose import chosen_cell
    from sota_bench.ship.evidence import gaps
    from sota_bench.ship.promote import Wishes, commands, cost, production, production_file

    wishes = Wishes(batch_size, epochs, _changes(changes))
    loaded = load_grid(grid, overrides, seeds, None, writes=False)
    machine = machine_of(store, device, 0, writes=False, grid=loaded)
    collector = stored_run(loaded, grid, machine)
    tables, resolved = collector.tables(), collector.plan.grid
    promoted = chosen_cell(resolved, tables, cell)
    subset = collector.plan.images.subset(collector.plan.images.choice(promoted.recipe, "main"))
    sizes = subset.sizes()
    ablation = ImageCounts(sizes["train"], sizes["select"], len(subset.classes))
    source, full, missing = _full(target)
    made = production(resolved, promoted, ablation, full, wishes)
    confirmation = tables.run.confirmation
    shown = effects(View(tables, answers_of(tables)))
    limits = [*missing, *gaps(resolved, promoted, made.changed, shown, confirmation, ablation, full)]
    own = tables.trials[tables.trials["cell"] == promoted.id]
    params = int(own["params"].max()) if own["params"].notna().any() else 0
    head = [
        f"Cell {promoted.id} of the grid {resolved.name} on {target}, written by `python -m sota_bench promote`.",
        ", ".join(f"{factor} {level}" for factor, level in promoted.text.items()),
    ]
    file = production_file(resolved, promoted, made, source, head, with_baseline)
    expected = []
    if full is not None:
        log = partial(click.echo, err=True)
        cost_of = cost(resolved, file, ablation, full, params, machine, not no_calibrate, log)
        expected = [cost_of.sentence()]
    rules = [f"{change.field}: {change.before} -> {change.after}, {change.rule}" for change in made.scaled]
    text = _with_comments(file.text(), head, [*expected, *(f"Note: {limit}" for limit in limits), *commands(out)])
    try:
        write_text(out, text)
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise UserError("--out", "", f"{out}: {problem}", "choose a file that you may write") from error
    click.echo("\n".join([*head, *rules, *expected]))
    for limit in limits:
        click.echo(f"note: {limit}", err=True)
    click.echo("\n".join([*commands(out), f"grid: {out}"]))
    return 0


def _changes(texts: tuple[str, ...]) -> dict[str, object]:
    """Recipe field -> value, read as ``--set recipe.FIELD=VALUE`` is."""
    from sota_bench.errors import UserError
    from sota_bench.grid.read import apply_overrides

    tables: dict[str, dict[str, object]] = {"recipe": {}}
    for text in texts:
        if "=" not in text or "." in text.partition("=")[0]:
            raise UserError("--change", "", f"{text!r} is not FIELD=VALUE", "write for example backbone=resnet50")
        apply_overrides(tables, [f"recipe.{text}"])
    return tables["recipe"]


def _full(target: str) -> tuple[str, ImageCounts | None, list[str]]:
    """The source as a grid names it, its size where it is known, and what is missing."""
    from sota_bench.data.counts import PUBLISHED, count_images
    from sota_bench.data.find import NAMED_DATASETS, open_source
    from sota_bench.errors import UserError
    from sota_bench.grid.tables import PATH_SOURCES, DataTable

    try:
        DataTable(source=target)
    except ValueError:
        raise UserError("--to", "", f"{target!r} is not a data source", "write imagenet or folder:PATH") from None
    kind, _, path = target.partition(":")
    source = f"{kind}:{Path(path).expanduser().absolute()}" if kind in PATH_SOURCES else target
    try:
        return source, count_images(open_source(source, download=False)), []
    except UserError as error:
        if target in PUBLISHED and target in NAMED_DATASETS:
            return source, PUBLISHED[target], [f"{target} is not on this machine, so its published size is used."]
        return source, None, [f"The full data set cannot be read here: {error.problem}."]


def _with_comments(text: str, head: list[str], comments: list[str]) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[: len(head)], *(f"# {comment}" for comment in comments), *lines[len(head) :]]) + "\n"
