"""Questions to a process with torch: asked once, kept, and never in the way where there is no answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sota_bench.grid import torch_queries
from sota_bench.grid.torch_queries import ask

MODULE = """
import os
from pathlib import Path
from sota_bench.grid.torch_queries import serve
def answer(question):
    print("a library prints")
    if "fail" in question:
        raise ValueError
    with Path(os.environ["ASKED"]).open("a") as log:
        log.write(f"{question['n']}\\n")
    return {"twice": 2 * question["n"]}
if __name__ == "__main__":
    serve()
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module ``doubling``, a process without torch, and a log of what was asked."""
    (tmp_path / "doubling.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(torch_queries.__file__).parents[2]}")
    monkeypatch.setenv("ASKED", str(tmp_path / "log"))
    monkeypatch.setattr(torch_queries, "_cache", lambda: tmp_path / "cache")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return tmp_path / "log"


def test_each_question_is_asked_once(asked: Path) -> None:
    assert ask("doubling", [{"n": 1}, {"n": 2}]) == [{"twice": 2}, {"twice": 4}]
    assert ask("doubling", [{"n": 3}, {"n": 2}]) == [{"twice": 6}, {"twice": 4}]
    assert asked.read_text().split() == ["1", "2", "3"]
    assert ask("doubling", [{"n": 1}], code="changed") == [{"twice": 2}]
    assert asked.read_text().split() == ["1", "2", "3", "1"]


def test_no_answer_is_none_and_is_not_kept(asked: Path, tmp_path: Path) -> None:
    assert ask("doubling", [{"fail": 1}]) == [None]
    assert ask("absent_module", [{"n": 1}]) == [None]
    assert not list((tmp_path / "cache").glob("*.json"))


def test_a_damaged_or_closed_cache_is_done_without(asked: Path, tmp_path: Path) -> None:
    ask("doubling", [{"n": 1}])
    (file,) = (tmp_path / "cache").glob("*.json")
    file.write_text("{")
    assert ask("doubling", [{"n": 1}]) == [{"twice": 2}]
    file.unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert ask("doubling", [{"n": 1}]) == [{"twice": 2}]


def test_a_process_that_has_torch_answers_itself(asked: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", object())
    assert ask("doubling", [{"n": 4}]) == [{"twice": 8}]
    assert not (tmp_path / "cache").exists()
