"""A folder of tables with one row per image: what each trial says of the images that judge it.

One file for each trial, named after it: ``c0-s0.csv`` for the row of the trials' table whose column ``trial`` is c0-s0
(CSV in any dialect, Parquet or Excel). Each has the column ``image``, a name that is the same in all files, and

- ``correct``: 1 or 0, true or false; or
- ``label`` and ``prediction``: the true class and the predicted one; or
- ``value``: a number whose mean over the images is the response, such as the negative log-probability of the label.

Images may come in any order. Rows of the trials' table without a file are analysed without predictions.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sota_bench.errors import UserError
from sota_bench.stats.levels import is_missing, key, label
from sota_bench.stats.reading import read_table

if TYPE_CHECKING:
    import pandas as pd

IMAGE, CORRECT, LABEL, PREDICTION, VALUE = "image", "correct", "label", "prediction", "value"
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".xlsx", ".xlsm", ".xls")
COLUMNS = f"{IMAGE}, and {CORRECT}, {LABEL} with {PREDICTION}, or {VALUE}"
YES, NO = ("true", 1.0), ("false", 0.0)


def read_predictions(folder: Path, trials: Mapping[str, Hashable]) -> dict[str, NDArray[Any]]:
    """Trial -> per image whether it is right (bool), or its value (float) [N], in one order for each set of images.

    Args:
        folder: of the tables; files of other names are left alone.
        trials: trial -> the set of images that judges it; trials of one set must have the same images.

    Raises:
        UserError: there is no such folder, it has no file for any trial, or a file does not have the columns, an image
            twice, other images than the first file of its set, or a value that is none.
    """
    if not folder.is_dir():
        raise UserError(str(folder), "", "there is no such folder", "name the folder of the tables of single images")
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    found = {trial: files[trial] for trial in trials if trial in files}
    if not found:
        first = next(iter(trials), "TRIAL")
        raise UserError(str(folder), "", "no file is named after a trial", f"name them like {first}.csv")
    order: dict[Hashable, tuple[Path, dict[str, int]]] = {}
    values = {}
    for trial, path in found.items():
        names, numbers = _read(path)
        first_path, position = order.setdefault(
            trials[trial], (path, {name: number for number, name in enumerate(names)})
        )
        places = [position.get(name, -1) for name in names]
        if -1 in places or len(places) != len(position):
            _refuse_other_images(path, names, first_path, position)
        ordered = np.empty_like(numbers)
        ordered[places] = numbers
        values[trial] = ordered
    return values


def _read(path: Path) -> tuple[list[str], NDArray[Any]]:
    table = read_table(path)
    if IMAGE not in table.columns:
        raise UserError(str(path), IMAGE, "no such column", f"the columns are {COLUMNS}")
    names = [label(name) for name in table[IMAGE]]
    if len(set(names)) < len(names):
        first: dict[str, object] = {}
        for name, line in zip(names, table.index, strict=True):
            if name in first:
                raise UserError(
                    str(path), IMAGE, f"{name!r} occurs on lines {first[name]} and {line}", "give each image one row"
                )
            first[name] = line
    if CORRECT in table.columns:
        return names, _booleans(table, path)
    if {LABEL, PREDICTION} <= set(table.columns):
        for column in (LABEL, PREDICTION):
            _refuse_empty(table[column], path)
        pairs = zip(table[LABEL], table[PREDICTION], strict=True)
        return names, np.array([key(true) == key(predicted) for true, predicted in pairs], dtype=bool)
    if VALUE in table.columns:
        return names, _numbers(table[VALUE], path)
    raise UserError(str(path), "", f"there are {', '.join(map(str, table.columns))}", f"the columns are {COLUMNS}")


def _booleans(table: pd.DataFrame, path: Path) -> NDArray[np.bool_]:
    meaning = {text: key(text) for text in table[CORRECT].unique() if not is_missing(text)}
    _refuse_empty(table[CORRECT], path)
    for text, value in meaning.items():
        if value not in (*YES, *NO):
            line = table.index[(table[CORRECT] == text).to_numpy()][0]
            raise UserError(str(path), CORRECT, f"line {line} holds {text!r}", "write 1 or 0, or true or false")
    return np.array([meaning[text] in YES for text in table[CORRECT]], dtype=bool)


def _numbers(column: pd.Series, path: Path) -> NDArray[np.float64]:
    import pandas as pd

    _refuse_empty(column, path)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    if not np.isfinite(numbers).all():
        at = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise UserError(str(path), VALUE, f"line {column.index[at]} holds {column.iloc[at]!r}", "write a finite number")
    return np.asarray(numbers, dtype=float)


def _refuse_empty(column: pd.Series, path: Path) -> None:
    empty = column.map(is_missing).to_numpy(dtype=bool)
    if empty.any():
        line = column.index[int(np.flatnonzero(empty)[0])]
        raise UserError(str(path), str(column.name), f"line {line} is empty", "give every image a value")


def _refuse_other_images(path: Path, names: Sequence[str], first: Path, position: Mapping[str, int]) -> None:
    strange = next((name for name in names if name not in position), None)
    lacking = next((name for name in position if name not in set(names)), None)
    problem = f"{strange!r} is not in {first.name}" if strange is not None else f"it lacks {lacking!r} of {first.name}"
    raise UserError(
        str(path), IMAGE, problem, "judge all trials on the same images, or tell sets apart in a column judged_on"
    )
