"""Main effects on the recall of each class, as one family: all classes and all contrasts share one Holm correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sota_bench.stats.design import read_design
from sota_bench.stats.result import SEEDS_AND_IMAGES, THESE_IMAGES, ContrastRow, Overview, Scope
from sota_bench.stats.rows import main_rows
from sota_bench.stats.verdicts import HELPS, HURTS, NOT_ESTIMABLE, UNDETECTED, holm

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike


def effects_by_class(
    table: pd.DataFrame,
    recalls: Mapping[str, Mapping[str, ArrayLike]],
    *,
    factors: Mapping[str, Sequence[object]],
    within: Sequence[str] = (),
    shares: str | None = None,
    judged: str | None = None,
    scope: Scope = SEEDS_AND_IMAGES,
    alpha: float = 0.05,
) -> dict[str, list[ContrastRow]]:
    """The main effects on each class, by its column, with the error that each is read from.

    A class that helps or hurts is found where Holm's p over all classes and contrasts is below ``alpha``; there is no
    smallest effect of interest, so no other verdict is possible.

    Args:
        table: one row per finished trial, with ``trial``, ``seed`` and a column of each class: recall in percent.
        recalls: column of a class -> trial -> the numbers per image whose mean is the recall.
        factors: levels by factor, the baseline first.
        within, shares, judged, scope: as for `sota_bench.stats.analyze`.
        alpha: level of the intervals and of the family.
    """
    by_class: dict[str, list[ContrastRow]] = {}
    for column, predictions in recalls.items():
        design = read_design(
            table, response=column, factors=factors, block="seed", within=within, shares=shares, judged=judged,
            predictions=predictions,
        )  # fmt: skip
        covered = scope if design.image_sets or design.images_by_seed else THESE_IMAGES
        by_class[column] = main_rows(design, Overview(column, {}, alpha=alpha, unit="pp", scope=covered))
    rows = [row for each in by_class.values() for row in each]
    adjusted = holm(np.array([np.nan if row.p is None else row.p for row in rows]))
    size = max(int(np.isfinite(adjusted).sum()), 1)
    corrected = iter([_corrected(row, float(p_holm), size, alpha) for row, p_holm in zip(rows, adjusted, strict=True)])
    return {column: [next(corrected) for _ in each] for column, each in by_class.items()}


def _corrected(row: ContrastRow, p_holm: float, size: int, alpha: float) -> ContrastRow:
    """A row with the corrected p-value of the family, and the verdict that it allows."""
    if not np.isfinite(p_holm) or row.estimate is None:
        return replace(row, family_size=size, p_holm=None, verdict=NOT_ESTIMABLE)
    verdict = UNDETECTED if p_holm >= alpha else HELPS if row.estimate > 0 else HURTS
    return replace(row, family_size=size, p_holm=p_holm, verdict=verdict)
