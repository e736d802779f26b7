"""``predict BUNDLE PATH...``: what an exported model says about images."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sota_bench.ship.records import WRITERS, Records

if TYPE_CHECKING:
    from sota_bench.ship.predict import Prediction


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1)
@click.option("--tta", help="Test-time augmentation instead of the bundle's own: a level such as off or flip.")
@click.option("--top", type=click.IntRange(1, 1000), default=3, show_default=True, help="Classes shown for each image.")
@click.option(
    "--format", "form", type=click.Choice(list(WRITERS)), default="table", show_default=True, help="Output format."
)
@click.option("--onnx", is_flag=True, help="Compute with ONNX Runtime, from the bundle's model.onnx.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:i].")
@click.option("--serve", is_flag=True, help="Serve a web page to drop photographs on, instead of reading PATHS.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that --serve listens on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port of --serve; 0 takes "
              "a free one.")  # fmt: skip
def command(
    bundle: Path, paths: tuple[str, ...], tta: str | None, top: int, form: str, onnx: bool, device: str, serve: bool,
    host: str, port: int,
) -> int:  # fmt: skip
    """Predict the class of images with an exported model.

    PATHS are image files, folders, archives, or - for a list of files on standard input. A file that cannot be read is
    named, the others are predicted, and the exit code is 1.
    """
    from sota_bench.errors import UserError
    from sota_bench.plan.environment import detect
    from sota_bench.ship.bundle import read_bundle
    from sota_bench.ship.files import image_files

    if serve and paths:
        raise UserError("predict", "PATHS", "--serve takes its images from the page", "leave PATHS out")
    if not serve and not paths:
        raise UserError("predict", "PATHS", "no image is named", "write PATHS, or --serve for a web page")
    opened = read_bundle(bundle)
    environment = detect("cpu" if onnx else device, 1)
    if serve:
        from sota_bench.ship.serve import require

        require()
    from sota_bench.ship.predict import Predictor

    predictor = Predictor(opened, environment.device, {} if tta is None else {"tta": tta}, onnx)
    if serve:
        from sota_bench.ship.serve import run_server

        run_server(predictor, top, host, port)
        return 0
    records = Records(_counted(predictor(image_files(paths, sys.stdin))), opened.classes, top)
    WRITERS[form](records, sys.stdout, sys.stderr)
    return 1 if records.failed else 0


def _counted(predictions: Iterator[Prediction]) -> Iterator[Prediction]:
    """The same, with their number on standard error where that is a terminal."""
    from time import perf_counter

    from rich.console import Console

    console, started = Console(stderr=True), perf_counter()
    if not console.is_terminal:
        yield from predictions
        return
    with console.status("0 images") as status:
        for number, prediction in enumerate(predictions, 1):
            status.update(f"{number:,} images, {number / (perf_counter() - started):,.0f} per second")
            yield prediction
