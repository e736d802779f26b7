"""The page in a real browser: no violation of axe-core, no validator error, no request, message or sideways scroll."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser_check import run_script

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def check(folder: Path, pages: dict[str, str]) -> tuple[int, list[dict[str, Any]]]:
    """Run check.mjs on the pages; returns its exit code and one result per check."""
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
    return run_script(Path(__file__).parent / "check.mjs", folder, *pages)


def test_pages_pass(page: str, hostile_page: str, tmp_path: Path) -> None:
    code, results = check(tmp_path, {"page.html": page, "hostile.html": hostile_page})
    assert len(results) == 10
    wrong = [
        result for result in results if any(value for key, value in result.items() if key not in ("file", "check"))
    ]
    assert (code, wrong) == (0, [])


def test_a_bad_page_is_noticed(hostile_page: str, tmp_path: Path) -> None:
    bad = hostile_page.replace(
        '<main id="content">',
        '<main id="content"><img src="x.png"><p style="color:#ccc;width:900px">pale<script>console.error("no")</script>'
        '<button id="content"></button>',
        1,
    )
    code, results = check(tmp_path, {"bad.html": bad})
    by_check = {str(result["check"]): result for result in results}
    assert code == 1
    assert by_check["html-validate"]["errors"]
    assert by_check["axe light"]["violations"] and by_check["axe dark"]["messages"]
    assert int(str(by_check["reflow at 320 px"]["overflow"])) > 0
