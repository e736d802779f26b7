"""The same grid at several amounts of data, sizes or epochs: which is the cheapest that puts the cells in one order?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sota_bench.errors import UserError
from sota_bench.grid.grid import Grid
from sota_bench.grid.resize_schedule import MAX_EPOCHS, MAX_SIZE, MIN_SIZE, SizePhase, format_schedule
from sota_bench.stats.agreement import Agreement, agreement

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["fraction", "size", "epochs"]
MULTIPLE = 8
"""Sizes are rounded to multiples of it when a schedule is scaled."""


@dataclass(frozen=True)
class Setting:
    """One amount.

    Attributes:
        kind: what is varied.
        value: the share of the training images; pixels of the largest phase in the grid; epochs of the baseline.
        grid: the grid with it.
    """

    kind: Kind
    value: float
    grid: Grid

    @property
    def text(self) -> str:
        """As people say it."""
        return {
            "fraction": f"{self.value:g} of the images",
            "size": f"{self.value:g} px",
            "epochs": f"{self.value:g} epochs",
        }[self.kind]


@dataclass(frozen=True)
class Row:
    """One setting, compared with the largest.

    Attributes:
        setting: which.
        minutes: median over the trials, as measured.
        saved_minutes: per iteration, against the largest setting.
        agreement: of the order of the cells.
    """

    setting: Setting
    minutes: float
    saved_minutes: float
    agreement: Agreement


@dataclass(frozen=True)
class Fidelity:
    """The answer.

    Attributes:
        rows: the settings, the largest first.
        left_out: cells that have no result at some setting.
        means: accuracy in percent [cells, settings], cells as rows.
    """

    rows: tuple[Row, ...]
    left_out: tuple[str, ...]
    means: pd.DataFrame

    @property
    def cheapest(self) -> Row | None:
        """The cheapest setting below the largest that keeps the order and saves time."""
        kept = [row for row in self.rows[1:] if row.agreement.keeps_order and row.saved_minutes > 0]
        return min(kept, key=lambda row: row.minutes, default=None)

    def sentence(self) -> str:
        """The answer in words."""
        largest = self.rows[0]
        if largest.agreement.tau is None:
            return "There is one cell, and so no order to keep."
        clear, trusted = _pairs(largest.agreement.clear), largest.setting.text
        if largest.agreement.clear == 0:
            return (
                f"With {trusted} the seeds order no pair of cells beyond their noise: no cheaper setting can be said "
                "to keep the order. More seeds would tell."
            )
        best = self.cheapest
        if best is None and any(row.agreement.word == "undecided" for row in self.rows[1:]):
            return (
                f"Undecided: no cheaper setting is seen to keep {clear} that {trusted} can order in the same order, "
                "and not every one is seen to turn a pair. More seeds would tell."
            )
        if best is None:
            return f"No cheaper setting keeps {clear} that {trusted} can order in the same order."
        return (
            f"{best.setting.text} keeps {clear} that {trusted} can order in the same order, and saves "
            f"{best.saved_minutes:.2f} of {largest.minutes:.2f} minutes per iteration."
        )


def _pairs(count: int) -> str:
    return "the one pair of cells" if count == 1 else f"the {count} pairs of cells"


def settings(grid: Grid, kind: Kind, values: Sequence[float]) -> list[Setting]:
    """The grid at each value, the largest first.

    A size or a number of epochs scales the schedule of every cell in proportion: sizes so that the largest phase of the
    grid has it, epochs so that the baseline has them, at least one for each phase.

    Raises:
        UserError: a value is out of range or comes twice, or the grid itself varies what is scaled.
    """
    option = {"fraction": "--fractions", "size": "--sizes", "epochs": "--epochs"}[kind]
    if len(set(values)) != len(values) or len(values) < 2:
        raise UserError(
            option, "", "two or more different values are needed", f"write for example {option} {_EXAMPLES[kind]}"
        )
    return [Setting(kind, value, _at(grid, kind, value, option)) for value in sorted(values, reverse=True)]


_EXAMPLES: dict[str, str] = {"fraction": "0.25,0.5,1", "size": "32,64", "epochs": "2,5"}


def _at(grid: Grid, kind: Kind, value: float, option: str) -> Grid:
    if kind == "fraction":
        if not hasattr(grid.recipe, "fraction"):
            raise UserError(option, "", "no technique limits the images", "install the built-in techniques")
        return grid.varied({"fraction": value})
    if value != int(value) or value < 1:
        raise UserError(option, "", f"{value:g} is not a whole number above 0", f"write for example {_EXAMPLES[kind]}")
    cells = [cell for cell in grid.cells() if grid.inapplicable(cell) is None]
    if kind == "epochs":
        factor = value / sum(phase.epochs for phase in grid.recipe.phases)
    else:
        factor = value / max(phase.size for cell in cells for phase in cell.recipe.phases)
    return grid.varied(schedules={cell.id: _scaled(cell.recipe.phases, kind, factor) for cell in cells})


def _scaled(phases: Sequence[SizePhase], kind: Kind, factor: float) -> str:
    if kind == "epochs":
        scaled = [SizePhase(phase.size, max(1, min(MAX_EPOCHS, round(phase.epochs * factor)))) for phase in phases]
    else:
        sizes = [MULTIPLE * round(phase.size * factor / MULTIPLE) for phase in phases]
        scaled = [
            SizePhase(max(MIN_SIZE, min(MAX_SIZE, size)), phase.epochs)
            for size, phase in zip(sizes, phases, strict=True)
        ]
    return format_schedule(scaled)


def compare(found: Sequence[tuple[Setting, Any]]) -> Fidelity:
    """Compares the order of the cells at every setting with that at the first.

    Args:
        found: settings, the trusted one first, each with its table of trials (``cell``, ``seed``, ``status``,
            ``accuracy``, ``minutes``).

    Raises:
        UserError: no cell has a result with every seed at every setting.
    """
    import pandas as pd

    tables = []
    for _, trials in found:
        done = trials[trials["status"] == "done"]
        tables.append(done.pivot(index="cell", columns="seed", values="accuracy").dropna())
    cells = [cell for cell in tables[0].index if all(cell in table.index for table in tables)]
    if not cells:
        raise UserError("fidelity", "", "no cell has a result at every setting", "see the logs of the failed trials")
    asked = [cell for cell, part in found[0][1].groupby("cell") if (part["status"] != "not_applicable").any()]
    reference = tables[0].loc[cells].to_numpy()
    minutes = [float(trials.loc[trials["status"] == "done", "minutes"].median()) for _, trials in found]
    rows = tuple(
        Row(setting, spent, minutes[0] - spent, agreement(reference, table.loc[cells].to_numpy()))
        for (setting, _), table, spent in zip(found, tables, minutes, strict=True)
    )
    means = pd.DataFrame(
        {setting.text: table.loc[cells].mean(axis=1) for (setting, _), table in zip(found, tables, strict=True)}
    )
    return Fidelity(rows, tuple(sorted(set(asked) - set(cells))), means)
