"""(10) Every cell in one sortable table, with those that cannot be told apart from the best."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sota_bench.report.parts import Block, Cell, Prose, Section, Table
from sota_bench.report.text import compact, join, level_text, number, plural
from sota_bench.report.view import View

# Beyond this many rows the page shows the most accurate ones; the files beside it hold all.
MOST_ROWS = 250
COSTS = {"params": "Parameters#", "flops": "FLOPs#"}


def section(view: View) -> Section | None:
    """None before the first trial is done."""
    cells = view.cells
    if cells.empty:
        return None
    best = set(view.best)
    varied = [name for name, levels in view.factors.items() if len(levels) > 1]
    uneven = cells["n"].nunique() > 1
    costs = {name: title for name, title in COSTS.items() if cells[name].nunique() > 1}
    head = [
        "Cell",
        *varied,
        "Accuracy, %#",
        "\u00b1#",
        "Best",
        "Minutes#",
        "NLL#",
        "ECE#",
        *costs.values(),
        *(["Seeds#"] if uneven else []),
    ]
    rows = [
        _row(str(cell), row, varied, list(costs), best=str(cell) in best, uneven=uneven)
        for cell, row in cells.head(MOST_ROWS).iterrows()
    ]
    cut = "" if len(cells) <= MOST_ROWS else f" The {MOST_ROWS} most accurate of {len(cells):,} are shown."
    seeds = "" if uneven else f"; {plural(int(cells['n'].iloc[0]), 'seed')} each"
    blocks: list[Block] = [Table(f"Cells, the most accurate first{seeds}", head, rows, interactive=True)]
    missing = _missing(view)
    if missing is not None:
        blocks.append(missing)
    same = [
        f"{compact(cells[name].iloc[0])} {title.removesuffix('#')}"
        for name, title in COSTS.items()
        if name not in costs and cells[name].notna().any()
    ]
    if same:
        blocks.append(Prose([f"The same in all cells: {join(same)}."]))
    return Section("cells", "Cells", _lead(view, len(best)) + cut, blocks)


def _lead(view: View, best: int) -> str:
    if view.seeds < 2:
        return "One seed: nothing says which of these differences are noise."
    return (
        f"{plural(best, 'cell')} of {len(view.cells)} cannot be told apart from the best (Hsu's comparison with the "
        "best, seed as block), and carry a \u2713: choose among them by cost."
    )


def _row(
    cell: str,
    row: pd.Series[Any],
    varied: list[str],
    costs: list[str],
    *,
    best: bool,
    uneven: bool,
) -> list[Cell | str]:
    margin = row["accuracy_high"] - row["accuracy"]
    return [
        cell,
        *(level_text(row[name]) for name in varied),
        Cell(number(row["accuracy"], 2), row["accuracy"]),
        Cell(number(margin, 2), margin),
        Cell("\u2713" if best else "", tone="good" if best else ""),
        Cell(number(row["minutes"], 3), row["minutes"]),
        Cell(number(row["nll"], 3), row["nll"]),
        Cell(number(row["ece"], 3), row["ece"]),
        *(Cell(compact(row[name]), row[name]) for name in costs),
        *([Cell(str(int(row["n"])), float(row["n"]))] if uneven else []),
    ]


def _missing(view: View) -> Table | None:
    """Cells without any finished trial, and why."""
    trials = view.tables.trials
    gone = trials[~trials["cell"].isin(view.cells.index)]
    if gone.empty:
        return None
    firsts = gone.groupby("cell", sort=False).first()
    factors = {name: firsts[name].astype(str) for name in view.factors}
    rows = [
        [
            str(cell),
            view.label({name: str(levels.loc[str(cell)]) for name, levels in factors.items()}),
            str(row["status"]).replace("_", " "),
            str(row["error"]),
        ]
        for cell, row in firsts.head(MOST_ROWS).iterrows()
    ]
    return Table(
        "Cells that are not data",
        ["Cell", "Levels", "Status", "Why"],
        rows,
        folded=f"{plural(len(firsts), 'cell')} without a finished trial",
    )
