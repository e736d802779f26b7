"""Which cells each main effect compares: what has to be trained again while its question is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sota_bench.stats.contrasts import main_contrasts
from sota_bench.stats.design import read_design
from sota_bench.stats.levels import Factor, key

if TYPE_CHECKING:
    import pandas as pd


def compared_cells(
    table: pd.DataFrame,
    *,
    response: str,
    factors: Mapping[str, Sequence[object]],
    cell: str,
    block: str = "seed",
    within: Sequence[str] = (),
    judged: str | None = None,
    place: str = "table",
) -> dict[tuple[str, str], frozenset[str]]:
    """The cells that each main effect compares, by factor and level; none where nothing can be compared.

    Args:
        table: one row per trial, as for `sota_bench.stats.analyze`.
        response: numeric column.
        factors: levels by factor, the baseline first.
        cell: column with the name of each cell.
        block: column whose levels pair the trials.
        within: factors whose levels are evaluations of one run.
        judged: column that names the images a trial is judged on.
        place: what an error calls the table.

    Raises:
        UserError: for a table that cannot be analysed.
    """
    design = read_design(
        table, response=response, factors=factors, block=block, within=within, judged=judged, planned_gaps=True,
        place=place,
    )  # fmt: skip
    number = {
        factor.name: {key(level): position for position, level in enumerate(factor.levels)} for factor in design.factors
    }

    def codes(row: pd.Series, factors: Sequence[Factor]) -> tuple[int, ...]:
        return tuple(number[factor.name][key(row[factor.name])] for factor in factors)

    done = table[table["status"] == "done"].drop_duplicates(cell)
    name = {(codes(row, design.between), codes(row, design.inside)): str(row[cell]) for _, row in done.iterrows()}
    return {
        (contrast.factor, contrast.level): frozenset(
            name[design.cells[position], design.settings[setting]]
            for position in contrast.cells
            for setting in contrast.inner[position].nonzero()[0]
        )
        for contrast in main_contrasts(design)
        if contrast.possible
    }
