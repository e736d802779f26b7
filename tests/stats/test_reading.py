"""Tables in the dialects that people's programs write, with the numbers and line numbers that they hold."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sota_bench.errors import UserError
from sota_bench.stats import analyze
from sota_bench.stats.reading import read_table

LINES = ["seed,mixup,accuracy", *(f"{s},{m},{50 + 3 * s + 20 * float(m) + (s * 7 + i) % 3 / 10}"
         for s in range(4) for i, m in enumerate(("0.0", "0.2", "0.4")))]  # fmt: skip
PLAIN = "\n".join(LINES) + "\n"


def numbers(path: Path) -> list[tuple[float | None, ...]]:
    analysis = analyze(read_table(path), response="accuracy", factors=["mixup"])
    return [(row.estimate, row.se, row.df, row.p_holm) for row in analysis.contrasts]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float | None, ...]]:
    path = tmp_path_factory.mktemp("plain") / "t.csv"
    path.write_text(PLAIN, encoding="utf-8")
    return numbers(path)


GERMAN = PLAIN.replace(",", ";").replace(".", ",")
DIALECTS = {
    "byte order mark": PLAIN.encode("utf-8-sig"),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "Windows line ends": PLAIN.replace("\n", "\r\n").encode(),
    "old Macintosh line ends": PLAIN.replace("\n", "\r").encode(),
    "semicolons and decimal commas": GERMAN.encode(),
    "Excel's first line": ("sep=;\n" + GERMAN).encode(),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "spaces after separators": PLAIN.replace(",", ", ").encode(),
    "quotes": PLAIN.replace("accuracy", '"accuracy"').encode(),
    "no last line end": PLAIN.rstrip().encode(),
    "an empty last column": PLAIN.replace("\n", ",\n").encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_hold_the_same_numbers(dialect: str, tmp_path: Path, expected: list[tuple[float, ...]]) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(DIALECTS[dialect])
    assert numbers(path) == expected


def test_percent_signs_are_percent(tmp_path: Path, expected: list[tuple[float, ...]]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([LINES[0].replace("accuracy", "score"), *(line + "%" for line in LINES[1:])]))
    analysis = analyze(read_table(path), response="score", factors=["mixup"])
    assert [(row.estimate, row.se, row.df, row.p_holm) for row in analysis.contrasts] == expected
    assert analysis.overview.unit == "pp"
    path.write_text(path.read_text().replace("%", "", 1))
    with pytest.raises(UserError, match="other rows have a percent sign"):
        analyze(read_table(path), response="score", factors=["mixup"])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    blanks=st.lists(
        st.tuples(st.integers(0, len(LINES)), st.sampled_from(["", "  ", ",,", ",,,,,,", " , ,", "\t"])), max_size=8
    )
)
def test_rows_without_content_move_no_number(
    tmp_path: Path, expected: list[tuple[float, ...]], blanks: list[tuple[int, str]]
) -> None:
    lines = list(LINES)
    for at, text in blanks:
        lines.insert(at, text)
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert numbers(path) == expected
    table = read_table(path)
    for line, row in table.iterrows():
        assert lines[int(str(line)) - 1] == ",".join(row), "the index is the line that an editor shows"


def test_a_quoted_field_over_two_lines_counts_both(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('seed,note,y\n0,"two\nlines",1\n1,,2\n')
    assert list(read_table(path).index) == [2, 4]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PLAIN.encode())))
    assert len(read_table(Path("-"))) == len(LINES) - 1


@pytest.mark.parametrize("suffix", [".parquet", ".xlsx"])
def test_binary_tables(suffix: str, tmp_path: Path, expected: list[tuple[float, ...]]) -> None:
    pytest.importorskip("pyarrow" if suffix == ".parquet" else "openpyxl")
    path = tmp_path / f"t{suffix}"
    table = pd.read_csv(io.StringIO(PLAIN))
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_excel(path, index=False)
    assert numbers(path) == expected


def test_a_reader_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1")

    def missing(*_: object) -> None:
        raise ImportError("pyarrow")

    monkeypatch.setattr(pd, "read_parquet", missing)
    with pytest.raises(UserError, match=r"pip install 'sota-bench\[tables\]'"):
        read_table(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2,3\n", "line 2: it has 3 fields, and the header has 2"),
        ('a,b\n\n1,"2\n', "not a CSV file"),
        ("a;b\n1;0,5\n2;0.5\n", "line 2 has a decimal comma (0,5), and line 3 a decimal point (0.5)"),
        ("\n,,\n", "the file is empty"),
    ],
)
def test_what_is_no_table_is_one_line_that_says_where(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_table(path)
    assert words in str(error.value) and "\n" not in str(error.value)
