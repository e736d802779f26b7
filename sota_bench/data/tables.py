"""Tables whose rows name images: CSV, TSV, JSON lines or a plain list, found beside the images."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import pairwise
from typing import TYPE_CHECKING

from sota_bench.data.formats import IMAGE_SUFFIXES, suffix_of
from sota_bench.data.names import normalized
from sota_bench.data.options import ReadingOptions
from sota_bench.data.split_names import split_name, split_of_path
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

FILE_COLUMNS = (
    "id", "ids", "imageid", "imgid", "fileid", "photoid", "pictureid", "sampleid", "image", "images", "img", "file",
    "filename", "imagename", "imgname", "name", "photo", "picture", "imagenumber", "imageno", "sample", "path",
)  # fmt: skip
"""Names of columns, written as ``LABEL_COLUMNS``, whose numbers are those of images, and not of rows."""

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
    """Finds images by what a table calls them: a path or a name, also without its ending or with another one."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        self._by_number: dict[str, list[str]] = {}
        for path in paths:
            name = normalized(path.rpartition("/")[2])
            stem = name.rpartition(".")[0] or name
            self._by_name.setdefault(name, []).append(path)
            self._by_stem.setdefault(stem, []).append(path)
            if stem.isdecimal():
                self._by_number.setdefault(stem.lstrip("0"), []).append(path)

    def candidates(self, value: str) -> list[str]:
        """Images that a table's value may mean."""
        value = normalized(value.strip().replace("\\", "/").removeprefix("./").lstrip("/"))
        name = value.rpartition("/")[2]
        if not name:
            return []
        ways = [(self._by_name, name, value), (self._by_stem, name, value)]
        if suffix_of(name) in IMAGE_SUFFIXES:
            ways.append((self._by_stem, name.rpartition(".")[0], value.rpartition(".")[0]))
        for index, key, suffix in ways:
            matches = index.get(key, [])
            if "/" in value:
                stems = index is self._by_stem
                matches = [path for path in matches if _ends_with(normalized(path), suffix, stems)]
            if matches:
                return matches
        return []

    def numbered(self, value: str) -> list[str]:
        """Images whose name is a number, which a table writes without its leading zeros."""
        value = value.strip()
        return self._by_number.get(value.lstrip("0"), []) if value.isdecimal() else []


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
        table = _as_table(path, frame, index, options, origin) if frame is not None else None
        if table is not None:
            tables.append(table)
        elif options.labels:
            columns = f" (columns {', '.join(map(str, frame.columns))})" if frame is not None else ""
            problem = f"no column of {path} names the images{columns}"
            raise UserError(origin, "data.file_column", problem, "name the column that does")
    if options.file_column and not tables:
        problem = f"no table has a column {options.file_column!r} that names images"
        raise UserError(origin, "data.file_column", problem, "name the column that does, or the table with data.labels")
    return tables


def _may_be_table(path: str, size: int) -> bool:
    name = path.rpartition("/")[2].lower()
    return name.endswith(SUFFIXES) and size <= MOST_BYTES and "submission" not in name


def _parse(path: str, data: bytes, index: FileIndex) -> pd.DataFrame | None:
    """A file as a table of text, or None where it is none."""
    import pandas as pd

    text = _decoded(data)
    text = text[_preamble(text) :]
    if not text.strip():
        return None
    try:
        if path.lower().endswith((".jsonl", ".ndjson")):
            return _text_frame([json.loads(line) for line in text.splitlines() if line.strip()])
        if path.lower().endswith(".json"):
            return _json_frame(json.loads(text), index)
        first = text.lstrip().splitlines()[0]
        delimiter = max("\t,;|", key=first.count)
        if not first.count(delimiter):
            if _names_images(text.splitlines(), index):
                return pd.DataFrame({"file": text.splitlines()}, dtype=object)
            if len(first.split()) != 2:
                return None
            delimiter = r"\s+"
        cells = [cell.strip(' "') for cell in (first.split() if delimiter == r"\s+" else first.split(delimiter))]
        has_names = any(simple_name(cell) in LABEL_COLUMNS for cell in cells)
        headless = not has_names and any(index.candidates(cell) for cell in cells)
        frame = pd.read_csv(
            io.StringIO(text), dtype=str, keep_default_na=False, na_filter=False, sep=delimiter, skipinitialspace=True,
            header=None if headless else 0, on_bad_lines="skip", index_col=False,
            engine="python" if delimiter == r"\s+" else "c",
        )  # fmt: skip
    except (ValueError, OverflowError, RecursionError):  # pandas and json raise ValueErrors
        return None
    frame = frame.fillna("")  # what short rows lack
    frame.columns = [str(column).strip() for column in frame.columns]
    return frame if len(frame.columns) and len(frame) and frame.columns.is_unique else None


