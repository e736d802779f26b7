"""Predictions as records, and records as text: a table, CSV, JSON or JSON lines. No torch here."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from sota_bench.ship.predict import Prediction

Record = dict[str, object]
"""``path``, and either ``class``, ``probability`` and ``top`` (class -> probability), or ``error``."""


def record(prediction: Prediction, classes: Sequence[str], count: int) -> Record:
    """A prediction as JSON values.

    Args:
        prediction: of one file.
        classes: names, in the order of its probabilities.
        count: how many classes ``top`` has at most.
    """
    if prediction.error:
        return {"path": prediction.path, "error": prediction.error}
    order = (-prediction.probabilities).argsort(kind="stable")[:count]
    top = {classes[index]: round(float(prediction.probabilities[index]), 6) for index in order}
    best, probability = next(iter(top.items()))
    return {"path": prediction.path, "class": best, "probability": probability, "top": top}


class Records:
    """The records of a stream of predictions, one at a time.

    Attributes:
        failed: how many of those that were taken so far have no prediction.
    """

    def __init__(self, predictions: Iterable[Prediction], classes: Sequence[str], count: int) -> None:
        self._predictions, self._classes, self._count = predictions, classes, count
        self.failed = 0

    def __iter__(self) -> Iterator[Record]:
        for prediction in self._predictions:
            self.failed += bool(prediction.error)
            yield record(prediction, self._classes, self._count)


def write_table(records: Iterable[Record], out: TextIO, errors: TextIO) -> None:
    """A line per image; files without a prediction go to ``errors``."""
    for row in records:
        if "error" in row:
            print(f"{row['path']}: not predicted: {row['error']}", file=errors)
        else:
            top: dict[str, float] = row["top"]  # type: ignore[assignment]
            shares = ", ".join(f"{name} {share:.1%}" for name, share in top.items())
            print(f"{row['path']}: {shares}", file=out)


def write_csv(records: Iterable[Record], out: TextIO, errors: TextIO) -> None:
    """A row per file; ``top`` is JSON."""
    columns = ("path", "class", "probability", "top", "error")
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in records:
        writer.writerow(row if "error" in row else {**row, "top": json.dumps(row["top"])})


def write_json(records: Iterable[Record], out: TextIO, errors: TextIO) -> None:
    """A list, written as it grows, so that any number of images fits into memory."""
    separator = "["
    for row in records:
        print(separator + "\n " + json.dumps(row), end="", file=out)
        separator = ","
    print("[]" if separator == "[" else "\n]", file=out)


def write_lines(records: Iterable[Record], out: TextIO, errors: TextIO) -> None:
    """A JSON object per line."""
    for row in records:
        print(json.dumps(row), file=out)


Writer = Callable[[Iterable[Record], TextIO, TextIO], None]
WRITERS: dict[str, Writer] = {"table": write_table, "csv": write_csv, "json": write_json, "jsonl": write_lines}
"""By the format's name."""
