"""Amounts in words: the digits that they are good for, and what is written back."""

from __future__ import annotations

import pytest

from sota_bench.errors import UserError
from sota_bench.units import counted, duration_text, parse_bytes, size_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (0.004, "0.004 s"), (0.03, "0.03 s"), (0.26, "0.3 s"), (4.84, "4.8 s"), (9.96, "10 s"),
        (38.2, "38 s"), (59.4, "59 s"), (59.7, "1.0 min"), (144.0, "2.4 min"), (38 * 60.0, "38 min"),
        (7190.0, "2.0 h"), (3.1 * 3600, "3.1 h"), (5.2 * 86400, "5.2 days"),
    ],
)  # fmt: skip
def test_a_duration_is_in_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_bytes_are_read_as_people_write_them_and_shown_in_one_unit() -> None:
    sizes = {"2GB": 2 * 10**9, " 500 mb ": 5 * 10**8, "1.5 GiB": 3 * 2**29, "7": 7}
    assert {text: parse_bytes("--disk-limit", text) for text in sizes} == sizes
    assert [size_text(count) for count in (7, 5 * 10**8, 2.5 * 10**12)] == ["7 B", "500.0 MB", "2.5 TB"]
    with pytest.raises(UserError, match="--disk-limit: 'much' is not a size; write for example 2GB or 500MB"):
        parse_bytes("--disk-limit", "much")


def test_nouns_agree_with_their_number() -> None:
    assert [counted(n, "worker") for n in (0, 1, 2, 1200)] == ["0 workers", "1 worker", "2 workers", "1,200 workers"]
    assert counted(2, "entry", "entries") == "2 entries"
