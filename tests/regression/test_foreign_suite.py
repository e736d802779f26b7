"""The gate on a repository that has nothing of this project: its own package in ``src/``, its own suite file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sota_bench.cli import main

PACKAGE = """
import time

def parse():
    time.sleep({seconds})
"""

SUITE = """
import time

import helper


def prepare_parse(scratch, device):
    from numbers_parser import parse

    return helper.laps_of(parse)


class Control:
    control = True

    def prepare(self, scratch, device):
        return helper.laps_of(lambda: time.sleep(0.001))


WORKLOADS = {"parse": prepare_parse, "control": Control()}
"""

HELPER = """
def laps_of(work):
    def run(lap):
        lap()
        for _ in range(2):
            work()
            lap()

    return run
"""


@pytest.fixture
def repository(tmp_path: Path, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of a parser with two commits, of which the second parses ten times slower."""
    folder = tmp_path / "repository"
    (folder / "src" / "numbers_parser").mkdir(parents=True)
    (folder / "perf").mkdir()
    (folder / "perf" / "suite.py").write_text(SUITE)
    (folder / "perf" / "helper.py").write_text(HELPER)
    git(tmp_path, "init", "-q", str(folder))
    for seconds in (0.002, 0.02):
        (folder / "src" / "numbers_parser" / "__init__.py").write_text(PACKAGE.format(seconds=seconds))
        git(folder, "add", ".")
        git(folder, "commit", "-qm", f"parse in {seconds} s")
    monkeypatch.chdir(folder)
    return folder


def test_any_repository_is_gated_with_its_own_suite(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = ["timing", "gate", "--suite", "perf/suite.py", "--json", "--seconds", "0.01", "--blocks", "2"]
    assert main([*gate, "--base", "HEAD^"]) == 3
    outcome = json.loads(capsys.readouterr().out)
    assert [(row["workload"], row["kind"]) for row in outcome["times"]] == [("parse", "slower")]
    assert "control" in outcome["control"]
    assert main([*gate, "--base", "HEAD", "--on-void", "pass"]) == 0


@pytest.mark.parametrize(
    ("suite", "problem"),
    [("import no_such_module", "ModuleNotFoundError"), ("WORKLOAD = {}", "suite.py has no WORKLOADS")],
)
@pytest.mark.parametrize("arguments", [["gate", "--base", "HEAD"], ["gate", "--write-counts"], ["record"]])
def test_a_suite_that_cannot_be_read_is_one_line(
    repository: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], suite: str, problem: str
) -> None:
    (repository / "perf" / "suite.py").write_text(suite)
    assert main(["timing", *arguments, "--suite", "perf/suite.py"]) == 2
    last_line = capsys.readouterr().err.strip().splitlines()[-1]
    assert last_line.startswith("--suite: perf/suite.py cannot be measured: ") and problem in last_line
