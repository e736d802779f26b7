"""Trials whose batches did not fit into memory and were computed in parts: which, and how that bears on verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sota_bench.report.text import plural
from sota_bench.stages.results import StageResult

if TYPE_CHECKING:
    import pandas as pd


def micro_batch(trained: Iterable[StageResult]) -> float:
    """Images of the smallest part that the phases of a trial were computed in; NaN where each batch was one."""
    found = (result.values.get("accumulated") for result in trained)
    return min((float(one["micro_batch"]) for one in found if one), default=math.nan)


def notes(trials: pd.DataFrame) -> list[str]:
    """What must be read before the numbers: that there are such trials."""
    done = trials[trials["status"] == "done"]
    if "micro_batch" not in done or not done["micro_batch"].notna().any():
        return []
    parts = done["micro_batch"].dropna()
    size = f"{parts.min():.0f}" if parts.nunique() == 1 else f"{parts.min():.0f} to {parts.max():.0f}"
    return [
        f"Memory ran out in {plural(len(parts), 'trial')}: batches were computed in parts of at most {size} images "
        "(gradient accumulation). The gradient is the batch's; batch norm and dropout work on each part."
    ]


def difference(trials: pd.DataFrame) -> list[str]:
    """The warning that belongs beside verdicts: cells whose batches were computed in different parts."""
    done = trials[trials["status"] == "done"]
    if "micro_batch" not in done:
        return []
    ways = {cell: set(part.fillna(0)) for cell, part in done.groupby("cell")["micro_batch"]}
    if all(way == next(iter(ways.values())) for way in ways.values()):
        return []
    cells = [str(cell) for cell, way in ways.items() if way != {0.0}]
    shown = ", ".join(cells[:5]) + (f" and {len(cells) - 5} more" if len(cells) > 5 else "")
    return [
        f"Cells differ in gradient accumulation (in parts: {shown}): a network with batch norm or dropout trains "
        "differently by it, so contrasts with these cells include that. A smaller batch_size for every cell avoids it."
    ]
