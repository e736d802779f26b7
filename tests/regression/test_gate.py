"""The gate from end to end on tiny projects whose times are known: real processes, a clock that obeys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from sota_bench.cli import main
from sota_bench.regression.gate import process_seconds

Project = Callable[..., Path]
Gated = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def gated(capsys: pytest.CaptureFixture[str]) -> Gated:
    """Runs the gate on two folders; exit code and JSON."""

    def run(base: Path | str, head: Path | str, *options: str) -> tuple[int, dict[str, Any]]:
        arguments = ["timing", "gate", "--base", str(base), "--head", str(head), "--json", "--seconds", "0.01"]
        code = main([*arguments, "--blocks", "2", *options])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_the_same_times_pass(project: Project, gated: Gated) -> None:
    code, outcome = gated(project("base"), project("head"))
    assert code == 0 and outcome["answer"] == "pass" and outcome["failures"] == []
    assert [(row["workload"], row["kind"], row["blocks"]) for row in outcome["times"]] == [
        ("alpha", "pass", [2]),
        ("beta", "pass", [2]),
    ]


def test_a_slow_down_fails_after_a_second_round_of_that_workload_alone(project: Project, gated: Gated) -> None:
    code, outcome = gated(project("base", alpha=1.0, beta=2.0), project("head", alpha=1.1, beta=2.0))
    assert code == 3 and outcome["answer"] == "fail"
    times = {row["workload"]: row for row in outcome["times"]}
    assert times["alpha"]["kind"] == "slower" and times["alpha"]["change"] == pytest.approx(0.1)
    assert times["alpha"]["blocks"] == [2, 2] and times["beta"]["blocks"] == [2]


def test_a_slow_down_below_the_threshold_and_a_speed_up_pass(project: Project, gated: Gated) -> None:
    code, outcome = gated(project("base", alpha=1.0, beta=1.0), project("head", alpha=1.03, beta=0.5))
    assert code == 0 and outcome["answer"] == "pass"


def test_a_control_that_moves_makes_the_run_void(project: Project, gated: Gated) -> None:
    base, head = project("base"), project("head", control=1.2, alpha=1.2)
    code, outcome = gated(base, head)
    assert code == 3 and outcome["answer"] == "void" and "control" in outcome["void"] and outcome["times"] == []
    assert gated(base, head, "--on-void", "pass")[0] == 0


def renamed(text: str) -> str:
    return text.replace('"alpha", "beta"', '"alpha", "gamma"')


def test_a_renamed_workload_fails_unless_it_is_accepted(project: Project, gated: Gated) -> None:
    base, head = project("base"), project("head", suite=renamed)
    code, outcome = gated(base, head)
    assert code == 3 and list(outcome["missing"]) == ["beta"] and outcome["new"] == ["gamma"]
    assert gated(base, head, "--accept", "beta")[0] == 0


@pytest.mark.parametrize(
    "now", ["control=name == 'control', timed=name != 'beta'", "control=name in ('control', 'beta')"]
)
def test_a_workload_that_is_no_longer_timed_fails(project: Project, gated: Gated, now: str) -> None:
    def untimed(text: str) -> str:
        return text.replace('control=name == "control"', now)

    code, outcome = gated(project("base"), project("head", suite=untimed, beta=9.0))
    assert code == 3 and list(outcome["missing"]) == ["beta"] and "it was timed" in outcome["missing"]["beta"]
    assert [row["workload"] for row in outcome["times"]] == ["alpha"] and "control" in outcome["control"]


def test_no_workload_at_all_fails(project: Project, gated: Gated) -> None:
    def emptied(text: str) -> str:
        return text.split("WORKLOADS:")[0] + "WORKLOADS = {}\n"

    code, outcome = gated(project("base", suite=emptied), project("head", suite=emptied))
    assert code == 3 and outcome["failures"] == ["nothing was measured"]


@pytest.mark.parametrize(("how", "reason"), [("raises", "ValueError: alpha is broken"), ("dies", "ended with code 7")])
def test_a_workload_that_breaks_in_the_head_fails_and_the_others_are_measured(
    project: Project, gated: Gated, how: str, reason: str
) -> None:
    code, outcome = gated(project("base"), project("head", alpha=how))
    assert code == 3 and reason in outcome["missing"]["alpha"]
    assert [row["workload"] for row in outcome["times"]] == ["beta"]


def test_a_base_without_a_suite_makes_every_workload_new(project: Project, gated: Gated) -> None:
    base = project("base")
    (base / "benchmarks" / "workloads.py").unlink()
    code, outcome = gated(base, project("head"))
    assert code == 0 and outcome["new"] == ["alpha", "beta"]


def test_too_little_time_is_inconclusive_and_no_failure(project: Project, gated: Gated) -> None:
    code, outcome = gated(project("base"), project("head", alpha=9.0), "--minutes", "0.0001")
    assert code == 0 and outcome["answer"] == "inconclusive"


def test_revisions_of_git_are_compared_and_the_table_is_appended(
    project: Project, gated: Gated, git: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project("repository", alpha=1.0)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "fast")
    (folder / "tiny_package" / "times.json").write_text('{"alpha": 1.25}')
    monkeypatch.chdir(folder)
    summary_file = tmp_path / "summary.md"
    code, outcome = gated("HEAD", ".", "--only", "al*", "--summary", str(summary_file))
    assert code == 3 and outcome["base"].startswith("HEAD (") and outcome["head"] == "working tree"
    assert [row["workload"] for row in outcome["times"]] == ["alpha"]
    assert "| ▼ | alpha | +25.0% |" in summary_file.read_text(encoding="utf-8")
    git(folder, "commit", "-qam", "slow")
    assert gated("HEAD^", "HEAD")[0] == 3 and gated("HEAD", "HEAD")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base", "no-such-branch"], "no revision 'no-such-branch'"),
        ([], "--base: is missing"),
        (["--base", ".", "--only", "nothing"], "matches no workload; choose among control, alpha, beta"),
        (["--base", ".", "--suite", "none.py"], "there is no none.py here"),
        (["--base", ".", "--counts-only", "--times-only"], "leave nothing"),
    ],
)
def test_mistakes_are_one_line(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(project("here"))
    assert main(["timing", "gate", *options]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]


def test_a_process_is_its_least_lap_on_a_cpu_and_its_median_on_a_gpu() -> None:
    assert process_seconds([3.0, 1.0, 2.0], "cpu") == 1.0 and process_seconds([3.0, 1.0, 2.5], "cuda:0") == 2.5


def test_a_record_is_added_and_compared(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project("here", alpha=0.5)
    monkeypatch.chdir(folder)
    for seconds in (0.5, 0.5, 0.5, 0.75, 0.75):
        (folder / "tiny_package" / "times.json").write_text(json.dumps({"alpha": seconds}))
        assert main(["timing", "record", "--processes", "1", "--only", "alpha", "--seconds", "0.01"]) == 0
    capsys.readouterr()
    assert main(["timing", "compare", "--json"]) == 0
    rows = next(iter(json.loads(capsys.readouterr().out).values()))
    assert rows[0]["seconds"] == pytest.approx([0.5, 0.5, 0.5, 0.75, 0.75])
    assert [(change["index"], round(change["change"], 3)) for change in rows[0]["changes"]] == [(3, 0.5)]
    page = (folder / "timing-history" / "timing.html").read_text(encoding="utf-8")
    assert "+50.0%" in page and page.count("<svg") == 2 and "http://" not in page.replace("http://www.w3.org", "")


def test_an_interrupted_gate_leaves_no_process(project: Project, tmp_path: Path) -> None:
    base, head = project("base"), project("head", alpha="hangs")
    command = [sys.executable, "-m", "sota_bench", "timing", "gate", "--base", str(base), "--head", str(head)]
    gate = subprocess.Popen(
        command, cwd=head, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    hung = wait_for(lambda: next(iter(tmp_path.glob("*/work-B/hangs")), None))
    assert hung is not None
    measuring = int(hung.read_text())
    gate.send_signal(signal.SIGINT)
    gate.communicate(timeout=30)
    assert gate.returncode == 130
    assert wait_for(lambda: not psutil.pid_exists(measuring)), "the measuring process is still there"


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    until = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < until:
        time.sleep(0.05)
    return value
