"""The engine on a runner without torch: results, failures, hangs, limits; everything by doing it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fake_stages import make, value_of

from sota_bench.engine import events
from sota_bench.engine.events import Event, Summary
from sota_bench.engine.run_stages import run_stages
from sota_bench.errors import UserError
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

FAKE = "fake_stages:execute"

ZEROS_4_GIB = "8479e43911dc45e89f934fe48d01297e16f51d17aa561d4d1c216b1ae0fcddca"
"""SHA-256 of 4 GiB of zeros."""


class Run:
    """One run on a store, and everything it said."""

    def __init__(self, store: Store, stages: Sequence[Stage], **settings: Any) -> None:
        self.events: list[Event] = []
        with store.hold("test"):
            self.summary: Summary = run_stages(
                stages, store, on_event=self.events.append, **{"execute": FAKE, **settings}
            )

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def check_values(store: Store, stages: Sequence[Stage]) -> None:
    """Every stage is done, and its number is the one that follows from its inputs."""
    for stage in stages:
        inputs = {role: store.folder(key) for role, key in stage.parents.items()}
        assert store.result(stage.key).values["value"] == value_of(stage, inputs)
        assert store.verify(stage.key)


def test_a_graph_runs_once_and_is_then_answered_from_the_store(store: Store) -> None:
    data = make("data")
    train = make("train", data)
    stages = [data, train, make("evaluate", train), make("tta", train)]
    run = Run(store, stages, workers=2, threads=3, environment={"MARK": "here"})
    assert run.summary.complete and sorted(run.summary.ran) == sorted(stage.key for stage in stages)
    check_values(store, stages)
    values = store.result(train.key).values
    assert (values["OMP_NUM_THREADS"], values["MARK"], values["device"]) == ("3", "here", "cpu")
    assert values["pid"] != os.getpid() and not psutil.pid_exists(values["pid"])
    started = [event.stage.key for event in run.of(events.StageStarted)]
    assert started[:2] == [data.key, train.key] and len(run.of(events.StageDone)) == 4
    again = Run(store, stages)
    assert again.summary.reused == [stage.key for stage in stages] and not again.summary.ran
    assert not again.of(events.StageStarted) and again.summary.wall_s < 1.0
    assert store.rows()[train.key].attempts == 1
    assert not list((store.root / "work").iterdir())


def test_workers_stay_and_follow_what_they_finished(store: Store) -> None:
    data = make("data")
    trains = [make(f"train {n}", data, step_s=1.5) for n in range(2)]  # longer than a worker takes to start
    leaves = [make(f"evaluate {n}{m}", trains[n]) for n in range(2) for m in range(2)]
    Run(store, [data, *trains, *leaves], workers=2, device=["cpu", "cpu:1"])
    pid = {stage.title: store.result(stage.key).values["pid"] for stage in [*trains, *leaves]}
    assert len(set(pid.values())) == 2
    assert pid["train 0"] == pid["evaluate 00"] and pid["train 1"] == pid["evaluate 10"]
    assert {store.result(stage.key).values["device"] for stage in trains} == {"cpu", "cpu:1"}
    assert {store.result(stage.key).concurrent for stage in trains} == {2}
    assert store.result(data.key).concurrent == 1


def test_workers_import_what_later_stages_need_while_the_first_stage_runs(store: Store) -> None:
    data = make("data", step_s=0.6)
    trains = [make(f"train {n}", data, step_s=0.1) for n in range(2)]
    Run(store, [data, *trains], workers=2)
    assert all(store.result(stage.key).values["preloaded"] for stage in trains)


FAILURES = {
    "raise": ("error", "ValueError: this technique is broken"),
    "memory": ("out of memory", "MemoryError"),
    "diverge": ("diverged", "loss is nan at step 3"),
    "float": ("diverged", "overflow"),
    "segfault": ("crashed", "the worker was killed by signal 11 (SIGSEGV)"),
    "kill": ("crashed", "the worker was killed by signal 9 (SIGKILL, out of memory?), 4 times"),
    "exit": ("crashed", "the worker exited with code 3"),
    "sysexit": ("error", "SystemExit: 4"),
}


def test_a_failure_takes_down_only_itself_and_what_needs_it(store: Store) -> None:
    data = make("data")
    bad = {does: make(does, data, does=does) for does in FAILURES}
    below = [make(f"below {does}", stage) for does, stage in bad.items()]
    last = make("last", below[0])
    good = [make(f"good {n}", data) for n in range(4)]
    run = Run(store, [data, *bad.values(), *below, *good, last], workers=2)
    check_values(store, [data, *good])
    rows = store.rows()
    for does, stage in bad.items():
        failure = run.summary.failed[stage.key]
        assert (failure.kind, failure.reason) == FAILURES[does]
        assert (rows[stage.key].status, rows[stage.key].failure, rows[stage.key].reason) == ("failed", *FAILURES[does])
        assert "attempt 0" in Path(failure.log).read_text()
    assert "Fatal Python error: Segmentation fault" in store.log_path(bad["segfault"].key).read_text()
    assert "in misbehave" in store.log_path(bad["raise"].key).read_text(), "the traceback is in the log"
    assert set(run.summary.blocked) == {stage.key for stage in [*below, last]}
    assert rows[last.key].status == "blocked" and "'raise'" in rows[last.key].reason
    assert not run.summary.complete and run.summary.left == 0 and not run.summary.interrupted

    again = Run(store, [data, *bad.values(), *below, *good, last])
    assert not again.of(events.StageStarted), "what failed before is not tried again unasked"
    assert {event.stage.key for event in again.of(events.StageFailed) if event.earlier} == set(run.summary.failed)
    assert set(again.summary.blocked) == set(run.summary.blocked)
    assert rows[bad["segfault"].key].attempts == store.rows()[bad["segfault"].key].attempts == 1
    assert store.rows()[bad["kill"].key].attempts == 4


def test_retrying_runs_just_the_failed_ones_once(store: Store) -> None:
    bad = [make(does, does=does, times=1) for does in ("raise", "segfault")]
    always = make("always", does="diverge")
    below, other = make("below", bad[0]), make("other", always)
    stages = [*bad, always, below, other]
    Run(store, stages)
    retry = set(store.failed())
    assert retry == {bad[0].key, bad[1].key, always.key}
    run = Run(store, stages, retry=[bad[1].key])
    assert run.summary.ran == [bad[1].key], "crashed once: it resumes in its workspace, as attempt 1"
    run = Run(store, stages, retry=retry)
    assert set(run.summary.failed) == {always.key, bad[0].key}, "what raised starts from nothing, so it raises again"
    assert store.rows()[always.key].attempts == 2


@pytest.mark.parametrize("does", ["network", "permission"])
def test_what_the_surroundings_caused_is_tried_again_by_itself(store: Store, does: str) -> None:
    stage = make("a", does=does, times=1)
    below = make("below", stage)
    first = Run(store, [stage, below])
    assert first.summary.failed[stage.key].kind == store.rows()[stage.key].failure == "environment"
    assert Run(store, [stage, below]).summary.ran == [stage.key, below.key]


def test_a_printed_log_path_leads_to_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store, stage = Store(Path("results/store")), make("a", does="raise")
    for _ in range(2):
        run = Run(store, [stage])
        (failed,) = run.of(events.StageFailed)
        assert failed.log == store.rows()[stage.key].log == f"results/store/logs/{stage.key}.log"
    assert "in misbehave" in Path(failed.log).read_text()


def test_hashing_a_large_input_is_no_stall(store: Store) -> None:
    data = make("data")
    with store.hold("test"):
        workspace = store.workspace(data.key)
        with (workspace / "weights.safetensors").open("wb") as file:
            file.truncate(2**32)
        store.commit(data, workspace, {}, {}, 0.0, 1, {"weights.safetensors": ZEROS_4_GIB})
    child = make("child", data)
    assert Run(store, [data, child], stall_s=1.0, execute="fake_stages:execute_nothing").summary.ran == [child.key]


def test_not_a_number_and_a_pickle_are_failures(store: Store) -> None:
    stage = make("a")
    assert Run(store, [stage], execute="fake_stages:execute_nan").summary.failed[stage.key].kind == "diverged"
    assert "values.curve.1 is nan" in store.rows()[stage.key].reason
    other = make("b")
    failure = Run(store, [other], execute="fake_stages:execute_pickle").summary.failed[other.key]
    assert failure.kind == "error" and "model.pt" in failure.reason


@pytest.mark.parametrize(("does", "answers"), [("hang", "still responds"), ("freeze", "does not respond")])
def test_a_stage_without_progress_is_stopped(
    store: Store, does: str, answers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sota_bench.engine.limits._SILENT_S", 1.5)
    stages = [make(does, does=does), make("good")]
    run = Run(store, stages, stall_s=2.0)
    failure = run.summary.failed[stages[0].key]
    assert (failure.kind, failure.reason) == ("timeout", f"no progress for 2.0 s, and its process {answers}")
    check_values(store, [stages[1]])
    assert run.summary.wall_s < 12.0


def test_a_slow_stage_that_makes_progress_is_not_stopped(store: Store) -> None:
    stage = make("slow", step_s=0.25, steps=8)
    assert Run(store, [stage], stall_s=1.0).summary.complete


def test_the_memory_limit_ends_a_stage(store: Store) -> None:
    greedy, good = make("greedy", does="allocate"), make("good")
    run = Run(store, [greedy, good], memory_limit_mb=200.0)
    failure = run.summary.failed[greedy.key]
    assert failure.kind == "out of memory" and "the limit is 200 MB" in failure.reason
    check_values(store, [good])


def test_fail_fast_stops_the_rest(store: Store) -> None:
    first = make("first", step_s=0.3)
    bad, slow = make("bad", first, does="raise"), make("slow", step_s=0.1, steps=100)
    run = Run(store, [first, slow, bad, *(make(str(n)) for n in range(3))], workers=2, fail_fast=True)
    assert run.summary.stopped_early and list(run.summary.failed) == [bad.key] and run.summary.left >= 1
    assert store.rows()[slow.key].status == "interrupted" and not run.summary.interrupted
    assert run.summary.wall_s < 8.0


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "result"])
def test_a_damaged_input_is_made_again_before_it_is_read(store: Store, damage: str) -> None:
    data = make("data")
    train = make("train", data)
    Run(store, [data, train])
    value = store.result(train.key).values["value"]
    path = store.folder(train.key) / ("result.json" if damage == "result" else "weights.safetensors")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-3] if damage == "cut" else content)
    evaluate = make("evaluate", train)
    run = Run(store, [data, train, evaluate])
    assert run.summary.complete and set(run.summary.ran) == {train.key, evaluate.key}
    assert store.result(train.key).values["value"] == value
    check_values(store, [data, train, evaluate])
    if damage in ("flip", "result"):
        assert any("damaged" in note.text for note in run.of(events.Note))


def test_damage_that_several_children_notice_is_mended_once(store: Store) -> None:
    data = make("data", size=2**18)
    Run(store, [data])
    path = store.folder(data.key) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    children = [make(f"child {n}", data) for n in range(6)]
    run = Run(store, [data, *children], workers=3)
    assert run.summary.complete and store.rows()[data.key].attempts == 2
    assert len(list((store.root / "damaged").iterdir())) == 1
    check_values(store, [data, *children])


def test_a_stage_whose_input_is_damaged_again_and_again_fails(store: Store) -> None:
    data = make("data")
    child = make("child", data, does="damage")
    run = Run(store, [data, child])
    failure = run.summary.failed[child.key]
    assert failure.kind == "error" and "is damaged" in failure.reason
    assert run.summary.ran.count(data.key) == 4, "it ran again three times"


def test_a_pruned_parent_runs_again_only_when_a_child_needs_it(store: Store) -> None:
    size = 2**20 // 64
    data = make("data", size=size)
    trains = [make(f"train {n}", data, size=size) for n in range(6)]
    run = Run(store, [data, *trains], disk_limit=4 * 2**20)
    assert run.summary.complete and store.sizes().large <= 4 * 2**20
    kept = [store.has_files(stage.key) for stage in trains]
    assert kept == [False, False, False, True, True, True] or kept.count(True) <= 4
    assert store.has_files(data.key), "every later stage read it"
    again = Run(store, [data, *trains])
    assert not again.summary.ran and len(again.summary.reused) == 7
    child = make("child", trains[0])
    more = Run(store, [data, *trains, child])
    assert set(more.summary.ran) == {trains[0].key, child.key}
    check_values(store, [child])


def test_a_limit_that_cannot_be_kept_is_said_once(store: Store) -> None:
    stages = [make("data", size=2**15)]
    stages += [make(f"train {n}", stages[0]) for n in range(3)]
    run = Run(store, stages, disk_limit=1000)
    assert run.summary.complete
    assert sum("more than --disk-limit" in note.text for note in run.of(events.Note)) == 1


@pytest.mark.parametrize("does", ["full", "full cache"])
def test_a_full_disk_makes_room_and_goes_on(store: Store, does: str) -> None:
    old = make("old", size=2**15)
    Run(store, [old])
    stages = [make("a", does=does, times=1), make("b")]
    run = Run(store, stages)
    assert run.summary.complete and not store.has_files(old.key) and store.is_done(old.key)
    assert any("the disk is full" in note.text for note in run.of(events.Note))


def test_a_full_disk_without_anything_to_remove_stops_in_one_line(store: Store) -> None:
    stages = [make("a", does="full", times=1), make("b")]
    with pytest.raises(UserError, match="the disk is full"):
        Run(store, stages)
    assert store.rows()[stages[0].key].status == "interrupted", "it is nobody's failure"
    assert Run(store, stages).summary.complete


def test_a_commit_on_a_full_disk_stops_and_the_work_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", full)
        with pytest.raises(UserError, match="the disk is full"):
            Run(store, [make("a")])
    assert Run(store, [make("a")]).summary.complete


def test_a_worker_that_cannot_start_is_one_line(store: Store) -> None:
    with pytest.raises(UserError, match="cannot start: ImportError: no module named nothing"):
        Run(store, [make("a")], setup="fake_stages:setup_fails")
    with pytest.raises(UserError, match="cannot start: ModuleNotFoundError"):
        Run(store, [make("a")], execute="no_such_module:execute")
    assert store.rows() == {}


def test_the_store_must_be_held(store: Store) -> None:
    with pytest.raises(RuntimeError, match="held"):
        run_stages([make("a")], store)


def test_the_drivers_side_loads_nothing_heavy() -> None:
    code = (
        "import sys, sota_bench.store, sota_bench.engine.run_stages, sota_bench.engine.worker\n"
        "import sota_bench.engine.run_progress\n"
        "print([name for name in ('torch', 'numpy', 'pandas', 'rich', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_terminal_that_is_gone_does_not_stop_the_run(store: Store) -> None:
    def broken(event: Event) -> None:
        raise BrokenPipeError

    with store.hold("test"):
        assert run_stages([make("a")], store, execute=FAKE, on_event=broken).complete


def test_random_graphs_give_the_numbers_that_follow_from_their_inputs(store: Store) -> None:
    generator = np.random.default_rng(5)
    stages: list[Stage] = []
    for index in range(40):
        count = int(generator.integers(0, min(2, index) + 1))
        parents = [stages[n] for n in generator.choice(index, count, replace=False)] if count else []
        stages.append(make(str(index), *parents))
    began = time.monotonic()
    assert Run(store, stages, workers=2).summary.complete
    check_values(store, stages)
    assert time.monotonic() - began < 30
