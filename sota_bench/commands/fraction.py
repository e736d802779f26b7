"""What ``plan`` says of a fractional design: its size, its aliases, and what missing cells do to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sota_bench.grid import Grid
    from sota_bench.plan.plan import TrialPlan
    from sota_bench.stats.result import Alias


@dataclass(frozen=True)
class FractionPlan:
    """A fractional design.

    Attributes:
        resolution: 4 or 5.
        cells, possible: combinations of levels that are run, and that there are, of the factors that it divides.
        crossed: the factors that are run in full with each cell.
        missing: cells that are not applicable.
        aliases: factors of an effect -> the effects that its estimate carries too, among the cells that are left; None
            where they do not determine it.
        refined: cells of the full factorial that may follow, at most; 0 without ``refine``.
    """

    resolution: int
    cells: int
    possible: int
    crossed: tuple[str, ...]
    missing: int
    aliases: dict[tuple[str, ...], tuple[Alias, ...] | None]
    refined: int

    def lines(self) -> list[str]:
        """Sentences for people."""
        from sota_bench.stats.wording import join
        from sota_bench.units import counted

        lines = [
            f"Fractional design of resolution {self.resolution}: {self.cells:,} of {self.possible:,} combinations"
            + (f", each evaluated with every level of {join(self.crossed)}." if self.crossed else ".")
        ]
        if self.missing:
            verb = "is" if self.missing == 1 else "are"
            lines.append(
                f"{counted(self.missing, 'cell')} of it {verb} not applicable, so it is not balanced: effects are "
                "estimated by least squares from the others, with the aliases below. For a balanced design, remove the "
                "levels that do not apply, or leave one of their factors to a grid of its own."
            )
        if self.refined:
            lines.append(
                "Then the full factorial of the factors whose effects are clear, the others at their baseline: at most "
                f"{counted(self.refined, 'cell')}, fewer if not all are clear."
            )
        return lines

    def effects(self, everything: bool) -> list[tuple[str, str]]:
        """Each effect with its aliases, for a table; many interactions of three factors only if everything is shown."""
        from sota_bench.stats.sentences import alias_list

        rows = []
        for effect, aliases in self.aliases.items():
            if aliases is None:
                text = "cannot be estimated from the cells that are left"
            else:
                text = alias_list(aliases, everything) or "none of up to three factors"
            rows.append((" x ".join(effect), text))
        return rows

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "resolution": self.resolution,
            "cells": self.cells,
            "combinations": self.possible,
            "crossed": list(self.crossed),
            "not_applicable": self.missing,
            "refined_cells_at_most": self.refined,
            "aliases": [
                {"effect": list(effect), "aliases": None if aliases is None else [alias.to_dict() for alias in aliases]}
                for effect, aliases in self.aliases.items()
            ],
        }


def fraction_plan(grid: Grid, trials: Sequence[TrialPlan]) -> FractionPlan:
    """The fractional design of a grid, as far as its cells are applicable.

    Args:
        grid: with a fractional design.
        trials: all of its trials.
    """
    import numpy as np

    from sota_bench.stats.fractions import effect_aliases
    from sota_bench.stats.levels import Factor

    names = grid.layout.divided(grid.factors)
    factors = [Factor(name, tuple(map(str, grid.factors[name]))) for name in names]
    applicable = {trial.trial.cell.id for trial in trials if trial.inapplicable is None}
    runs: dict[tuple[int, ...], float] = {}
    everything = set()
    for cell in grid.cells():
        codes = tuple(grid.factors[name].index(cell.levels[name]) for name in names)
        everything.add(codes)
        if cell.id in applicable:
            runs[codes] = float(grid.layout.runs(grid.factors, cell.levels))
    crossed = tuple(name for name, levels in grid.factors.items() if name not in names and len(levels) > 1)
    possible = math.prod(len(grid.factors[name]) for name in names)
    return FractionPlan(
        grid.layout.resolution,
        len(everything),
        possible,
        crossed,
        len(everything) - len(runs),
        effect_aliases(factors, list(runs), np.array(list(runs.values()))),
        possible if grid.refine else 0,
    )
