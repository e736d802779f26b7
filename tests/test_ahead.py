"""Imports ahead: done in the background, and a missing module is nobody's failure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sota_bench.ahead import import_ahead


def test_all_modules_are_imported_and_those_that_fail_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ahead_good.py").write_text("")
    (tmp_path / "ahead_bad.py").write_text("raise RuntimeError('no')")
    monkeypatch.syspath_prepend(str(tmp_path))
    thread = import_ahead(["ahead_missing", "ahead_bad", "ahead_good"])
    thread.join(30)
    assert thread.daemon
    assert "ahead_good" in sys.modules
    assert "ahead_bad" not in sys.modules
