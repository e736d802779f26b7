"""Modules are imported in the background, and one that cannot be imported is left out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sota_bench.preload import preload


def test_all_modules_are_imported_and_those_that_fail_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "preload_good.py").write_text("")
    (tmp_path / "preload_bad.py").write_text("raise RuntimeError('no')")
    monkeypatch.syspath_prepend(str(tmp_path))
    thread = preload(["preload_missing", "preload_bad", "preload_good"])
    thread.join(30)
    assert thread.daemon
    assert "preload_good" in sys.modules
    assert "preload_bad" not in sys.modules
