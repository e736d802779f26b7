"""What the benchmarks that kill processes count, and when they fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sota_bench.stages.stage import Stage
from sota_bench.store import Store


@pytest.fixture
def killing(
    imported: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> ModuleType:
    """The command of that name; what it sets for its processes is taken back."""
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("SOTA_BENCH_SOAK", "")
    return imported(request.param)


@pytest.mark.parametrize("killing", ["soak"], indirect=True)
def test_a_stage_that_was_done_twice_is_doubled_unless_its_artifact_was_damaged(
    killing: ModuleType, tmp_path: Path
) -> None:
    store, (one, other) = Store(tmp_path / "store"), (Stage(key * 64, "train", {}, {}, key, (key,)) for key in "ab")
    with store.hold("test"):
        for stage in (one, other):
            store.commit(stage, store.workspace(stage.key), {}, {}, 0.0, 1)
        store.set_aside(other.key, "flipped")
    assert killing.doubled(store, [one, other], Counter({"a": 1, "b": 2})) == 0
    assert killing.doubled(store, [one, other], Counter({"a": 2, "b": 2})) == 1


@pytest.mark.parametrize("killing", ["kill_trainings"], indirect=True)
@pytest.mark.parametrize(
    "name", ["", "exit code in the end", "trials that differ", "files compared", "in the middle of a phase"]
)
def test_trainings_that_were_not_killed_or_compared_prove_nothing(killing: ModuleType, name: str) -> None:
    report = {"exit code left alone": 0, "exit code in the end": 0, "files compared": 9, "in the middle of a phase": 3}
    report |= dict.fromkeys(killing.DIFFERENCES, 0)
    assert killing.passed({**report, name: int(not report.get(name))}) == (name == "")
