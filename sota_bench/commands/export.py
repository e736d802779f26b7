"""``export GRID.toml --out DIR``: a trained trial as a folder that timm opens."""

from __future__ import annotations

from pathlib import Path

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of


@click.command()
@grid_options
@click.option("--trial", default="best", show_default=True, help="A trial, a cell, or best: the cell with the highest "
              "mean accuracy on the select split, and its most accurate trial.")  # fmt: skip
@click.option("--onnx", is_flag=True, help="Also write model.onnx, checked against torch.")
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, trial: str, onnx: bool,
) -> int:  # fmt: skip
    """Write a trained trial as a folder with its weights, input statistics, recipe and model card.

    timm opens the folder: timm.create_model("local-dir:DIR", pretrained=True).
    """
    from sota_bench.commands.report import stored_run
    from sota_bench.errors import UserError
    from sota_bench.ship.choose import trial_facts

    if out is None:
        raise UserError("--out", "", "no folder is named", "write --out DIR")
    resolved = load_grid(grid, overrides, seeds, None, writes=False)
    collector = stored_run(resolved, grid, machine_of(store, device, workers, writes=False))
    facts, checkpoint = trial_facts(collector, trial)
    from sota_bench.ship.export import export

    bundle = export(facts, collector.store.folder(checkpoint), out)
    click.echo(f"trial {facts.trial}: {facts.scores.accuracy:.2f}% on the select split, {facts.params:,} parameters")
    if onnx:
        from sota_bench.ship.onnx import export_onnx

        difference = export_onnx(bundle)
        click.echo(f"model.onnx: its logits differ from torch's by at most {difference:.1g}")
    click.echo(f"bundle: {out}")
    return 0
