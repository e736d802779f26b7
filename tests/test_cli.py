"""The command line: one line for every failure, the exit codes of the contract, and a start that imports little."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from sota_bench import cli
from sota_bench.errors import UserError
from sota_bench.interrupts import LINE

ROOT = Path(__file__).parents[1]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Makes every command raise what the test says."""

    def install(error: BaseException | None, answer: object = None) -> None:
        @click.command("fake")
        def fake() -> object:
            if error is not None:
                raise error
            return answer

        monkeypatch.setattr(cli.LazyGroup, "list_commands", lambda self, ctx: ["fake"])
        monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: fake)

    return install


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sota_bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert cli.main([]) == 0 and capsys.readouterr().out == shown
    for name, purpose in cli.COMMANDS.items():
        assert f"\n  {name} " in shown and purpose[:30] in shown


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: sota-bench {name}")


def test_every_command_module_is_in_the_table() -> None:
    texts = {path.stem: path.read_text() for path in (ROOT / "sota_bench" / "commands").glob("*.py")}
    commands = {name for name, text in texts.items() if re.search(r"^(command =|def command\()", text, re.M)}
    assert commands == set(cli.COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sota-bench ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["lisst"], "sota-bench: there is no command 'lisst'; did you mean list?"),
        (["--colour"], "sota-bench: No such option '--colour'; `sota-bench --help` shows how"),
        (["init", "a", "b"], "sota-bench init: Got unexpected extra argument (b); `sota-bench init --help` shows how"),
        (["list", "--jsn"], "sota-bench list: "),
        (["init", "--data"], "sota-bench: Option '--data' requires an argument; "),
        (["a\nb\x1b[2J"], "sota-bench: there is no command 'a\\nb\\x1b[2J'; "),
    ],
)  # fmt: skip
def test_usage_errors_are_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.rstrip("\n").isprintable()
    assert captured.err.replace(": --colour", " '--colour'").startswith(line)


def test_what_a_user_can_cause_is_one_line_and_2(failing, capsys: pytest.CaptureFixture[str]) -> None:
    failing(UserError("grid.toml", "factors.mixup", "1.5x is\nnot \x1b[31m a number", "write 1.5"))
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == "grid.toml: factors.mixup: 1.5x is not \\x1b[31m a number; write 1.5\n"


@pytest.mark.parametrize(("answer", "code"), [(None, 0), (0, 0), (1, 1), (3, 3), (True, 0)])
def test_the_answer_of_a_command_is_the_exit_code(failing, answer: object, code: int) -> None:
    failing(None, answer)
    assert cli.main(["fake"]) == code


def test_click_exits_are_kept(failing) -> None:
    failing(click.exceptions.Exit(3))
    assert cli.main(["fake"]) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupted(failing, error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    failing(error)
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr().err == LINE + "\n"


def test_an_internal_error_is_one_line_with_a_log(
    failing, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(cli.DEBUG, raising=False)
    failing(RuntimeError("two\nlines"))
    assert cli.main(["fake"]) == 1
    line = capsys.readouterr().err
    (log,) = tmp_path.iterdir()
    assert line == f"internal error, please report it: RuntimeError: two lines; the traceback is in {log}\n"
    assert "Traceback (most recent call last)" in log.read_text() and "RuntimeError: two" in log.read_text()
    monkeypatch.setenv(cli.DEBUG, "1")
    with pytest.raises(RuntimeError):
        cli.main(["fake"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "a/b"), "a/b: No space left on device; free some space"),
        (PermissionError(13, "Permission denied", "a/b"), "a/b: Permission denied; fix this"),
        (OSError("odd"), "odd; fix this"),
    ],
)
def test_what_the_operating_system_refuses_is_one_line_and_2(
    failing, error: OSError, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cli.DEBUG, raising=False)
    failing(error)
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == f"{line} and run the same command again\n"


@pytest.mark.parametrize("arguments", [["--version"], ["fake"]])
def test_an_output_that_is_full_is_one_line_and_2(
    failing, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, text: object) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    failing(None)
    monkeypatch.delenv(cli.DEBUG, raising=False)
    monkeypatch.setattr(sys, "stdout", Full())
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == "No space left on device; free some space and run the same command again\n"
    monkeypatch.setattr(sys, "stderr", Full())
    assert cli.main(arguments) == 2


def test_nowhere_to_write_the_log(failing, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    monkeypatch.delenv(cli.DEBUG, raising=False)
    failing(RuntimeError("x"))
    assert cli.main(["fake"]) == 1
    assert (
        capsys.readouterr().err
        == "internal error, please report it: RuntimeError: x; SOTA_BENCH_DEBUG=1 shows the traceback\n"
    )


TINY = """
[grid]
name = "käse"
seeds = [0]
[data]
source = "known-effects"
fraction = 0.05
[recipe]
backbone = "test_resnet"
resize = "32x1"
[factors]
lr = [0.001, 0.002]
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a grid that trains for a second; its first run trains, and later ones are answered from the
    store."""
    folder = tmp_path_factory.mktemp("käse")
    (folder / "käse.toml").write_text(TINY, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("arguments", "redirection", "environment"),
    [
        ("run käse.toml --no-calibrate", "2>&1 | head -1", {}),
        ("run käse.toml", "2>/dev/null | true", {}),
        ("run käse.toml", ">&-", {}),
        ("run käse.toml", ">&- 2>&- <&-", {}),
        ("run käse.toml", "", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("list fields", "| true", {}),
    ],
)
def test_a_command_finishes_whatever_becomes_of_its_output(
    tiny: Path, arguments: str, redirection: str, environment: dict[str, str]
) -> None:
    page = tiny / "reports" / "käse" / "report.html"
    page.unlink(missing_ok=True)
    script = f"set -o pipefail; exec {sys.executable} -m sota_bench {arguments} --workers 1 {redirection}"
    script = script.replace("list fields --workers 1", "list fields")
    done = subprocess.run(
        ["bash", "-c", script], cwd=tiny, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    assert page.exists() == arguments.startswith("run")


@pytest.mark.parametrize("command", ["run", "plan", "report", "status"])
def test_a_wrong_grid_leaves_nothing_behind(command: str, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text("[factors]\nmixup = [nan]\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "sota_bench", command, "grid.toml"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "grid.toml: factors.mixup: nan is not a finite number; write a number from 0 to 100\n"
    assert [path.name for path in tmp_path.iterdir()] == ["grid.toml"]


def test_help_starts_at_once() -> None:
    """User time, so that a busy machine does not decide; the best of three, so that a cold disk does not."""
    best = min(_cpu_seconds(["--help"]) for _ in range(3))
    assert best < 0.3


def _cpu_seconds(arguments: list[str]) -> float:
    before = os.times()
    start = time.monotonic()
    program(*arguments)
    after = os.times()
    used = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return used or time.monotonic() - start


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sota_bench.cli import main; main(['--help'])\n"
        "heavy = {'torch', 'timm', 'numpy', 'pandas', 'scipy', 'matplotlib', 'pydantic', 'rich', 'jinja2'}\n"
        "sys.stderr.write(repr(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr == "[]"
