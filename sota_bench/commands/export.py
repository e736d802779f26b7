"""``export GRID.toml --out DIR``: a trained trial as a folder that timm opens."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of
from sota_bench.commands.sources import each_source

if TYPE_CHECKING:
    from sota_bench.ship.facts import TrialFacts


@click.command()
@partial(grid_options, out_help="The folder to write; required without --to.")
@click.option("--trial", default="best", show_default=True, help="A trial, a cell, or best: the cell with the best "
              "mean of the grid's response on the select split, and its best trial.")  # fmt: skip
@click.option("--onnx", is_flag=True, help="Also write model.onnx, checked against torch.")
@click.option("--to", "target", metavar="hub:NAME", help="Upload the folder as a model repository, with "
              "huggingface_hub; a new one is private.")  # fmt: skip
@click.option("--license", "licence", default="", help="Licence of the weights for the model card, such as apache-2.0.")
@each_source(one=True)
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, trial: str, onnx: bool, target: str | None, licence: str,
) -> int:  # fmt: skip
    """Write a trained trial as a folder with its weights, input statistics, recipe and model card.

    timm opens the folder: timm.create_model("local-dir:DIR", pretrained=True).
    """
    from sota_bench.commands.stored import stored_run
    from sota_bench.errors import UserError
    from sota_bench.ship.choose import trial_facts
    from sota_bench.ship.hub import repository_name, upload

    name = repository_name(target) if target else ""
    if out is None and not name:
        raise UserError("--out", "", "no folder is named", "write --out DIR, or --to hub:NAME")
    resolved = load_grid(grid, overrides, seeds, None, writes=False)
    collector = stored_run(resolved, grid, machine_of(store, device, workers, writes=False))
    facts, checkpoint = trial_facts(collector, trial, licence)
    with tempfile.TemporaryDirectory(prefix="sota-bench-") as temporary:
        folder = out or Path(temporary) / "bundle"
        _write(facts, collector.store.folder(checkpoint), folder, onnx)
        if name:
            click.echo(f"uploaded: {upload(folder, name, f'Trial {facts.trial} of the grid {facts.grid}')}")
    if out is not None:
        click.echo(f"bundle: {out}")
    return 0


def _write(facts: TrialFacts, checkpoint: Path, folder: Path, onnx: bool) -> None:
    from sota_bench.ship.export import export

    bundle = export(facts, checkpoint, folder)
    click.echo(f"trial {facts.trial}: {facts.scores.accuracy:.2f}% on the select split, {facts.params:,} parameters")
    if onnx:
        from sota_bench.ship.onnx import export_onnx

        difference = export_onnx(bundle)
        click.echo(f"model.onnx: its logits differ from torch's by at most {difference:.1g}")
