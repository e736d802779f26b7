"""From a table with one row per trial to arrays: which cells exist, which trials are missing, and what was odd."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sota_bench.errors import UserError
from sota_bench.stats.kernels import Array
from sota_bench.stats.levels import Factor, distinct, is_missing, key, label, ordered
from sota_bench.stats.plots import Plots, find_plots

if TYPE_CHECKING:
    import pandas as pd


FLAT = 0.1
"""A level is flat where all its results lie within this share of the noise that the other levels have."""


@dataclass(frozen=True)
class Design:
    """A table of trials as arrays.

    Attributes:
        response: the response's column.
        factors: all factors, those within a run included.
        block: the column of the blocks (seeds), or None.
        cells: level indices of the between-run factors, one tuple per cell with at least one finished trial.
        settings: level indices of the within-run factors, one tuple per evaluation setting (one empty tuple if none).
        seeds: labels of the blocks, () without a block.
        y: response [S, C, W], NaN where missing; without a block, S runs over the most replicates of a cell.
        counts: rows by status, ``done`` included.
        after_look: labels of the seeds that were added after a look at the results.
        notes: warnings about the table.
        plots: plot of each cell [C], where trainings of one seed share a part; see `sota_bench.stats.plots`.
        judged: number of the set of images that each cell is judged on [C], where there are several.
    """

    response: str
    factors: tuple[Factor, ...]
    block: str | None
    cells: tuple[tuple[int, ...], ...]
    settings: tuple[tuple[int, ...], ...]
    seeds: tuple[str, ...]
    y: Array
    counts: dict[str, int]
    after_look: tuple[str, ...]
    notes: tuple[str, ...]
    plots: Plots | None = None
    judged: NDArray[np.int_] | None = None

    @property
    def between(self) -> tuple[Factor, ...]:
        """Factors that change the run itself."""
        return tuple(factor for factor in self.factors if not factor.within)

    @property
    def inside(self) -> tuple[Factor, ...]:
        """Factors whose levels are evaluations of one run."""
        return tuple(factor for factor in self.factors if factor.within)

    @property
    def occurs(self) -> NDArray[np.bool_]:
        """Whether a cell was ever evaluated in a setting [C, W]."""
        return np.asarray(np.isfinite(self.y).any(axis=0))

    @cached_property
    def flat(self) -> dict[str, tuple[str, ...]]:
        """Levels, by factor, at which nothing varies, neither with a seed nor with any other factor.

        Such a level is at a floor or a ceiling, as a rule at chance: there no other factor can show an effect.
        """
        found: dict[str, tuple[str, ...]] = {}
        if len(self.y) < 2:
            return found
        for position, factor in enumerate(self.between):
            codes = np.array([cell[position] for cell in self.cells])
            levels = tuple(factor.levels[code] for code in np.unique(codes) if self._is_flat(codes == code))
            if levels:
                found[factor.name] = levels
        return found

    def _is_flat(self, at: NDArray[np.bool_]) -> bool:
        here, rest = self.y[:, at], self.y[:, ~at]
        known = here[np.isfinite(here)]
        if at.sum() < 2 or len(known) < 4:
            return False
        away = rest - np.nanmean(np.where(np.isfinite(rest).any(axis=0), rest, 0.0), axis=0)
        df = np.isfinite(rest).sum() - np.isfinite(rest).any(axis=0).sum()
        noise = math.sqrt(float(np.nansum(away**2)) / df) if df > 0 else 0.0
        return noise > 0 and float(np.ptp(known)) <= FLAT * noise


def read_design(
    table: pd.DataFrame,
    *,
    response: str,
    factors: Mapping[str, Sequence[object]] | Sequence[str],
    block: str | None,
    within: Sequence[str],
    added_seeds: Sequence[object] = (),
    allow_missing: bool = False,
    shares: str | None = None,
    judged: str | None = None,
    place: str = "table",
) -> Design:
    """Check the table and lay it out.

    Raises:
        UserError: for a table that cannot be analysed: a column that is not there, a response that is not a finite
            number, a factor with fewer than two levels, a level outside the declared ones.
    """
    names = list(dict.fromkeys([*factors, *within]))
    if not names:
        raise UserError(place, "factors", "no factor is named", "name at least one column that varies")
    if len(table) == 0:
        raise UserError(place, "", "the table has no rows", "give one row per trial")
    for column in [response, *names, *(column for column in (block, shares, judged) if column)]:
        _require(table, column, place)
    clash = {response, block} & set(names) or ({response} & {block})
    if clash:
        raise UserError(
            place, clash.pop() or "", "one column has two roles", "give response, block and factors each its own"
        )
    if within and not block:
        raise UserError(
            place, "within", "differences within a run need the column that tells runs apart", "name a block"
        )
    if shares and not block:
        raise UserError(place, "shares", "trainings share a part under one seed only", "name a block")
    notes: list[str] = []
    rows, counts = _finished(table, response, place, allow_missing, notes)
    laid_out = tuple(
        _factor(table, rows, name, factors[name] if isinstance(factors, Mapping) and name in factors else None,
                name in within, place)
        for name in names
    )  # fmt: skip
    applies = ~_any_missing(rows, names)
    if not applies.all():
        notes.append(f"{_rows(int((~applies).sum()))} left out: a factor is empty there, so it does not apply.")
        rows = rows[applies]
    if block and any(is_missing(value) for value in rows[block]):
        raise UserError(place, block, "a row has no block", "fill the column in, or leave the block out")
    return _lay_out(table, rows, response, laid_out, block, counts, added_seeds, shares, judged, notes, place)


def _require(table: pd.DataFrame, column: str, place: str) -> None:
    if column in table.columns:
        if list(table.columns).count(column) > 1:
            raise UserError(place, column, "the column occurs twice", "rename one of them")
        return
    near = difflib.get_close_matches(column, [str(name) for name in table.columns], n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(map(str, table.columns))}"
    raise UserError(place, column, "no such column", hint)


def _rows(count: int) -> str:
    return f"{count} row{'s' if count != 1 else ''}"


def _finished(
    table: pd.DataFrame, response: str, place: str, allow_missing: bool, notes: list[str]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows that hold a result, and how many rows there are of each status."""
    import pandas as pd

    counts = {"done": len(table)}
    rows = table
    if "status" in table.columns:
        status = table["status"].astype(str).str.strip()
        counts = {"done": 0, **{str(name): int(count) for name, count in status.value_counts(sort=False).items()}}
        rows = table[(status == "done").to_numpy()]
        for name, count in counts.items():
            if name == "not_applicable":
                notes.append(f"{_rows(count)} not applicable: combinations that cannot exist, compared nowhere.")
            elif name != "done":
                notes.append(f"{_rows(count)} with status {name}: counted here, and missing from every estimate.")
    values = pd.to_numeric(rows[response], errors="coerce").astype(float)
    empty = rows[response].map(is_missing).to_numpy(dtype=bool)
    bad = ~np.isfinite(values.to_numpy()) & ~(empty & allow_missing)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        shown = "nothing" if empty[at] else repr(str(rows[response].iloc[at]))
        raise UserError(
            place, response, f"row {rows.index[at]} holds {shown}, not a finite number",
            "mark it in a column named status (failed), or remove it",
        )  # fmt: skip
    if empty.any():
        notes.append(f"{_rows(int(empty.sum()))} without a value of {response}: left out.")
    return rows.assign(**{response: values})[~empty], counts


