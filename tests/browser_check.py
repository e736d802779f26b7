"""Runs a script that drives Chromium, for tests of pages in a real browser.

Needs Node.js, Chromium (``CHROMIUM`` names another one than /usr/bin/chromium) and, once, ``npm install`` in
``tests/report/browser``; ``REPORT_BROWSER_MODULES`` names another folder that holds ``node_modules``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parent / "report" / "browser"
MODULES = Path(os.environ.get("REPORT_BROWSER_MODULES", PACKAGE)) / "node_modules"
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))


def run_script(script: Path, folder: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Runs a script in a folder with the browser's packages; returns its exit code and the JSON lines that it prints.

    Skips the test where Node.js, Chromium or the packages are missing.
    """
    for missing, absent in {
        "node": shutil.which("node") is None,
        str(CHROMIUM): not CHROMIUM.exists(),
        str(MODULES): not MODULES.is_dir(),
    }.items():
        if absent:
            pytest.skip(f"no {missing}")
    shutil.copy(script, folder)
    shutil.copy(PACKAGE / "package.json", folder)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(MODULES.resolve(), target_is_directory=True)
    done = subprocess.run(
        ["node", script.name, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]
