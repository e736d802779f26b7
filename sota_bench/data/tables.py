"""Labels that stand in a table beside the images: CSV, TSV, JSON lines or a plain list, with columns named or found."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from sota_bench.data.layout import Layout, Member
from sota_bench.data.names import normalized
from sota_bench.data.options import ReadingOptions
from sota_bench.data.split_names import SPLIT_WORDS, split_name, split_of_words
from sota_bench.errors import UserError
from sota_bench.grid.nearest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt")
MOST_BYTES = 1 << 28
"""A larger table is read only where data.labels names it."""

LABEL_COLUMNS = (
    "label", "class", "classname", "classlabel", "labelname", "category", "categoryname", "target", "labels", "classes",
    "cls", "y", "species", "breed", "diagnosis", "disease", "variety", "groundtruth", "gt",
)  # fmt: skip
"""Names of a column of labels, in lower case and without spaces, hyphens and underscores."""

NUMBER_COLUMNS = ("labelid", "classid", "categoryid", "labelidx", "classidx", "labelindex", "classindex", "targetid")
"""Names of a column of class numbers: read where there is no better one."""

SPLIT_COLUMNS = ("split", "subset", "set", "partition", "phase", "usage", "datasplit")
_FLAG_COLUMNS = {
    "isvalid": "val", "isval": "val", "istest": "test", "istrain": "train", "istraining": "train",
    "isvalidation": "val", "istrainingimage": "train", "istrainimg": "train",
}  # fmt: skip
_FOLD_COLUMNS = ("fold", "folds", "kfold", "cvfold")
_YES = frozenset({"true", "1", "1.0", "yes", "t", "y"})
_LOOKED_AT = 500
"""Rows by which a column of file names is found."""


@dataclass
class LabelTable:
    """A table whose rows are images.

    Attributes:
        name: its path inside the source.
        columns: every other column as text, one row per image.
        files: the image that each row names; "" where there is none.
        named: what each row calls it.
    """

    name: str
    columns: pd.DataFrame
    files: list[str]
    named: list[str]


class FileIndex:
    """Finds images by what a table calls them: a path, a name, or a name without its ending."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for path in paths:
            name = normalized(path.rpartition("/")[2])
            self._by_name.setdefault(name, []).append(path)
            self._by_stem.setdefault(name.rpartition(".")[0] or name, []).append(path)

    def candidates(self, value: str) -> list[str]:
        """Images that a table's value may mean."""
        value = normalized(value.strip().replace("\\", "/").removeprefix("./").lstrip("/"))
        name = value.rpartition("/")[2]
        if not name:
            return []
        for index, suffix in ((self._by_name, value), (self._by_stem, value)):
            matches = index.get(name, [])
            if "/" not in value:
                chosen = matches
            else:
                stems = index is self._by_stem
                chosen = [path for path in matches if _ends_with(normalized(path), suffix, stems)]
            if chosen:
                return chosen
        return []


def _ends_with(path: str, value: str, without_ending: bool) -> bool:
    path = path.rpartition(".")[0] if without_ending else path
    return path == value or path.endswith("/" + value) or value.endswith("/" + path)


def find_tables(
    files: Mapping[str, int], index: FileIndex, read: Callable[[str], bytes], options: ReadingOptions, origin: str
) -> list[LabelTable]:
    """Tables of a source whose rows name its images.

    Args:
        files: paths of the files that are no images -> bytes.
        index: of the images.
        read: reads a file of the source.
        options: may name the table and its columns.
        origin: the source as the user knows it, for errors.

    Raises:
        UserError: the table that the options name cannot be read, or names no image.
    """
    if options.labels:
        chosen = [path for path in files if path == options.labels or fnmatch(path, options.labels)]
        if not chosen:
            names = [path for path in files if path.lower().endswith(SUFFIXES)]
            remedy = did_you_mean(options.labels, names, "name a table inside the source")
            raise UserError(origin, "data.labels", f"there is no file {options.labels!r}", remedy)
    else:
        chosen = [path for path, size in files.items() if _may_be_table(path, size)]
    tables: list[LabelTable] = []
    for path in sorted(chosen):
        frame = _parse(path, read(path), index)
        table = _as_table(path, frame, index, options) if frame is not None else None
        if table is not None:
            tables.append(table)
        elif options.labels:
            columns = f" (columns {', '.join(map(str, frame.columns))})" if frame is not None else ""
            problem = f"no column of {path} names the images{columns}"
            raise UserError(origin, "data.file_column", problem, "name the column that does")
    return tables


