"""One run with everything and one hostile small one, rendered once for all tests of the page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from synthetic import FACTORS, HOSTILE, synthetic

from sota_bench.report.answers import answers_of
from sota_bench.report.page import render
from sota_bench.report.tables import RunTables


@pytest.fixture(scope="session")
def tables() -> RunTables:
    return synthetic()


@pytest.fixture(scope="session")
def analysis(tables: RunTables) -> Any:
    return answers_of(tables)


@pytest.fixture(scope="session")
def page(tables: RunTables, analysis: Any) -> str:
    return render(tables, analysis)


@pytest.fixture(scope="session")
def hostile() -> RunTables:
    """Two factors, names and levels that try to break out of the page, a control."""
    factors = {"mixup": FACTORS["mixup"], HOSTILE: ["a", HOSTILE]}
    return synthetic(seeds=3, factors=factors, name=HOSTILE, control=True)


@pytest.fixture(scope="session")
def hostile_page(hostile: RunTables) -> str:
    return render(hostile, answers_of(hostile))
