"""Tiny projects whose times are written in a file, so that the gate's answer is known."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SUITE = Path(__file__).parent / "fake_suite.py"


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with a package, a suite and times: ``project("base", alpha=1.0)``."""

    def make(name: str, suite: Callable[[str], str] = str, **times: Any) -> Path:
        folder = tmp_path / name
        (folder / "tiny_package").mkdir(parents=True)
        (folder / "benchmarks").mkdir()
        (folder / "tiny_package" / "__init__.py").write_text("")
        (folder / "tiny_package" / "times.json").write_text(json.dumps(times))
        (folder / "benchmarks" / "workloads.py").write_text(suite(SUITE.read_text()))
        return folder

    return make


@pytest.fixture
def git() -> Callable[..., str]:
    """Runs git in a folder with a made-up committer."""
    if not shutil.which("git"):
        pytest.skip("there is no git")

    def run(folder: Path, *arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return run