def _may_be_table(path: str, size: int) -> bool:
    name = path.rpartition("/")[2].lower()
    return name.endswith(SUFFIXES) and size <= MOST_BYTES and "submission" not in name


def _parse(path: str, data: bytes, index: FileIndex) -> pd.DataFrame | None:
    """A file as a table of text, or None where it is none."""
    import pandas as pd

    text = _decoded(data)
    if not text.strip():
        return None
    try:
        if path.lower().endswith((".jsonl", ".ndjson")):
            return _text_frame([json.loads(line) for line in text.splitlines() if line.strip()])
        if path.lower().endswith(".json"):
            return _json_frame(json.loads(text))
        first = text.lstrip().splitlines()[0]
        delimiter = max("\t,;|", key=first.count)
        if not first.count(delimiter):
            if len(first.split()) != 2:
                return None
            delimiter = r"\s+"
        cells = [cell.strip(' "') for cell in (first.split() if delimiter == r"\s+" else first.split(delimiter))]
        has_names = any(_simple(cell) in LABEL_COLUMNS for cell in cells)
        headless = not has_names and any(index.candidates(cell) for cell in cells)
        frame = pd.read_csv(
            io.StringIO(text), dtype=str, keep_default_na=False, na_filter=False, sep=delimiter, skipinitialspace=True,
            header=None if headless else 0, on_bad_lines="skip", index_col=False,
            engine="python" if delimiter == r"\s+" else "c",
        )  # fmt: skip
    except (ValueError, OverflowError, RecursionError):  # pandas and json raise ValueErrors
        return None
    frame.columns = [str(column).strip() for column in frame.columns]
    return frame if len(frame.columns) > 1 and len(frame) and frame.columns.is_unique else None


