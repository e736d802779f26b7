"""Compares the order of a grid's cells at several amounts of data, sizes or epochs, and finds the cheapest setting that
keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sota_bench.errors import UserError
from sota_bench.grid.grid import Grid
from sota_bench.grid.resize_schedule import MAX_EPOCHS, MAX_SIZE, MIN_SIZE, SizePhase, format_schedule
from sota_bench.stats.agreement import Agreement, agreement
from sota_bench.units import duration_text

if TYPE_CHECKING:
    import pandas as pd

    from sota_bench.plan.plan import Plan

Kind = Literal["fraction", "size", "epochs"]
MULTIPLE = 8
"""Sizes are rounded to multiples of it when a schedule is scaled."""


@dataclass(frozen=True)
class FidelitySetting:
    """The grid at one amount.

    Attributes:
        kind: what is varied.
        value: the share of the training images; pixels of the largest phase in the grid; or epochs of the baseline.
        grid: the grid with it.
    """

    kind: Kind
    value: float
    grid: Grid

    @property
    def text(self) -> str:
        """In words."""
        return {
            "fraction": f"{self.value:g} of the images",
            "size": f"{self.value:g} px",
            "epochs": f"{self.value:g} epochs",
        }[self.kind]


@dataclass(frozen=True)
class FidelityRow:
    """One setting, compared with the largest.

    Attributes:
        setting: which.
        minutes: measured per iteration, the median over the trials.
        saved_minutes: per iteration, against the largest setting.
        agreement: how far it puts the cells in the same order.
    """

    setting: FidelitySetting
    minutes: float
    saved_minutes: float
    agreement: Agreement


@dataclass(frozen=True)
class Fidelity:
    """The comparison of all settings.

    Attributes:
        rows: the settings, the largest first.
        left_out: cells that have no result at some setting.
        means: accuracy in percent [cells, settings], cells as rows.
    """

    rows: tuple[FidelityRow, ...]
    left_out: tuple[str, ...]
    means: pd.DataFrame

    @property
    def cheapest(self) -> FidelityRow | None:
        """The cheapest setting below the largest that keeps the order and saves time."""
        kept = [row for row in self.rows[1:] if row.agreement.keeps_order and row.saved_minutes > 0]
        return min(kept, key=lambda row: row.minutes, default=None)

    def sentence(self) -> str:
        """The result in words."""
        largest = self.rows[0]
        if largest.agreement.tau is None:
            return "There is only one cell, so there is no order to keep."
        reference = largest.setting.text
        if largest.agreement.clear == 0:
            return (
                f"With {reference}, no two cells differ by more than the noise of the seeds, so there is no order that "
                "a cheaper setting could keep; run more seeds."
            )
        clear = largest.agreement.clear
        pairs = "one pair of cells that differs" if clear == 1 else f"{clear:,} pairs of cells that differ"
        pairs += f" clearly with {reference}"
        best = self.cheapest
        if best is None and any(row.agreement.word == "undecided" for row in self.rows[1:]):
            return (
                f"Undecided: no cheaper setting is shown to keep the order of the {pairs}, but one may do so with "
                "more seeds; add some with --seeds."
            )
        if best is None:
            return f"No cheaper setting keeps the order of the {pairs}."
        return (
            f"{best.setting.text[0].upper()}{best.setting.text[1:]} keeps the order of the {pairs}, and saves "
            f"{duration_text(60 * best.saved_minutes)} of {duration_text(60 * largest.minutes)} per iteration."
        )


def fidelity_settings(grid: Grid, kind: Kind, values: Sequence[float]) -> list[FidelitySetting]:
    """The grid at each value, the largest first.

    A size or a number of epochs scales the schedule of every cell in proportion: sizes so that the largest phase of the
    grid has it, epochs so that the baseline has them, at least one for each phase.

    Raises:
        UserError: a value is out of range or given twice, or the grid itself varies what is scaled.
    """
    option = {"fraction": "--fractions", "size": "--sizes", "epochs": "--epochs"}[kind]
    if len(set(values)) != len(values) or len(values) < 2:
        raise UserError(
            option, "", "two or more different values are needed", f"write for example {option} {_EXAMPLES[kind]}"
        )
    return [FidelitySetting(kind, value, _at(grid, kind, value, option)) for value in sorted(values, reverse=True)]


def check_images(plans: Sequence[tuple[FidelitySetting, Plan]]) -> None:
    """Checks that fractions differ in the images that they train on.

    Raises:
        UserError: two of them train a cell on the same images, since another field limits both.
    """
    seen: dict[tuple[str, tuple[str, ...]], FidelitySetting] = {}
    for setting, plan in plans:
        if setting.kind != "fraction":
            continue
        for trial in plan.trials:
            digests = tuple(plan.training_images(trial))
            other = seen.setdefault((trial.trial.id, digests), setting)
            if digests and other is not setting:
                problem = f"{setting.value:g} and {other.value:g} train {trial.trial.cell.id} on the same images"
                limit = getattr(trial.trial.cell.recipe, "per_class", 0)
                because = f", since per_class = {limit} limits both" if limit else ""
                raise UserError("--fractions", "", problem + because, "name fractions that choose different images")


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


def compare(results: Sequence[tuple[FidelitySetting, pd.DataFrame]]) -> Fidelity:
    """Compares the order of the cells at every setting with that at the first.

    Args:
        results: settings, the reference first, each with its table of trials (``cell``, ``seed``, ``status``,
            ``accuracy``, ``minutes``).

    Raises:
        UserError: no cell has a result with every seed at every setting.
    """
    import pandas as pd

    tables = []
    for _, trials in results:
        done = trials[trials["status"] == "done"]
        tables.append(done.pivot(index="cell", columns="seed", values="accuracy").dropna())
    cells = [cell for cell in tables[0].index if all(cell in table.index for table in tables)]
    if not cells:
        raise UserError("fidelity", "", "no cell has a result at every setting", "see the logs of the failed trials")
    reference_trials = results[0][1]
    applicable = set(reference_trials.loc[reference_trials["status"] != "not_applicable", "cell"].map(str))
    reference = tables[0].loc[cells].to_numpy()
    minutes = [float(trials.loc[trials["status"] == "done", "minutes"].median()) for _, trials in results]
    rows = tuple(
        FidelityRow(setting, spent, minutes[0] - spent, agreement(reference, table.loc[cells].to_numpy()))
        for (setting, _), table, spent in zip(results, tables, minutes, strict=True)
    )
    means = pd.DataFrame(
        {setting.text: table.loc[cells].mean(axis=1) for (setting, _), table in zip(results, tables, strict=True)}
    )
    return Fidelity(rows, tuple(sorted(applicable - set(cells))), means)