def _any_missing(rows: pd.DataFrame, names: Sequence[str]) -> NDArray[np.bool_]:
    empty = np.zeros(len(rows), dtype=bool)
    for name in names:
        empty |= rows[name].map(is_missing).to_numpy(dtype=bool)
    return empty


def _factor(
    table: pd.DataFrame, rows: pd.DataFrame, name: str, given: Sequence[object] | None, within: bool, place: str
) -> Factor:
    seen = [value for value in table[name] if not is_missing(value)]
    levels = distinct(given) if given is not None else ordered(seen)
    if len(levels) < 2:
        raise UserError(
            place, name, f"a factor needs two levels, this one has {', '.join(levels) or 'none'}",
            "name a column that varies",
        )  # fmt: skip
    known = {key(level) for level in levels}
    for value in rows[name]:
        if not is_missing(value) and key(value) not in known:
            raise UserError(place, name, f"level {label(value)!r} is not declared", f"declare it: {', '.join(levels)}")
    return Factor(name, levels, within)


def _lay_out(
    table: pd.DataFrame, rows: pd.DataFrame, response: str, factors: tuple[Factor, ...], block: str | None,
    counts: dict[str, int], added_seeds: Sequence[object], shares: str | None, judged: str | None,
    notes: list[str], place: str,
) -> Design:  # fmt: skip
    codes = {}
    for factor in factors:
        index = {key(level): number for number, level in enumerate(factor.levels)}
        codes[factor.name] = [index[key(value)] for value in rows[factor.name]]
    between = [codes[factor.name] for factor in factors if not factor.within]
    inside = [codes[factor.name] for factor in factors if factor.within]
    cell_of = list(zip(*between, strict=True)) if between else [()] * len(rows)
    setting_of = list(zip(*inside, strict=True)) if inside else [()] * len(rows)
    cells, settings = tuple(sorted(set(cell_of))), tuple(sorted(set(setting_of)))
    # Blocks in their order of appearance over all rows, so that a seed whose trials all failed is still counted.
    labels = distinct([value for value in table[block] if not is_missing(value)]) if block else ()
    position = {key(text): number for number, text in enumerate(labels)}
    values: dict[tuple[int, int, int], list[float]] = {}
    replicate: dict[tuple[int, int], int] = {}
    cell_index = {cell: number for number, cell in enumerate(cells)}
    setting_index = {setting: number for number, setting in enumerate(settings)}
    for row, (cell, setting, value) in enumerate(zip(cell_of, setting_of, rows[response], strict=True)):
        c, w = cell_index[cell], setting_index[setting]
        if block:
            s = position[key(rows[block].iloc[row])]
        else:
            s = replicate[c, w] = replicate.get((c, w), -1) + 1
        values.setdefault((s, c, w), []).append(float(value))
    depth = len(labels) if block else max(replicate.values(), default=-1) + 1
    y = np.full((depth, len(cells), len(settings)), np.nan)
    for place_of, several in values.items():
        y[place_of] = np.mean(several)
    repeated = sum(len(several) > 1 for several in values.values())
    if repeated:
        notes.append(
            f"{repeated} combinations of factors and {block} hold several rows, which were averaged: "
            "if a column tells them apart, name it as a factor or within."
        )
    _note_empty_cells(table, factors, codes, notes)
    if block:
        _note_missing(y, labels, block, notes)
    else:
        _note_unequal(y, notes)
    after = _after_look(table, block, added_seeds, labels, place)
    if after:
        notes.append(
            f"{block} {', '.join(after)} added after a look at the results: looking again makes false findings "
            "likelier than the p-values say; confirm with fresh seeds."
        )
    plots = _plots(rows, shares, block, [cell_index[cell] for cell in cell_of], notes) if shares and block else None
    sets = _judged(rows[judged], [cell_index[cell] for cell in cell_of], notes) if judged else None
    return Design(response, factors, block, cells, settings, labels, y, counts, after, tuple(notes), plots, sets)


