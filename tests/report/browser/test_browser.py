"""The page in a real browser: no violation of axe-core, no validator error, no request, no message, no sideways scroll.

Needs Node.js, Chromium (``CHROMIUM`` names another one than /usr/bin/chromium) and, once, ``npm install`` in this
folder; ``REPORT_BROWSER_MODULES`` names another folder that holds ``node_modules``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = Path(os.environ.get("REPORT_BROWSER_MODULES", HERE)) / "node_modules"
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def check(folder: Path, pages: dict[str, str]) -> tuple[int, list[dict[str, object]]]:
    """Run check.mjs on the pages; returns its exit code and one result per check."""
    for missing, absent in {
        "node": shutil.which("node") is None,
        str(CHROMIUM): not CHROMIUM.exists(),
        str(MODULES): not MODULES.is_dir(),
    }.items():
        if absent:
            pytest.skip(f"no {missing}")
    shutil.copy(HERE / "check.mjs", folder)
    shutil.copy(HERE / "package.json", folder)
    (folder / "node_modules").symlink_to(MODULES.resolve(), target_is_directory=True)
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
    done = subprocess.run(
        ["node", "check.mjs", *pages], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


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
