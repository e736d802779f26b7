"""Splits and labels of images by the columns of tables, which are named by the user or found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sota_bench.data.layout import Layout, Member
from sota_bench.data.options import ReadingOptions
from sota_bench.data.split_names import SPLIT_WORDS, split_name, split_of_path, split_of_words
from sota_bench.data.tables import LABEL_COLUMNS, LabelTable, simple_name
from sota_bench.errors import UserError
from sota_bench.grid.nearest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

NUMBER_COLUMNS = ("labelid", "classid", "categoryid", "labelidx", "classidx", "labelindex", "classindex", "targetid")
"""Names of a column of class numbers: read where there is no better one."""

SPLIT_COLUMNS = ("split", "subset", "set", "partition", "phase", "usage", "datasplit")
_FLAG_COLUMNS = {
    "isvalid": "val", "isval": "val", "istest": "test", "istrain": "train", "istraining": "train",
    "isvalidation": "val", "istrainingimage": "train", "istrainimg": "train",
}  # fmt: skip
_FOLD_COLUMNS = ("fold", "folds", "kfold", "cvfold")
_YES = frozenset({"true", "1", "1.0", "yes", "t", "y"})


_LEAST_ROWS = 10
_ORDER = ("train", "val", "test", "")
MOST_CLASHES = 0.01
"""Share of images about which a table and folders, or two tables, may disagree and still mean the same classes."""


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
    named_by: dict[str, str] = {}
    empty: dict[str, str] = {}
    missing: list[tuple[str, str]] = []
    clashes: list[tuple[str, str, str]] = []
    in_two_splits: list[str] = []
    for table in tables:
        column, values = label_values(table, options, origin)
        table_splits = _table_splits(table, options, origin, layout)
        layout.notes.append(f"labels are those of {table.name}, column {column}")
        for path, called, value, split in zip(table.files, table.named, values, table_splits, strict=True):
            label = value.strip()
            if not path:
                missing.append((called, f"no such image: listed in {table.name}"))
            elif not label:
                empty[path] = f"no label: empty in {table.name}"
            elif labels.setdefault(path, label) != label:
                if named_by[path] != table.name:
                    clashes.append((path, named_by[path], table.name))
                labels[path] = ""
            else:
                named_by.setdefault(path, table.name)
                known = splits.get(path, "")
                if known and split and known != split:
                    in_two_splits.append(path)
                splits[path] = min((known or split, split or known), key=_ORDER.index)
    if len(clashes) > MOST_CLASHES * len(labels):
        path, first, second = clashes[0]
        problem = f"{first} and {second} give {len(clashes):,} images different labels, such as {path}"
        raise UserError(origin, "data.labels", problem, f'name the table to use, such as data.labels = "{first}"')
    names = ", ".join(table.name for table in tables)
    for path in images:
        if labels.get(path):
            layout.members[path] = Member(splits[path], labels[path])
        elif path in labels:
            layout.left_out.append((path, f"two labels: in {names}"))
        else:
            layout.left_out.append((path, empty.get(path, f"no label: not listed in {names}")))
    layout.left_out += missing
    if missing:
        count = "1 row names an image" if len(missing) == 1 else f"{len(missing):,} rows name images"
        layout.alarms.append(f"{names}: {count} that the source does not hold, such as {missing[0][0]}.")
    if in_two_splits:
        are = "1 image is" if len(in_two_splits) == 1 else f"{len(in_two_splits):,} images are"
        layout.alarms.append(f"{names}: {are} in two splits, such as {in_two_splits[0]}; the first of them is used.")
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
    column = find_label_column(frame, options)
    if column is not None:
        distinct = frame[column].nunique()
        if len(frame) >= _LEAST_ROWS and 2 * distinct > len(frame):
            problem = f"column {column} of {table.name} has {distinct:,} values in {len(frame):,} rows, so they are "
            remedy = f'name the column of labels; if it is this one, write data.label_column = "{column}"'
            raise UserError(origin, "data.label_column", problem + "hardly classes", remedy)
        return column, frame[column].tolist()
    one_hot = _one_hot(frame)
    if one_hot is not None:
        return f"{', '.join(sorted(set(one_hot))[:4])} (1 in one of them)", one_hot
    several = [name for name in frame.columns if simple_name(name) in LABEL_COLUMNS]
    if several:
        problem = f"{table.name} has several columns that could be the labels ({', '.join(several)})"
        raise UserError(origin, "data.label_column", problem, "name the one to use")
    problem = f"no column of {table.name} is known to be the labels ({shown})"
    raise UserError(origin, "data.label_column", problem, "name the one to use")


def find_label_column(frame: pd.DataFrame, options: ReadingOptions) -> str | None:
    """The column of labels by its name, or the only one there is; None where that is not certain."""
    by_name = {name: simple_name(name) for name in frame.columns}
    candidates = [name for name in frame.columns if by_name[name] in LABEL_COLUMNS]
    candidates = candidates or [name for name in frame.columns if by_name[name] in NUMBER_COLUMNS]
    if not candidates:
        others = _other_columns(frame, options)
        candidates = others if len(others) == 1 and _repeats(frame[others[0]]) else []
    if len(candidates) > 1 and _same_division(frame, candidates):
        words = [name for name in candidates if not frame[name].str.fullmatch(r"-?[0-9.]*").all()]
        return (words or candidates)[0]
    return candidates[0] if len(candidates) == 1 else None


def could_be_labels(frame: pd.DataFrame, options: ReadingOptions) -> bool:
    """Whether some column is named as labels are, or repeats its values as they do."""
    names = _other_columns(frame, options)
    named = any(simple_name(name) in LABEL_COLUMNS for name in names)
    return named or any(_repeats(frame[name]) and frame[name].nunique() > 1 for name in names)


def _other_columns(frame: pd.DataFrame, options: ReadingOptions) -> list[str]:
    """Columns that hold no split and no group."""
    known = (options.split_column, options.group)
    return [str(name) for name in frame.columns if not _is_split_column(name) and name not in known]


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
    return simple_name(name) in (*SPLIT_COLUMNS, *_FLAG_COLUMNS, *_FOLD_COLUMNS)


def _table_splits(table: LabelTable, options: ReadingOptions, origin: str, layout: Layout) -> list[str]:
    """The split of each row: by a column, by the folder of its image, or by the table's own name."""
    frame = table.columns
    if options.split_column and options.split_column not in frame.columns:
        remedy = did_you_mean(options.split_column, list(frame.columns), "name a column of the table")
        raise UserError(origin, "data.split_column", f"{table.name} has no column {options.split_column!r}", remedy)
    named = options.split_column or next((name for name in frame.columns if simple_name(name) in SPLIT_COLUMNS), "")
    if named:
        splits = [split_of_words(value) for value in frame[named]]
        if all(splits):
            return splits
        unclear = next(value for value, split in zip(frame[named], splits, strict=True) if not split)
        if options.split_column and simple_name(named) not in _FLAG_COLUMNS:
            remedy = f"write values such as {', '.join(SPLIT_WORDS)}"
            raise UserError(origin, "data.split_column", f"{unclear!r} in {named} is no split", remedy)
        if not options.split_column:
            if "train" in splits:
                problem = f"column {named} of {table.name} holds splits, and {unclear!r}"
                remedy = "remove these rows, or write train, val or test into them"
                raise UserError(origin, "data.split_column", problem, remedy)
            values = f"values that are no splits, such as {unclear!r}"
            layout.alarms.append(f"Column {named} of {table.name} is not used: it holds {values}.")
    flags = [name for name in frame.columns if simple_name(name) in _FLAG_COLUMNS]
    if flags:
        splits = [""] * len(frame)
        for flag in flags:
            split = _FLAG_COLUMNS[simple_name(flag)]
            for row, value in enumerate(frame[flag]):
                if value.strip().lower() in _YES:
                    splits[row] = split
        other = "val" if all(_FLAG_COLUMNS[simple_name(flag)] == "train" for flag in flags) else "train"
        return [split or other for split in splits]
    folds = next((name for name in frame.columns if simple_name(name) in _FOLD_COLUMNS), "")
    if folds and frame[folds].str.fullmatch(r"[0-9]+").all() and frame[folds].nunique() > 1:
        first = min(frame[folds], key=int)
        layout.notes.append(f"fold {first} of column {folds} of {table.name} is for evaluation, the others train")
        return ["val" if value == first else "train" for value in frame[folds]]
    own = split_name(table.name.rpartition("/")[2])
    return [split_of_path(path) or (own.split if own else "") for path in table.files]
