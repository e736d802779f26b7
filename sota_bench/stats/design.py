"""From a table with one row per trial to arrays: which cells exist, which trials are missing, and what was odd."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sota_bench.errors import UserError
from sota_bench.stats import warning_sentences
from sota_bench.stats.gaps import block_notes, empty_cell_notes, lost_levels, unequal_run_notes
from sota_bench.stats.image_sets import ImageSet, lay_out
from sota_bench.stats.kernels import Array
from sota_bench.stats.levels import Factor, distinct, is_missing, key, label, ordered
from sota_bench.stats.sequential import error_after_second_look
from sota_bench.stats.split_plot import Plots, find_plots
from sota_bench.stats.table import Finished, finished_rows, missing_in_any, require_column
from sota_bench.stats.warning_sentences import Lost

if TYPE_CHECKING:
    import pandas as pd


FRACTION_RUNS = "fraction_runs"
"""Column of a fractional design: how many of its runs a cell stands for, 1 but for factors of more than two levels."""

FLAT = 0.1
"""A level is flat where the standard deviation of its results is at most this share of the noise at the other levels. A
single prediction that leaves chance, of one image in one run, does not change that."""


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
        lost: levels of which no trial gave a result, though some were run: how many trials have each status.
        percent: whether the response was written with percent signs.
        plots: plot of each cell [C], where trainings of one seed share a part; see `sota_bench.stats.split_plot`.
        judged: number of the set of images that each cell is judged on [C], where there are several.
        fraction: of a fractional factorial design, how many of its runs each cell stands for [C].
        image_sets: the response of each image, where predictions were given.
        images_by_seed: whether every seed is judged on images of its own, so that its spread holds theirs.
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
    lost: Mapping[tuple[str, str], Lost]
    percent: bool = False
    plots: Plots | None = None
    judged: NDArray[np.int_] | None = None
    fraction: Array | None = None
    image_sets: tuple[ImageSet, ...] = ()
    images_by_seed: bool = False

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
        """Levels, by factor, at which next to nothing varies, neither with a seed nor with any other factor.

        Such a level is at a floor or a ceiling, as a rule at chance: there no other factor can show an effect.
        """
        flat_levels: dict[str, tuple[str, ...]] = {}
        if len(self.y) < 2:
            return flat_levels
        for position, factor in enumerate(self.between):
            codes = np.array([cell[position] for cell in self.cells])
            levels = tuple(factor.levels[code] for code in np.unique(codes) if self._is_flat(codes == code))
            if levels:
                flat_levels[factor.name] = levels
        return flat_levels

    def _is_flat(self, at: NDArray[np.bool_]) -> bool:
        results = self.y[:, at][np.isfinite(self.y[:, at])] if at.sum() > 1 else np.zeros(0)
        if len(results) < 4:
            return False
        others = self.y[:, ~at]
        away = others - np.nanmean(np.where(np.isfinite(others).any(axis=0), others, 0.0), axis=0)
        df = np.isfinite(others).sum() - np.isfinite(others).any(axis=0).sum()
        noise = math.sqrt(float(np.nansum(away**2)) / df) if df > 0 else 0.0
        return noise > 0 and float(np.std(results)) <= FLAT * noise


class Given(NamedTuple):
    """What is known of trials beside their levels: see `analyze`."""

    added_seeds: Sequence[object]
    shares: str | None
    judged: str | None
    predictions: Mapping[str, ArrayLike]
    trial: str
    fractional: bool
    sources: str | None
    planned_gaps: bool


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
    fractional: bool = False,
    sources: str | None = None,
    predictions: Mapping[str, ArrayLike] | None = None,
    trial: str = "trial",
    planned_gaps: bool = False,
    place: str = "table",
) -> Design:
    """Check the table and lay it out.

    A column ``fraction_runs`` with numbers says that the table is a fractional design, as ``fractional`` does.

    Raises:
        UserError: for a table that cannot be analysed: a column that is not there, a response that is not a finite
            number, a factor with fewer than two levels, a level outside the declared ones.
    """
    names = list(dict.fromkeys([*factors, *within, *([sources] if sources else [])]))
    if not names or names == [sources]:
        raise UserError(place, "factors", "no factor is named", "name at least one column that varies")
    if len(table) == 0:
        raise UserError(place, "", "the table has no rows", "give one row per trial")
    for column in [response, *names, *(column for column in (block, shares, judged) if column)]:
        require_column(table, column, place)
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
    finished = finished_rows(
        table, response=response, names=names, block=block, allow_missing=allow_missing, place=place
    )
    rows, notes = finished.rows, list(finished.notes)
    laid_out = tuple(
        _factor(table, rows, name, factors[name] if isinstance(factors, Mapping) and name in factors else None,
                name in within, place)
        for name in names
    )  # fmt: skip
    applies = ~missing_in_any(rows, names)
    if not applies.all():
        notes.append(warning_sentences.rows_left_out(int((~applies).sum()), None))
        rows = rows[applies]
    if block and any(is_missing(value) for value in rows[block]):
        raise UserError(place, block, "a row has no block", "fill the column in, or leave the block out")
    named = FRACTION_RUNS in rows and len(rows) > 0 and not missing_in_any(rows, [FRACTION_RUNS]).any()
    given = Given(added_seeds, shares, judged, predictions or {}, trial, fractional or named, sources, planned_gaps)
    return _lay_out(table, rows, response, laid_out, block, finished, given, notes, place)


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
    declared = {key(level) for level in levels}
    for value in rows[name]:
        if not is_missing(value) and key(value) not in declared:
            raise UserError(place, name, f"level {label(value)!r} is not declared", f"declare it: {', '.join(levels)}")
    return Factor(name, levels, within)


def _lay_out(
    table: pd.DataFrame, rows: pd.DataFrame, response: str, factors: tuple[Factor, ...], block: str | None,
    finished: Finished, given: Given, notes: list[str], place: str,
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
    positions: list[tuple[int, int, int]] = []
    replicate: dict[tuple[int, int], int] = {}
    cell_index = {cell: number for number, cell in enumerate(cells)}
    setting_index = {setting: number for number, setting in enumerate(settings)}
    blocks = [position[key(value)] for value in rows[block]] if block else []
    for row, (cell, setting, value) in enumerate(zip(cell_of, setting_of, rows[response], strict=True)):
        c, w = cell_index[cell], setting_index[setting]
        if block:
            s = blocks[row]
        else:
            s = replicate[c, w] = replicate.get((c, w), -1) + 1
        values.setdefault((s, c, w), []).append(float(value))
        positions.append((s, c, w))
    depth = len(labels) if block else max(replicate.values(), default=-1) + 1
    y = np.full((depth, len(cells), len(settings)), np.nan)
    for position_of_run, results in values.items():
        y[position_of_run] = np.mean(results)
    repeated = sum(len(results) > 1 for results in values.values())
    if repeated:
        notes.append(warning_sentences.averaged_rows(repeated, str(block)))
    lost = lost_levels(table, rows, factors)
    notes += empty_cell_notes(table, factors, codes, given.fractional)
    if block:
        notes += block_notes(y, labels, block, factors, cells, given.planned_gaps)
    else:
        notes += unequal_run_notes(y)
    after = _after_look(table, block, given.added_seeds, labels, place)
    if after:
        error = error_after_second_look(len(labels) - len(after), len(labels))
        notes.append(warning_sentences.added_after_look(str(block), after, error))
    row_cells = [cell_index[cell] for cell in cell_of]
    plots = _plots(rows, given.shares, block, row_cells, notes) if given.shares and block else None
    image_sets: tuple[ImageSet, ...] = ()
    by_seed = False
    if given.predictions:
        image_sets, by_seed, lacking = lay_out(
            rows, given.predictions, response=response, trial=given.trial, judged=given.judged, positions=positions,
            shape=(len(y), len(cells), len(settings)), place=place,
        )  # fmt: skip
        notes += lacking
    expected = len(distinct(list(rows[given.sources]))) if given.sources else 1
    sets = _judged(rows[given.judged], row_cells, blocks or [0] * len(rows), expected, notes) if given.judged else None
    fraction = _fraction(rows, len(cells), row_cells, place) if given.fractional else None
    return Design(
        response, factors, block, cells, settings, labels, y, finished.counts, after, tuple(notes), lost,
        finished.percent, plots, sets, fraction, image_sets, by_seed,
    )  # fmt: skip


def _fraction(rows: pd.DataFrame, cells: int, cell_of: Sequence[int], place: str) -> Array:
    """How many runs of a fractional design each cell stands for [C]; one where the table does not say."""
    runs = np.ones(cells)
    if FRACTION_RUNS in rows:
        for cell, value in zip(cell_of, rows[FRACTION_RUNS], strict=True):
            if not is_missing(value):
                runs[cell] = _runs(value, place)
    return runs


def _runs(value: object, place: str) -> float:
    number = key(value)
    if not isinstance(number, float) or not 1 <= number < 1e6:
        raise UserError(
            place, FRACTION_RUNS, f"{label(value)!r} is no number of runs", "write how many runs the cell stands for"
        )
    return number


def _judged(
    images: pd.Series, cell_of: Sequence[int], seeds: Sequence[int], expected: int, notes: list[str]
) -> NDArray[np.int_] | None:
    """The set of images that each cell is judged on, told in a note where there are more than are expected.

    Each seed may have images of its own: cells share a set where no seed judges them on different ones.
    """
    by_cell: dict[int, dict[int, object]] = {}
    for cell, seed, name in zip(cell_of, seeds, images, strict=True):
        by_cell.setdefault(cell, {})[seed] = key(name)
    sets: list[dict[int, object]] = []
    image_set = np.zeros(max(cell_of, default=-1) + 1, dtype=int)
    for cell in sorted(by_cell):
        own = by_cell[cell]
        agrees = [all(other.get(seed, name) == name for seed, name in own.items()) for other in sets]
        if True not in agrees:
            sets.append({})
        image_set[cell] = agrees.index(True) if True in agrees else len(sets) - 1
        sets[image_set[cell]].update(own)
    if len(sets) < 2:
        return None
    if len(sets) > expected:
        notes.append(warning_sentences.different_images(len(sets), str(images.name)))
    return image_set


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
        notes.append(warning_sentences.shared_training(block, shares, count, int(plots.max()) + 1))
    return plots


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
