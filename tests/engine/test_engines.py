"""The engines that ``--engine`` names."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from sota_bench import cli
from sota_bench.engine.engines import ENGINES, Engine, engine_named


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_takes_what_a_run_gives_it(name: str) -> None:
    given = set(inspect.signature(Engine.__call__).parameters) - {"self"}
    assert given <= set(inspect.signature(engine_named(name)).parameters)


def test_the_option_selects_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text('[grid]\nseeds = [0]\n[recipe]\nbackbone = "test_resnet"\n[factors]\nlr = [0.001]\n')
    assert cli.main(["run", "grid.toml", "--engine", "slate"]) == 2
    assert "'slate' is not 'local'" in capsys.readouterr().err
    chosen: list[str] = []

    class Chosen(Exception):
        """The engine that the command would run."""

    def note(name: str) -> Engine:
        chosen.append(name)
        raise Chosen

    monkeypatch.setattr("sota_bench.runs.execute.engine_named", note)
    monkeypatch.setenv(cli.DEBUG, "1")
    with pytest.raises(Chosen):
        cli.main(["run", "grid.toml", "--engine", "local", "--no-calibrate", "--workers", "1"])
    assert chosen == ["local"]
