"""The store: whole artifacts or none, one writer, repairs, and removal of what nobody needs."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sota_bench.errors import UserError
from sota_bench.stages.params import PrepareParams
from sota_bench.stages.stage import Stage
from sota_bench.store import DamagedArtifact, MissingArtifact, Store, artifacts, files


def stage(name: str, *parents: Stage, kind: str = "train") -> Stage:
    key = hashlib.sha256(name.encode()).hexdigest()
    roles = {f"p{n}": parent.key for n, parent in enumerate(parents)}
    return Stage(key, kind, PrepareParams(name, 64), roles, f"stage {name}")


def commit(store: Store, made: Stage, content: bytes = b"weights", **values: object) -> None:
    workspace = store.workspace(made.key)
    (workspace / "weights.safetensors").write_bytes(content)
    (workspace / "small.json").write_text("{}")
    store.running(made, os.getpid())
    store.commit(made, workspace, {"accuracy": 61.25, **values}, {"train": 1.5}, 100.0, 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_reading_an_absent_store_writes_nothing(store: Store) -> None:
    key = stage("a").key
    assert not store.is_done(key) and not store.has_files(key) and not store.verify(key)
    assert store.rows() == {} and store.runs() == [] and store.row(key) is None and store.failed() == {}
    assert store.sizes().total == 0 and store.holder() is None
    with pytest.raises(MissingArtifact):
        store.result(key)
    assert not store.root.exists()


def test_commit_is_read_back_with_every_digit(store: Store) -> None:
    made = stage("a")
    values = {"accuracy": 0.1 + 0.2, "tiny": 5e-324, "list": [1, None, True, "Grüße"], "big": 2**70}
    with store.hold("test"):
        commit(store, made, **values)
    again = Store(store.root)
    assert again.result(made.key).values == values
    assert again.result(made.key).files == {
        "weights.safetensors": hashlib.sha256(b"weights").hexdigest(),
        "small.json": hashlib.sha256(b"{}").hexdigest(),
    }
    row = again.row(made.key)
    assert row is not None
    assert (row.status, row.attempts, row.params) == ("done", 1, made.described())
    assert again.result(made.key).peak_memory_mb == 100.0 and again.result(made.key).seconds == {"train": 1.5}
    assert again.verify(made.key) and again.has_files(made.key)


def test_scratch_files_do_not_become_part_of_the_artifact(store: Store) -> None:
    made = stage("a")
    with store.hold("test"):
        workspace = store.workspace(made.key)
        (workspace / "partial").mkdir()
        (workspace / "partial" / "state.safetensors").write_bytes(b"x")
        (workspace / "cut-short.u8.tmp").write_bytes(b"x")
        (workspace / "deep").mkdir()
        (workspace / "deep" / "pixels.u8").write_bytes(b"pixels")
        result = store.commit(made, workspace, {}, {}, 0.0, 1)
    assert list(result.files) == ["deep/pixels.u8"]
    left = sorted(path.relative_to(store.folder(made.key)).as_posix() for path in store.folder(made.key).rglob("*"))
    assert left == ["deep", "deep/pixels.u8", "result.json"]
    assert store.checked_file(made.key, "deep/pixels.u8").read_bytes() == b"pixels"


@pytest.mark.parametrize("name", ["model.pt", "model.pkl", "model.bin"])
def test_files_that_could_carry_code_are_refused(store: Store, name: str) -> None:
    with store.hold("test"):
        workspace = store.workspace(stage("a").key)
        (workspace / name).write_bytes(b"x")
        with pytest.raises(ValueError, match="an artifact holds only"):
            store.commit(stage("a"), workspace, {}, {}, 0.0, 1)
        assert not store.is_done(stage("a").key)


@pytest.mark.parametrize("target", ["/etc/hostname", "/etc"])
def test_links_are_refused(store: Store, target: str) -> None:
    with store.hold("test"):
        workspace = store.workspace(stage("a").key)
        (workspace / "weights.json").symlink_to(target)
        with pytest.raises(ValueError, match="not a plain file"):
            store.commit(stage("a"), workspace, {}, {}, 0.0, 1)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(store: Store, number: float) -> None:
    with store.hold("test"), pytest.raises(ValueError):
        commit(store, stage("a"), nll=number)
    assert not store.is_done(stage("a").key)


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "/" + "a" * 63])
def test_a_key_cannot_name_another_folder(store: Store, key: str) -> None:
    for ask in (store.folder, store.log_path, store.is_done, store.workspace, store.discard_workspace):
        with pytest.raises(ValueError, match="not a stage key"):
            ask(key)


def test_writing_needs_the_hold(store: Store) -> None:
    with pytest.raises(RuntimeError, match="not held"):
        store.fail(stage("a"), "reason", "error")


def test_the_second_holder_is_told_who_holds_it(store: Store) -> None:
    with store.hold("run grid.toml"):
        with pytest.raises(UserError) as caught, Store(store.root).hold("run other.toml"):
            pass
        holder = store.holder()
        assert holder is not None and holder.pid == os.getpid()
    line = str(caught.value)
    assert f"process {os.getpid()}" in line and "run grid.toml" in line and "--store" in line and "\n" not in line
    with store.hold("again"):
        assert store.is_held
    assert store.holder() is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system tells starts by the clock alone")
def test_a_clock_that_is_set_does_not_hide_the_holder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.hold("run grid.toml"):
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: 0.0)
        assert store.holder() is not None


def test_a_holder_that_was_killed_is_no_obstacle(store: Store) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from sota_bench.store import Store\n"
        "sys.path.insert(0, sys.argv[2]); from test_store import commit, stage\n"
        "store = Store(Path(sys.argv[1]))\n"
        "with store.hold('doomed'):\n"
        "    commit(store, stage('done'))\n"
        "    store.running(stage('half'), os.getpid())\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(store.root), str(Path(__file__).parent)], check=False)
    assert ended.returncode == -9
    assert (store.root / "holder.json").exists() and store.holder() is None
    half = store.row(stage("half").key)
    assert half is not None and half.status == "interrupted", "a reader sees that its process is gone"
    with store.hold("next"):
        half = store.row(stage("half").key)
        assert half is not None and half.status == "interrupted"
        assert store.is_done(stage("done").key)


def test_failures_are_kept_until_the_stage_is_done(store: Store) -> None:
    made = stage("a")
    with store.hold("test"):
        store.running(made, 1)
        store.fail(made, "loss is nan\nat step 3", "diverged")
        store.fail(stage("b", made), "needs a", "blocked", log_of=made.key)
    row = Store(store.root).failed()[made.key]
    assert (row.status, row.failure, row.reason) == ("failed", "diverged", "loss is nan at step 3")
    assert store.rows()[stage("b", made).key].log == row.log == store.log_path(made.key).as_posix()
    assert list(store.failed()) == [made.key]
    with store.hold("test"):
        commit(store, made)
    assert store.failed() == {}
    row = store.rows()[made.key]
    assert (row.status, row.failure, row.reason, row.attempts) == ("done", "", "", 2)


def test_runs_and_the_order_of_use_are_kept(store: Store) -> None:
    with store.hold("test"):
        commit(store, stage("a"))
        commit(store, stage("b"))
        run = store.begin_run("quick", "reports/quick", "run grid.toml")
        store.touch([stage("a").key])
        store.end_run(run, {"failed": 0})
    assert store.rows()[stage("a").key].used > store.rows()[stage("b").key].used
    (entry,) = store.runs()
    assert entry.grid == "quick" and entry.summary == {"failed": 0} and entry.ended


def test_replacing_an_artifact_says_when_the_bytes_differ(store: Store) -> None:
    with store.hold("test"):
        commit(store, stage("a"))
        commit(store, stage("a"))
        assert store.take_notes() == []
        commit(store, stage("a"), b"other")
        (note,) = store.take_notes()
    assert "gave different bytes" in note
    assert store.checked_file(stage("a").key, "weights.safetensors").read_bytes() == b"other"
    assert not any((store.root / "trash").iterdir())


def test_pruning_takes_the_least_recently_used_first_and_only_above_the_limit(store: Store) -> None:
    size, names = 2 * 2**20, "abcd"
    with store.hold("test"):
        for name in names:
            commit(store, stage(name), name.encode() * size)
        commit(store, stage("e", kind="evaluate"), b"e" * size)
        store.touch([stage("a").key])
        total = store.total_bytes()
        assert total == store.sizes().artifacts and store.sizes().large == 4 * size
        assert store.prune([], total) == 0
        assert store.prune([stage("b").key], total - 1) == size
        assert [store.has_files(stage(name).key) for name in names] == [True, True, False, True]
        assert store.is_done(stage("c").key) and store.result(stage("c").key).values["accuracy"] == 61.25
        assert store.prune([stage("b").key], 0) == 2 * size
        assert [store.has_files(stage(name).key) for name in names] == [False, True, False, False]
        assert store.has_files(stage("e").key), "predictions are results and stay"
        assert store.total_bytes() == store.sizes().artifacts
        commit(store, stage("a"), b"a" * size)
        assert store.has_files(stage("a").key) and store.total_bytes() == store.sizes().artifacts


def test_unfinished_work_that_nobody_asked_for_is_pruned(store: Store) -> None:
    with store.hold("test"):
        for name in "ab":
            (store.workspace(stage(name).key) / "pixels.u8").write_bytes(b"x" * 1000)
        assert store.prune([stage("a").key], 500) == 1000
        assert (store.workspace(stage("a").key) / "pixels.u8").exists()
        assert not (store.root / "work" / stage("b").key).exists()


def test_a_full_disk_is_one_line_and_leaves_the_workspace(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with store.hold("test"):
        with monkeypatch.context() as patch:
            patch.setattr(artifacts, "write_json", full)
            with pytest.raises(OSError) as caught:
                commit(store, stage("a"))
        line = str(store.trouble(caught.value))
        assert "the disk is full" in line and "--disk-limit" in line
        assert not store.is_done(stage("a").key)
        commit(store, stage("a"))
        assert store.is_done(stage("a").key)


def test_a_store_under_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot be written.*--store"), Store(tmp_path / "file" / "store").hold("test"):
        pass


def test_an_error_of_the_caller_is_not_blamed_on_the_store(store: Store) -> None:
    with pytest.raises(FileNotFoundError), store.hold("test"):
        Path("/nowhere/at/all").read_text()
    assert not store.is_held


def test_a_commit_that_was_cut_off_before_the_move_is_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with store.hold("test"):
        commit(store, stage("a"))
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_file", cut)
            for name in ("b", "c"):
                with pytest.raises(KeyboardInterrupt):
                    commit(store, stage(name))
        flipped = store.root / "work" / stage("c").key / "weights.safetensors"
        flipped.write_bytes(b"flipped")
        os.utime(flipped, ns=(0, 0))  # whatever the clock of the file system resolves
    with store.hold("next"):
        assert store.is_done(stage("b").key) and store.rows()[stage("b").key].status == "done"
        assert not store.is_done(stage("c").key)
        assert (store.workspace(stage("c").key) / "small.json").exists()


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00+00:00", "2999-12-31T23:59:59+00:00", "not a time"])
def test_a_wrong_clock_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, clock: str) -> None:
    monkeypatch.setattr("sota_bench.store.holding.now", lambda: clock)
    with store.hold("test"):
        commit(store, stage("b"), b"b" * 2**20)
        commit(store, stage("a"), b"a" * 2**20)
        assert store.prune([], store.total_bytes() - 1) == 2**20
        assert store.has_files(stage("a").key) and not store.has_files(stage("b").key)


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=12))
def test_a_name_is_safe_exactly_when_it_stays_inside(name: str) -> None:
    base = Path("/base/artifact")
    if files.is_safe_name(name):
        inside = Path(os.path.normpath(base / name))
        assert base in inside.parents


def test_damage_makes_reading_raise_without_a_hold_and_moves_it_with_one(store: Store) -> None:
    made = stage("a")
    with store.hold("test"):
        commit(store, made)
    path = store.folder(made.key) / files.RESULT
    path.write_text(path.read_text().replace("61.25", "91.25"))
    with pytest.raises(DamagedArtifact, match="does not match its digest"):
        store.result(made.key)
    assert not store.is_done(made.key) and path.exists(), "a reader moves nothing"
    with store.hold("test"):
        assert not store.is_done(made.key)
        (note,) = store.take_notes()
        assert "stage a" in note and "damaged" in note and "run again" in note
        assert not path.exists() and len(list((store.root / "damaged").iterdir())) == 1
        assert "does not match" in store.rows()[made.key].reason and store.rows()[made.key].status == "interrupted"
        commit(store, made)
        assert store.is_done(made.key)


def test_a_file_is_hashed_once_under_whatever_name_and_again_when_it_is_written(tmp_path: Path) -> None:
    blocks: list[int] = []
    made, moved = tmp_path / "made.txt", tmp_path / "moved.txt"
    content = bytes(2**24 + 1)
    made.write_bytes(content)
    assert files.synced_digest(made, lambda: blocks.append(1)) == hashlib.sha256(content).hexdigest()
    assert len(blocks) == 2, "16 MB and the rest"
    made.rename(moved)
    assert files.known_digest(moved, lambda: blocks.append(2)) == hashlib.sha256(content).hexdigest()
    moved.write_text("other")
    os.utime(moved, ns=(0, 0))  # whatever the clock of the file system resolves
    assert files.known_digest(moved, lambda: blocks.append(3)) == hashlib.sha256(b"other").hexdigest()
    assert blocks == [1, 1, 3]