def _decoded(data: bytes) -> str:
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _text_frame(rows: object) -> pd.DataFrame | None:
    """Rows of JSON objects as a table of text, without what is nested."""
    import pandas as pd

    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    flat = [{str(key): value for key, value in row.items() if not isinstance(value, dict | list)} for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    return pd.DataFrame({name: [_cell(row.get(name)) for row in flat] for name in names}, dtype=object)


def _json_frame(value: object) -> pd.DataFrame | None:
    import pandas as pd

    if isinstance(value, dict) and value and all(isinstance(label, str | int) for label in value.values()):
        return pd.DataFrame({"file": list(value), "label": [str(label) for label in value.values()]}, dtype=object)
    return _text_frame(value)


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _as_table(path: str, frame: pd.DataFrame, index: FileIndex, options: ReadingOptions) -> LabelTable | None:
    """The table with the image of each row, or None where no column names images."""
    column = options.file_column or _file_column(frame, index)
    if column not in frame.columns:
        return None
    named = frame[column].tolist()
    files = [_resolve(index.candidates(value), path) for value in named]
    if not any(files):
        return None
    return LabelTable(path, frame.drop(columns=column), files, named)


def _file_column(frame: pd.DataFrame, index: FileIndex) -> str:
    """The column of which most values name images; at least half of them must."""
    sample = frame.iloc[:: max(1, len(frame) // _LOOKED_AT)]
    shares = {name: sum(bool(index.candidates(value)) for value in sample[name]) / len(sample) for name in frame}
    best = max(shares, key=lambda name: shares[name])
    return str(best) if shares[best] >= 0.5 else ""


def _resolve(candidates: list[str], table: str) -> str:
    """The one image that is meant: of several, that beside the table, or in the split that the table is named for."""
    if len(candidates) < 2:
        return candidates[0] if candidates else ""
    folder, _, name = table.rpartition("/")
    own_split = split_name(name)
    if own_split is not None:
        candidates = [path for path in candidates if _split_of_path(path) == own_split.split] or candidates
    beside = [path for path in candidates if path.rpartition("/")[0] == folder]
    candidates = beside or [path for path in candidates if not folder or path.startswith(folder + "/")] or candidates
    return candidates[0] if len(candidates) == 1 else ""


def _split_of_path(path: str) -> str:
    """The split that the outermost folder with such a name means."""
    for name in path.split("/")[:-1]:
        if meaning := split_name(name):
            return meaning.split
    return ""


def read_tables(tables: Sequence[LabelTable], images: Sequence[str], options: ReadingOptions, origin: str) -> Layout:
    """Splits and classes of images by tables.

    Args:
        tables: as :func:`find_tables` gives them.
        images: paths of all images of the source.
        options: may name the columns.
        origin: the source as the user knows it, for errors.

    Raises:
        UserError: no column, or more than one, can be that of the labels.
    """
    layout = Layout()
    labels: dict[str, str] = {}
    splits: dict[str, str] = {}
    missing: list[tuple[str, str]] = []
    for table in tables:
        column, values = label_values(table, options, origin)
        table_splits = _table_splits(table, options, origin, layout)
        layout.notes.append(f"labels are those of {table.name}, column {column}")
        for path, called, value, split in zip(table.files, table.named, values, table_splits, strict=True):
            if not path:
                missing.append((called, f"no such image: listed in {table.name}"))
            elif not value.strip():
                layout.left_out.append((path, f"no label: empty in {table.name}"))
            elif labels.setdefault(path, value.strip()) != value.strip():
                labels[path] = ""
            else:
                splits[path] = split
    names = ", ".join(table.name for table in tables)
    for path in images:
        if labels.get(path):
            layout.members[path] = Member(splits[path], labels[path])
        elif path in labels:
            layout.left_out.append((path, f"two labels: in {names}"))
    empty = {path for path, _ in layout.left_out}
    unlisted = [path for path in images if path not in labels and path not in empty]
    layout.left_out += [(path, f"no label: not listed in {names}") for path in unlisted]
    layout.left_out += missing
    if missing:
        count = "1 row names an image" if len(missing) == 1 else f"{len(missing):,} rows name images"
        layout.alarms.append(f"{names}: {count} that the source does not hold, such as {missing[0][0]}.")
    if any(member.split for member in layout.members.values()):
        layout.members = {path: Member(split or "train", label) for path, (split, label) in layout.members.items()}
    return layout


def label_values(table: LabelTable, options: ReadingOptions, origin: str) -> tuple[str, list[str]]:
    """The column of labels, and its values.

    Raises:
        UserError: no column, or more than one, can be that of the labels.
    """
    frame = table.columns
    shown = ", ".join(map(str, frame.columns[:12]))
    if options.label_column:
        if options.label_column not in frame.columns:
            remedy = did_you_mean(options.label_column, list(frame.columns), f"choose among {shown}")
            problem = f"{table.name} has no column {options.label_column!r}"
            raise UserError(origin, "data.label_column", problem, remedy)
        return options.label_column, frame[options.label_column].tolist()
    column = find_label_column(frame)
    if column is not None:
        return column, frame[column].tolist()
    one_hot = _one_hot(frame)
    if one_hot is not None:
        return f"{', '.join(sorted(set(one_hot))[:4])} (1 in one of them)", one_hot
    several = [name for name in frame.columns if _simple(name) in LABEL_COLUMNS]
    if several:
        problem = f"{table.name} has several columns that could be the labels ({', '.join(several)})"
        raise UserError(origin, "data.label_column", problem, "name the one to use")
    problem = f"no column of {table.name} is known to be the labels ({shown})"
    raise UserError(origin, "data.label_column", problem, "name the one to use")


def find_label_column(frame: pd.DataFrame) -> str | None:
    """The column of labels by its name, or the only one there is; None where that is not certain."""
    by_name = {name: _simple(name) for name in frame.columns}
    candidates = [name for name in frame.columns if by_name[name] in LABEL_COLUMNS]
    candidates = candidates or [name for name in frame.columns if by_name[name] in NUMBER_COLUMNS]
    if not candidates:
        others = [name for name in frame.columns if not _is_split_column(name)]
        candidates = others if len(others) == 1 and _repeats(frame[others[0]]) else []
    if len(candidates) > 1 and _same_division(frame, candidates):
        words = [name for name in candidates if not frame[name].str.fullmatch(r"-?[0-9.]*").all()]
        return (words or candidates)[0]
    return candidates[0] if len(candidates) == 1 else None


def could_be_labels(frame: pd.DataFrame) -> bool:
    """Whether some column is named as labels are, or repeats its values as they do."""
    names = [name for name in frame.columns if not _is_split_column(name)]
    named = any(_simple(name) in LABEL_COLUMNS for name in names)
    return named or any(_repeats(frame[name]) and frame[name].nunique() > 1 for name in names)


def _repeats(values: pd.Series) -> bool:
    """Whether values are few enough to be classes."""
    return values.nunique() <= max(2, len(values) // 2)


def _same_division(frame: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether columns divide the rows alike, as a class's number and its name do."""
    together = len(frame[list(names)].drop_duplicates())
    return all(frame[name].nunique() == together for name in names)


def _one_hot(frame: pd.DataFrame) -> list[str] | None:
    """The name of the one column that is 1 in each row, where there is always one."""
    numbers = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "False": 0, "True": 1}
    columns = [name for name in frame.columns if frame[name].isin(list(numbers)).all() and not _is_split_column(name)]
    if len(columns) < 2:
        return None
    marks = frame[columns].replace(numbers).astype(int)
    return [str(name) for name in marks.idxmax(axis=1)] if (marks.sum(axis=1) == 1).all() else None


def _is_split_column(name: str) -> bool:
    return _simple(name) in (*SPLIT_COLUMNS, *_FLAG_COLUMNS, *_FOLD_COLUMNS)


def _table_splits(table: LabelTable, options: ReadingOptions, origin: str, layout: Layout) -> list[str]:
    """The split of each row: by a column, by the folder of its image, or by the table's own name."""
    frame = table.columns
    if options.split_column and options.split_column not in frame.columns:
        remedy = did_you_mean(options.split_column, list(frame.columns), "name a column of the table")
        raise UserError(origin, "data.split_column", f"{table.name} has no column {options.split_column!r}", remedy)
    named = options.split_column or next((name for name in frame.columns if _simple(name) in SPLIT_COLUMNS), "")
    if named:
        splits = [split_of_words(value) for value in frame[named]]
        if not all(splits):
            unclear = next(value for value, split in zip(frame[named], splits, strict=True) if not split)
            if options.split_column and _simple(named) not in _FLAG_COLUMNS:
                remedy = f"write values such as {', '.join(SPLIT_WORDS)}"
                raise UserError(origin, "data.split_column", f"{unclear!r} in {named} is no split", remedy)
            if not options.split_column:
                values = f"values that are no splits, such as {unclear!r}"
                layout.alarms.append(f"Column {named} of {table.name} is not used: it holds {values}.")
        else:
            return splits
    flags = [name for name in frame.columns if _simple(name) in _FLAG_COLUMNS]
    if flags:
        splits = [""] * len(frame)
        for flag in flags:
            split = _FLAG_COLUMNS[_simple(flag)]
            for row, value in enumerate(frame[flag]):
                if value.strip().lower() in _YES:
                    splits[row] = split
        other = "val" if all(_FLAG_COLUMNS[_simple(flag)] == "train" for flag in flags) else "train"
        return [split or other for split in splits]
    folds = next((name for name in frame.columns if _simple(name) in _FOLD_COLUMNS), "")
    if folds and frame[folds].str.fullmatch(r"[0-9]+").all() and frame[folds].nunique() > 1:
        first = min(frame[folds], key=int)
        layout.notes.append(f"of the folds in column {folds} of {table.name}, {first} judges and the others train")
        return ["val" if value == first else "train" for value in frame[folds]]
    own = split_name(table.name.rpartition("/")[2])
    return [_split_of_path(path) or (own.split if own else "") for path in table.files]


def _simple(name: str) -> str:
    return "".join(char for char in str(name).lower() if char.isalnum())
