"""The rows of a user's table that can be analysed: status, numbers and repeated rows are checked here."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sota_bench.errors import UserError
from sota_bench.stats import warning_sentences
from sota_bench.stats.levels import is_missing

if TYPE_CHECKING:
    import pandas as pd

KNOWN_STATUSES = ("done", "failed", "blocked", "not_applicable", "not_asked")
PERCENT = re.compile(r"\s*([+-]?[\d.]+(?:[eE][+-]?\d+)?)\s*%\s*")


class Finished(NamedTuple):
    """The rows that hold a result.

    Attributes:
        rows: with the response as numbers.
        counts: how many rows of the table have each status, ``done`` included.
        notes: what was left out.
        percent: whether the response was written with percent signs.
    """

    rows: pd.DataFrame
    counts: dict[str, int]
    notes: tuple[str, ...]
    percent: bool


def require_column(table: pd.DataFrame, column: str, place: str) -> None:
    """Checks that a column exists once.

    Raises:
        UserError: it does not, with the nearest names; or it occurs twice.
    """
    if column in table.columns:
        if list(table.columns).count(column) > 1:
            raise UserError(place, column, "the column occurs twice", "rename one of them")
        return
    near = difflib.get_close_matches(column, [str(name) for name in table.columns], n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(map(str, table.columns))}"
    raise UserError(place, column, "no such column", hint)


def missing_in_any(rows: pd.DataFrame, names: Sequence[str]) -> NDArray[np.bool_]:
    """Which rows have an empty entry in one of the columns."""
    empty = np.zeros(len(rows), dtype=bool)
    for name in names:
        empty |= rows[name].map(is_missing).to_numpy(dtype=bool)
    return empty


def finished_rows(
    table: pd.DataFrame, *, response: str, names: Sequence[str], block: str | None, allow_missing: bool, place: str
) -> Finished:
    """The finished rows with a finite response.

    Args:
        table: the user's table.
        response: its column of numbers; "87.4%" is 87.4.
        names: columns of the factors.
        block: column of the blocks, or None.
        allow_missing: leave out finished rows without a response, with a note, instead of refusing them.
        place: what an error calls the table.

    Raises:
        UserError: no row is done although some have a status that is not known; a response is no finite number, or
            some have a percent sign and others do not; the table holds rows twice.
    """
    notes: list[str] = []
    rows, counts = _done(table, place, notes)
    _refuse_repeated(rows, response, names, block, place)
    values, percent = _numbers(rows[response], response, place)
    empty = rows[response].map(is_missing).to_numpy(dtype=bool)
    bad = ~np.isfinite(values) & ~(empty & allow_missing)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        shown = "nothing" if empty[at] else repr(str(rows[response].iloc[at]))
        raise UserError(
            place, response, f"row {rows.index[at]} holds {shown}, not a finite number",
            "mark it in a column named status (failed), or remove it",
        )  # fmt: skip
    if empty.any():
        notes.append(warning_sentences.rows_left_out(int(empty.sum()), response))
    return Finished(rows.assign(**{response: values})[~empty], counts, tuple(notes), percent)


def _done(table: pd.DataFrame, place: str, notes: list[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    if "status" not in table.columns:
        return table, {"done": len(table)}
    status = table["status"].astype(str).str.strip()
    counts = {"done": 0, **{str(name): int(count) for name, count in status.value_counts(sort=False).items()}}
    unknown = [name for name in counts if name not in KNOWN_STATUSES]
    if unknown and not counts["done"]:
        raise UserError(
            place, "status", f"no row is done; there are {', '.join(unknown)}", "write done for finished trials"
        )
    for name, count in counts.items():
        if name in KNOWN_STATUSES and name != "done":
            notes.append(warning_sentences.rows_without_result(name, count))
    if unknown:
        notes.append(warning_sentences.unknown_status(unknown, KNOWN_STATUSES))
    return table[(status == "done").to_numpy()], counts


def _refuse_repeated(rows: pd.DataFrame, response: str, names: Sequence[str], block: str | None, place: str) -> None:
    """Refuses copies of rows.

    Rows that are equal in every column are copies: with a block always; without one where every row has as many, since
    two runs of one cell may well have the same result. An unnamed column, such as a row number, may tell copies apart:
    with a block, a table in which every run and result occurs several times is refused, too.
    """
    text = rows.astype(object).map(lambda value: "" if is_missing(value) else str(value))
    for columns, any_copy in ((list(text.columns), bool(block)), ([*names, block, response], False)):
        if text.empty or None in columns:
            return
        group = text.groupby(list(dict.fromkeys(columns)), sort=False).ngroup().to_numpy()
        sizes = np.bincount(group)
        if (any_copy and sizes.max() > 1) or (len(text) > 2 and math.gcd(*(int(size) for size in sizes)) > 1):
            first, second = text.index[group == np.argmax(sizes > 1)][:2]
            raise UserError(
                place, "", f"rows {first} and {second} are copies", "remove repeated rows: each run counts once"
            )


def _numbers(column: pd.Series, response: str, place: str) -> tuple[NDArray[np.float64], bool]:
    """The response as numbers, NaN where it is none, and whether it was written with percent signs."""
    import pandas as pd

    marked = [PERCENT.fullmatch(str(value)) for value in column]
    if not any(marked):
        return pd.to_numeric(column, errors="coerce").to_numpy(dtype=float), False
    for label, value, match in zip(column.index, column, marked, strict=True):
        if match is None and not is_missing(value):
            raise UserError(
                place, response, f"row {label} holds {str(value)!r}, and other rows have a percent sign",
                "write all values the same way",
            )  # fmt: skip
    return np.array([float(match[1]) if match else np.nan for match in marked]), True
