"""Files are whole or absent: a failed write leaves what was there, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sota_bench.files import replace_folder, replacing, write_json, write_text


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    write_text(file, "a\r\nb\n")
    assert file.read_bytes() == b"a\r\nb\n"
    write_json(file, {"b": [1.5], "a": "ä"})
    assert file.read_text() == '{"a":"\\u00e4","b":[1.5]}'
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_earlier_file_and_no_part(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    write_text(file, "earlier")
    with pytest.raises(RuntimeError), replacing(file) as part:
        part.write_text("half of")
        raise RuntimeError
    with pytest.raises(ValueError):
        write_json(file, float("nan"))
    assert file.read_text() == "earlier" and list(tmp_path.iterdir()) == [file]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    for content in ("first", "second"):
        new = tmp_path / "new"
        new.mkdir()
        (new / content).touch()
        replace_folder(new, folder)
        assert [path.name for path in folder.iterdir()] == [content]
    assert list(tmp_path.iterdir()) == [folder]