def _judged(images: pd.Series, cell_of: Sequence[int], notes: list[str]) -> NDArray[np.int_] | None:
    """The set of images that each cell is judged on, told in a note where there are several."""
    names = distinct(list(images))
    if len(names) < 2:
        return None
    number = {key(name): position for position, name in enumerate(names)}
    found = np.zeros(max(cell_of) + 1, dtype=int)
    for cell, name in zip(cell_of, images, strict=True):
        found[cell] = number[key(name)]
    notes.append(
        f"Trials are judged on {len(names)} different sets of images ({images.name}), and accuracies on different "
        "images do not compare: levels that differ in them are not compared. The analysis of variance does not know "
        "of it."
    )
    return found


def _plots(rows: pd.DataFrame, shares: str, block: str, cell_of: Sequence[int], notes: list[str]) -> Plots | None:
    """Which cells share a part of their training, told in a note where some do."""
    named = [
        (key(seed), cell, key(part))
        for seed, cell, part in zip(rows[block], cell_of, rows[shares], strict=True)
        if not is_missing(part)
    ]
    count = len(set(cell_of))
    plots = find_plots(named, count)
    if plots is not None:
        notes.append(
            f"Trainings of one {block} share a part ({shares}), so they are not independent: {count} cells in "
            f"{plots.max() + 1} groups. Comparisons between groups are judged by the means of the groups, those inside "
            f"a group by their own differences between {block}s. The analysis of variance does not know of it, and its "
            "p-values for such factors are too small."
        )
    return plots


