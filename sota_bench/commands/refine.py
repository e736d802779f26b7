"""The second step of a fractional design: which grid follows, and what is said where none does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sota_bench.grid import Grid
    from sota_bench.report.answers import Answers
    from sota_bench.report.tables import RunTables

FOLDER, FILE = "refined", "grid.toml"


def second_step(grid: Grid, size: int, tables: RunTables, answers: Answers) -> tuple[Path | None, str]:
    """The grid file of the full factorial of what was clear, written beside its report, and a sentence about it.

    Args:
        grid: the fractional design, with ``refine``.
        size: pixels at which its images are stored.
        tables: its results.
        answers: their analyses.

    Returns:
        No file where trials are missing, or nothing is clear.
    """
    from sota_bench.files import write_text
    from sota_bench.grid.refined import refined_text
    from sota_bench.stats.aliases import clear_factors
    from sota_bench.stats.wording import join
    from sota_bench.units import counted

    settled = ["done", "not_applicable", *(["not_asked"] if grid.stop == "decided" else [])]  # looks ask for some alone
    missing = int((~tables.trials["status"].isin(settled)).sum())
    if missing:
        verb = "is" if missing == 1 else "are"
        return None, f"{counted(missing, 'trial')} of the fractional design {verb} not done, so it is not refined yet."
    found = {name for analysis in answers.asked for name in clear_factors(analysis)}
    clear = [name for name in grid.factors if name in found]
    if not clear:
        remedy = "start a new run with more seeds" if grid.stop == "decided" else "add seeds"
        return None, f"No effect of the fractional design is clear, so there is nothing to refine; {remedy}."
    folder = grid.out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, refined_text(grid, clear, size))
    return folder / FILE, f"Second step: the full factorial of {join(clear)}, the others at their baseline."