def _preamble(text: str) -> int:
    """Where a table begins: after comments, and the line by which a spreadsheet names its delimiter."""
    start, lines = 0, text.splitlines(keepends=True)
    for line, following in pairwise(lines):
        is_header = any(line.count(delimiter) == following.count(delimiter) > 0 for delimiter in ",;\t|")
        if not ((line.startswith("#") and not is_header) or line.lower().startswith("sep=") or not line.strip()):
            break
        start += len(line)
    return start


def _names_images(values: Sequence[str], index: FileIndex) -> bool:
    """Whether most of some values are names of images, each another one."""
    sample = values[:: max(1, len(values) // _LOOKED_AT)]
    return bool(sample) and 2 * len({value for value in sample if index.candidates(value)}) >= len(sample)


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


def _json_frame(value: object, index: FileIndex) -> pd.DataFrame | None:
    """Rows as a list of objects, or an object of file -> label, class -> files, or column -> values."""
    import pandas as pd

    if not isinstance(value, dict) or not value:
        return _text_frame(value)
    if all(isinstance(label, str | int) for label in value.values()):
        return pd.DataFrame({"file": list(value), "label": [str(label) for label in value.values()]}, dtype=object)
    columns = {str(name): list(held.values()) if isinstance(held, dict) else held for name, held in value.items()}
    if not all(isinstance(held, list) and all(isinstance(cell, str | int | float) for cell in held)
               for held in columns.values()):  # fmt: skip
        return None
    rows = [(str(file), name) for name, files in columns.items() for file in files]
    if all(_names_images(list(map(str, files)), index) for files in columns.values()):
        return pd.DataFrame(rows, columns=["file", "label"], dtype=object)
    if len({len(held) for held in columns.values()}) > 1:
        return None
    return pd.DataFrame({name: [_cell(cell) for cell in held] for name, held in columns.items()}, dtype=object)


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _as_table(
    path: str, frame: pd.DataFrame, index: FileIndex, options: ReadingOptions, origin: str
) -> LabelTable | None:
    """The table with the image of each row, or None where no column names images.

    Raises:
        UserError: names of images are those of several.
    """
    column = options.file_column or _file_column(frame, index.candidates, list(frame.columns))
    column = column or _file_column(
        frame, index.numbered, [name for name in frame.columns if simple_name(name) in FILE_COLUMNS]
    )
    if column not in frame.columns:
        return None
    named = frame[column].tolist()
    candidates = [index.candidates(value) or index.numbered(value) for value in named]
    files = [_resolve(images, path) for images in candidates]
    if not any(files):
        images = max(candidates, key=len, default=[])
        if len(images) < 2 or len(frame.columns) < 2:
            return None
        problem = f"column {column} of {path} does not say which of {len(images)} images it means, such as "
        remedy = 'name a column of whole paths, or write data.labels = "folders" to use class folders'
        raise UserError(origin, "data.file_column", problem + " and ".join(images[:2]), remedy)
    return LabelTable(path, frame.drop(columns=column), files, named)


def _file_column(frame: pd.DataFrame, find: Callable[[str], list[str]], names: Sequence[str]) -> str:
    """The column of which at least half of the values name images, and of several such the one that names most."""
    sample = frame.iloc[:: max(1, len(frame) // _LOOKED_AT)]
    matches = {name: [value for value in sample[name] if find(value)] for name in names}
    naming = [name for name, values in matches.items() if 2 * len(values) >= len(sample)]
    return max(naming, key=lambda name: len(set(matches[name])), default="")


def _resolve(candidates: list[str], table: str) -> str:
    """The one image that is meant: of several, that beside the table, or in the split that the table is named for."""
    if len(candidates) < 2:
        return candidates[0] if candidates else ""
    folder, _, name = table.rpartition("/")
    own_split = split_name(name)
    if own_split is not None:
        candidates = [path for path in candidates if split_of_path(path) == own_split.split] or candidates
    beside = [path for path in candidates if path.rpartition("/")[0] == folder]
    candidates = beside or [path for path in candidates if not folder or path.startswith(folder + "/")] or candidates
    return candidates[0] if len(candidates) == 1 else ""


def simple_name(name: str) -> str:
    """A column's name in lower case, its letters and digits alone."""
    return "".join(char for char in str(name).lower() if char.isalnum())
