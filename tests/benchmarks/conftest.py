"""Commands of ``benchmarks/`` as they run: imported from their own folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FOLDERS = (BENCHMARKS, BENCHMARKS / "peers")


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a command anew, with what it imports from its folder; all of it is forgotten after the test."""

    def load(name: str) -> ModuleType:
        monkeypatch.setattr(sys, "path", [*map(str, FOLDERS), *sys.path])
        for file in (file for folder in FOLDERS for file in folder.glob("*.py") if file.stem != "conftest"):
            monkeypatch.delitem(sys.modules, file.stem, raising=False)
        return importlib.import_module(name)

    return load
