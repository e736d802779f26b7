"""A rule of the package: it shows numbers and computes none."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPORT = Path(__file__).parents[2] / "sota_bench" / "report"


@pytest.mark.parametrize("path", sorted(REPORT.rglob("*.py")), ids=lambda path: path.stem)
def test_statistics_are_those_of_stats(path: Path) -> None:
    """No distribution, test or interval is computed here."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        assert not {name.split(".")[0] for name in names} & {"scipy", "statsmodels"}, path
