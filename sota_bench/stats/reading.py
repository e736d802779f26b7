"""Tables as people have them: CSV in any of its dialects, Parquet and Excel, each cell as the text that was written."""

from __future__ import annotations

import csv
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sota_bench.errors import UserError
from sota_bench.stats.levels import is_missing, label

if TYPE_CHECKING:
    import pandas as pd

STANDARD_INPUT = "-"
SEPARATORS = ",;\t|"
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?\s*%?")
DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?\s*%?")
PARQUET, EXCEL = (".parquet", ".pq"), (".xlsx", ".xlsm", ".xls")
EXTRA = "pip install 'sota-bench[tables]'"


def read_table(source: Path) -> pd.DataFrame:
    """A table whose cells are text; an empty field is missing, and levels may be called none or NA.

    CSV may use commas, semicolons, tabs or bars, decimal commas beside the latter three, UTF-8 or UTF-16, with or
    without a byte order mark, and any line ends. Rows without any content are left out. The index holds line numbers
    as an editor shows them (the row numbers of a spreadsheet; of Parquet, the first row is 1).

    Args:
        source: a path, its kind told by its suffix (.parquet, .xlsx, .xls, anything else is CSV), or ``-`` for CSV on
            standard input.

    Raises:
        UserError: there is no such file, it is no table, or reading it needs a package that is not installed.
    """
    if str(source) == STANDARD_INPUT:
        return _read_csv(sys.stdin.buffer.read(), "standard input")
    if not source.is_file():
        raise UserError(str(source), "", "there is no such file", "give the path of a table, or - for standard input")
    suffix = source.suffix.lower()
    if suffix in PARQUET:
        return _read_binary(source, first_row=1)
    if suffix in EXCEL:
        return _read_binary(source, first_row=2)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise UserError(str(source), "", f"cannot be read ({error})", "check its permissions") from None
    return _read_csv(content, str(source))


def _read_binary(source: Path, first_row: int) -> pd.DataFrame:
    import pandas as pd

    try:
        if source.suffix.lower() in PARQUET:
            table = pd.read_parquet(source)
        else:
            table = pd.read_excel(source, dtype=object, keep_default_na=False)
    except ImportError:
        raise UserError(str(source), "", "reading this file needs a package that is not installed", EXTRA) from None
    except Exception as error:  # each reader has exceptions of its own
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(str(source), "", f"cannot be read as {source.suffix} ({line})", "check the file") from None
    table = table.reset_index() if table.index.name is not None else table
    text = table.astype(object).map(lambda value: None if is_missing(value) else label(value))
    text.index = pd.RangeIndex(first_row, first_row + len(text))
    text.columns = [str(name).strip() for name in text.columns]
    return text.dropna(how="all")


def _read_csv(content: bytes, place: str) -> pd.DataFrame:
    import pandas as pd

    text = _decode(content, place)
    lines = io.StringIO(text, newline="")
    separator = None
    if marked := re.match(r"sep=(.)\r?\n", text):  # Excel's own first line
        separator = marked[1]
        lines.readline()
    skipped = 1 if marked else 0
    separator = separator or _separator(text)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[list[str | None]] = []
    numbers: list[int] = []
    header: list[str] = []
    last = skipped
    try:
        for fields in reader:
            # A quoted field may span lines: the row is named by its first one.
            line, last = last + 1, reader.line_num + skipped
            cells = [field.strip() for field in fields]
            if not any(cells):
                continue
            if not header:
                header = cells
                continue
            if any(cells[len(header) :]):
                raise UserError(
                    place, f"line {line}", f"it has {len(cells)} fields, and the header has {len(header)}",
                    "not a CSV file as it stands: quote fields that hold the separator",
                )  # fmt: skip
            padded = [*cells, *[""] * (len(header) - len(cells))][: len(header)]
            rows.append([cell or None for cell in padded])
            numbers.append(line)
    except csv.Error as error:
        raise UserError(
            place, f"line {last + 1}", f"not a CSV file ({error})", "give separated text, one row per trial"
        ) from None
    if not header:
        raise UserError(place, "", "the file is empty", "give a header line and one row per trial")
    while header and not header[-1] and not any(row[len(header) - 1] for row in rows):
        header.pop()
        rows = [row[: len(header)] for row in rows]
    if separator != ",":
        _renumberdecimal_commas(header, rows, numbers, place)
    return pd.DataFrame(rows, columns=pd.Index(header), index=pd.Index(numbers, dtype=int), dtype=object)


def _decode(content: bytes, place: str) -> str:
    """The text of a file: by its byte order mark, else UTF-8, else UTF-16 where every other byte is zero."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\x00" in content[:200]:
        encoding = "utf-16-be" if content[:1] == b"\x00" else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        problem = f"not a CSV file in {encoding.upper()} (byte {error.start} is invalid)"
        raise UserError(place, "", problem, "save it as UTF-8") from None


def _separator(text: str) -> str:
    """The separator that the header uses most, outside quotes; a comma where it uses none."""
    header = next((line for line in text.splitlines() if line.strip(SEPARATORS + " ")), "")
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=unquoted.count)


def _renumberdecimal_commas(header: list[str], rows: list[list[str | None]], numbers: list[int], place: str) -> None:
    for column, name in enumerate(header):
        cells = [row[column] or "" for row in rows]
        commas = [number for number, cell in enumerate(cells) if DECIMAL_COMMA.fullmatch(cell)]
        points = [number for number, cell in enumerate(cells) if DECIMAL_POINT.fullmatch(cell)]
        if commas and points:
            comma, point = commas[0], points[0]
            raise UserError(
                place, name, f"line {numbers[comma]} has a decimal comma ({cells[comma]}), and line {numbers[point]} a "
                f"decimal point ({cells[point]})", "write all numbers the same way",
            )  # fmt: skip
        for number in commas:
            rows[number][column] = cells[number].replace(",", ".")
