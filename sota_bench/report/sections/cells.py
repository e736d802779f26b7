"""(10) Every cell in one sortable table, with those that cannot be told apart from the best."""

from __future__ import annotations

import pandas as pd

from sota_bench.report.parts import Block, Cell, Prose, Section, Table
from sota_bench.report.text import compact, duration, interval, number
from sota_bench.report.view import View
from sota_bench.responses import RESPONSES
from sota_bench.stats.wording import join, level_name
from sota_bench.units import counted

# Beyond this many rows the page shows the most accurate ones; the files beside it hold all.
MOST_ROWS = 250
COSTS = {"params": "parameters", "flops": "FLOPs"}


def section(view: View) -> Section | None:
    """None before the first trial is done."""
    cells = view.cells
    if cells.empty:
        return None
    best = set(view.best)
    uneven = cells["n"].nunique() > 1
    costs = {name: title for name, title in COSTS.items() if cells[name].nunique() > 1}
    also = [name for name in ("accuracy", "nll", "ece") if name != view.response.name]
    head = [
        "Cell",
        *view.varied,
        f"{view.response.heading}#",
        "95% interval#",
        "Best",
        "Time#",
        *(f"{RESPONSES[name].heading}#" for name in also),
        *(f"{title[0].upper()}{title[1:]}#" for title in costs.values()),
        *(["Seeds#"] if uneven else []),
    ]
    rows = [
        _row(str(cell), row, view, also, list(costs), best=str(cell) in best, uneven=uneven)
        for cell, row in cells.head(MOST_ROWS).iterrows()
    ]
    cut = ""
    if len(cells) > MOST_ROWS:
        cut = f" The best {MOST_ROWS} of {len(cells):,} cells are shown; trials.csv has all."
    seeds = "" if uneven else f"; {counted(int(cells['n'].iloc[0]), 'seed')} per cell"
    caption = f"Cells, the best in {view.response.noun} first; time is the mean per iteration{seeds}"
    blocks: list[Block] = [Table(caption, head, rows, interactive=True)]
    missing = _missing(view)
    if missing is not None:
        blocks.append(missing)
    same = [
        f"{compact(cells[name].iloc[0])} {title}"
        for name, title in COSTS.items()
        if name not in costs and cells[name].notna().any()
    ]
    if same:
        blocks.append(Prose([f"All cells have {join(same)}."]))
    return Section("cells", "Cells", _lead(view, len(best)) + cut, blocks)


def _lead(view: View, best: int) -> str:
    if view.seeds < 2:
        return "With one seed, differences between cells cannot be told from noise. Add at least two seeds."
    return (
        f"{counted(best, 'cell')} of {len(view.cells)}, marked \u2713, cannot be told apart from the best (Hsu's "
        "multiple comparisons with the best, seeds as blocks). Choose among them by cost."
    )


def _row(
    cell: str, row: pd.Series, view: View, also: list[str], costs: list[str], *, best: bool, uneven: bool
) -> list[Cell | str]:
    digits = view.response.digits
    return [
        cell,
        *(level_name(row[name]) for name in view.varied),
        Cell(number(row["value"], digits + 1), row["value"]),
        Cell(interval(row["value_low"], row["value_high"], digits), row["value_high"] - row["value_low"]),
        Cell("\u2713" if best else "", tone="good" if best else ""),
        Cell(duration(row["minutes"]), row["minutes"]),
        *(Cell(number(row[name], RESPONSES[name].digits), row[name]) for name in also),
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
        "Cells that have no finished trial",
        ["Cell", "Levels", "Status", "Reason"],
        rows,
        folded=f"{counted(len(firsts), 'cell')} without a finished trial",
    )