def _note_empty_cells(
    table: pd.DataFrame, factors: tuple[Factor, ...], codes: Mapping[str, Sequence[int]], notes: list[str]
) -> None:
    """Combinations of levels without any result: nothing can stand in for them.

    A column ``status`` says which ones were asked for; without it every combination that the levels allow is meant.
    """
    known = set(zip(*(codes[factor.name] for factor in factors), strict=True))
    if "status" not in table.columns:
        possible = math.prod(len(factor.levels) for factor in factors)
        if known and len(known) < possible:
            notes.append(
                f"Only {len(known)} of {possible} combinations of levels have a result: levels are compared where all "
                "else is equal, and averages leave the other combinations out."
            )
        return
    names = [factor.name for factor in factors]
    asked = table[(table["status"].astype(str).str.strip() != "not_applicable").to_numpy()]
    asked = asked[~_any_missing(asked, names)]
    code = {factor.name: {key(level): number for number, level in enumerate(factor.levels)} for factor in factors}
    wanted = set(zip(*([code[name].get(key(value), -1) for value in asked[name]] for name in names), strict=True))
    empty = wanted - known
    if empty:
        first = ", ".join(
            f"{factor.name} = {factor.levels[level]}" for factor, level in zip(factors, min(empty), strict=True)
        )
        more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        notes.append(f"No result at all for {first}{more}: averages leave these combinations out.")


def _note_missing(y: Array, labels: tuple[str, ...], block: str, notes: list[str]) -> None:
    occurs = np.isfinite(y).any(axis=0)
    expected, present = occurs.sum() * len(y), int(np.isfinite(y).sum())
    if present < expected:
        lost = [text for text, part in zip(labels, y, strict=True) if not np.isfinite(part[occurs]).all()]
        notes.append(
            f"Unbalanced: {expected - present} of {expected} results are missing ({block} {', '.join(lost[:8])}"
            f"{', ...' if len(lost) > 8 else ''}). Estimates come from least squares, which allows for what is missing."
        )


def _note_unequal(y: Array, notes: list[str]) -> None:
    runs = np.isfinite(y).sum(axis=0)
    runs = runs[runs > 0]
    if len(runs) and runs.min() < runs.max():
        notes.append(f"Unbalanced: cells hold {runs.min()} to {runs.max()} runs; each cell's mean counts alike.")


def _after_look(
    table: pd.DataFrame, block: str | None, added_seeds: Sequence[object], labels: tuple[str, ...], place: str
) -> tuple[str, ...]:
    if not block:
        return ()
    marked = {key(value) for value in added_seeds}
    strange = [value for value in added_seeds if key(value) not in {key(text) for text in labels}]
    if strange:
        raise UserError(place, block, f"{label(strange[0])} is not in the table", f"there are {', '.join(labels)}")
    if "added_after_look" in table.columns:
        yes = table["added_after_look"].map(lambda value: key(value) in ("true", 1.0)).to_numpy(dtype=bool)
        marked |= {key(value) for value in table[block][yes]}
    return tuple(text for text in labels if key(text) in marked)
