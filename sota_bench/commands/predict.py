"""``predict BUNDLE PATH...``: what an exported model says about images."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from sota_bench.ship.predict import Prediction

FORMATS = ("table", "csv", "json", "jsonl")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True)
@click.option("--tta", help="Test-time augmentation instead of the bundle's own: a level such as off or flip.")
@click.option("--top", type=click.IntRange(1, 1000), default=3, show_default=True, help="Classes shown for each image.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="Output format.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:i].")
def command(bundle: Path, paths: tuple[str, ...], tta: str | None, top: int, form: str, device: str) -> int:
    """Predict the class of images with an exported model.

    PATHS are image files, folders, .tar or .zip archives, or - for a list of files on standard input. A file that
    cannot be read is named, the others are predicted, and the exit code is 1.
    """
    from sota_bench.plan.environment import detect
    from sota_bench.ship.bundle import read_bundle
    from sota_bench.ship.files import image_files

    opened = read_bundle(bundle)
    environment = detect(device, 1)
    from sota_bench.ship.predict import Predictor

    predictor = Predictor(opened, environment.device, {} if tta is None else {"tta": tta})
    predictions = _counted(predictor(image_files(paths, sys.stdin)))
    failed = PRINTERS[form](predictions, opened.classes, top, sys.stdout)
    return 1 if failed else 0


def _counted(predictions: Iterator[Prediction]) -> Iterator[Prediction]:
    """The same, with their number on standard error where that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield from predictions
        return
    with console.status("0 images") as status:
        for number, prediction in enumerate(predictions, 1):
            status.update(f"{number:,} images")
            yield prediction


def _top(prediction: Prediction, classes: Sequence[str], count: int) -> dict[str, float]:
    order = (-prediction.probabilities).argsort(kind="stable")[:count]
    return {classes[index]: round(float(prediction.probabilities[index]), 6) for index in order}


def _record(prediction: Prediction, classes: Sequence[str], count: int) -> dict[str, object]:
    if prediction.error:
        return {"path": prediction.path, "error": prediction.error}
    top = _top(prediction, classes, count)
    best, probability = next(iter(top.items()))
    return {"path": prediction.path, "class": best, "probability": probability, "top": top}


def _print_table(predictions: Iterator[Prediction], classes: Sequence[str], count: int, out: TextIO) -> int:
    failed = 0
    for prediction in predictions:
        if prediction.error:
            failed += 1
            click.echo(f"{prediction.path}: not predicted: {prediction.error}", err=True)
        else:
            shown = ", ".join(f"{name} {share:.1%}" for name, share in _top(prediction, classes, count).items())
            print(f"{prediction.path}: {shown}", file=out)
    return failed


def _print_csv(predictions: Iterator[Prediction], classes: Sequence[str], count: int, out: TextIO) -> int:
    failed = 0
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "class", "probability", "top", "error"])
    for prediction in predictions:
        row = _record(prediction, classes, count)
        failed += "error" in row
        top = json.dumps(row["top"]) if "top" in row else ""
        writer.writerow([row["path"], row.get("class", ""), row.get("probability", ""), top, row.get("error", "")])
    return failed


def _print_json(predictions: Iterator[Prediction], classes: Sequence[str], count: int, out: TextIO) -> int:
    """A list, written as it grows: any number of images fits into memory."""
    failed, separator = 0, "["
    for prediction in predictions:
        row = _record(prediction, classes, count)
        failed += "error" in row
        print(separator + "\n " + json.dumps(row), end="", file=out)
        separator = ","
    print("[]" if separator == "[" else "\n]", file=out)
    return failed


def _print_jsonl(predictions: Iterator[Prediction], classes: Sequence[str], count: int, out: TextIO) -> int:
    failed = 0
    for prediction in predictions:
        row = _record(prediction, classes, count)
        failed += "error" in row
        print(json.dumps(row), file=out)
    return failed


PRINTERS = {"table": _print_table, "csv": _print_csv, "json": _print_json, "jsonl": _print_jsonl}
