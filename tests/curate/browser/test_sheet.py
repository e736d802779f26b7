"""The contact sheet in a real browser: it is valid and accessible, keys change ``keep``, and what it saves is the file.

Needs what the tests of the report's page need (see ``tests/report/browser``).
"""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest
from browser_check import PACKAGE, run_script

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_sheet_passes_what_the_report_passes(curated: Path, tmp_path: Path) -> None:
    shutil.copy(curated / "report.html", tmp_path / "sheet.html")
    _, results = run_script(PACKAGE / "check.mjs", tmp_path, "sheet.html")
    assert len(results) == 5
    assert [one for one in results if any(value for key, value in one.items() if key not in ("file", "check"))] == []


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_keys_change_the_file_that_is_saved(curated: Path, tmp_path: Path) -> None:
    shutil.copy(curated / "report.html", tmp_path / "sheet.html")
    _, [seen] = run_script(Path(__file__).parent / "keys.mjs", tmp_path, "sheet.html", "saved.csv")
    assert seen["messages"] == [] and seen["requests"] == [] and seen["name"] == "manifest.csv"
    rows = {name: int(str(row)) for name, row in dict(seen["rows"]).items()}  # type: ignore[call-overload]
    assert rows["below"] not in (rows["first"], rows["second"])
    shown = list(seen["shown"])  # type: ignore[call-overload]
    assert shown and all("wrong-label" in reasons.split() for reasons in shown)
    before = (curated / "manifest.csv").read_text(encoding="utf-8")
    after = (tmp_path / "saved.csv").read_text(encoding="utf-8")
    old, new = records(before), records(after)
    changed = [row for row, (one, other) in enumerate(zip(old, new, strict=True)) if one != other]
    edited = {rows["first"], rows["second"], rows["suggested"]}
    assert set(changed) == edited
    assert seen["changes"] == f"{len(edited)} changes, not saved yet" and "Saved" in str(seen["after"])
    for name in ("first", "second"):
        assert (old[rows[name]]["keep"], new[rows[name]]["keep"]) == ("true", "false")
    suggestion = old[rows["suggested"]]["suggested_class"]
    assert new[rows["suggested"]]["class"] == suggestion and seen["given"] == f"now {suggestion}"
    lines = zip(before.splitlines(), after.splitlines(), strict=True)
    assert sum(one != other for one, other in lines) == len(edited)  # all other lines are as they were
