"""Whatever happens to the bytes of a store, it never gives a wrong number."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from sota_bench.errors import UserError
from sota_bench.store import DamagedArtifact, Store
from sota_bench.store.artifacts import check_folder

sys.path.insert(0, str(Path(__file__).parent))
from test_store import commit, stage

MADE = stage("a")
VALUES = {"accuracy": 61.25, "curve": [0.5, 1.5]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    with store.hold("test"):
        commit(store, MADE, b"weights" * 10, **VALUES)
        store.running(stage("bad"), 1)
        store.fail(stage("bad"), "broken", "error")
    return store


def flip(path: Path, generator: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    content[generator.integers(len(content))] ^= 1 << int(generator.integers(8))
    path.write_bytes(content)


def test_a_flipped_bit_in_a_result_is_never_a_wrong_number(store: Store) -> None:
    path, generator = store.folder(MADE.key) / "result.json", np.random.default_rng(3)
    whole = path.read_bytes()
    for _ in range(200):
        flip(path, generator)
        try:
            assert store.result(MADE.key).values == VALUES
        except DamagedArtifact:
            assert not store.is_done(MADE.key)
        path.write_bytes(whole)


@pytest.mark.parametrize("cut", [0, 1, 10, 200, -1])
def test_a_truncated_result_is_not_done(store: Store, cut: int) -> None:
    path = store.folder(MADE.key) / "result.json"
    path.write_bytes(path.read_bytes()[:cut])
    assert not store.is_done(MADE.key)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"digest": 3}', "[" * 100_000, '{"digest": "x", "format": 1}'])
def test_a_result_that_is_something_else_is_damaged(store: Store, text: str) -> None:
    (store.folder(MADE.key) / "result.json").write_text(text)
    with pytest.raises(DamagedArtifact):
        store.result(MADE.key)


def test_an_artifact_under_another_key_is_damaged(store: Store) -> None:
    other = store.folder(stage("b").key)
    other.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(store.folder(MADE.key), other)
    with pytest.raises(DamagedArtifact, match="another stage"):
        store.result(stage("b").key)


@pytest.mark.parametrize("name", ["../../../../etc/hostname", "/etc/hostname", "a/../../x", "", "."])
def test_a_foreign_result_cannot_name_files_outside(store: Store, name: str) -> None:
    import hashlib

    from sota_bench.files import canonical_json

    path = store.folder(MADE.key) / "result.json"
    body = json.loads(path.read_text())
    body["result"]["files"], body["sizes"] = {name: "0" * 64}, {name: 1}
    del body["digest"]
    body["digest"] = hashlib.sha256(canonical_json(body).encode()).hexdigest()
    path.write_text(json.dumps(body))
    with pytest.raises(DamagedArtifact, match="outside"):
        store.result(MADE.key)


def test_damage_to_a_file_is_found_when_it_is_used(store: Store) -> None:
    path = store.folder(MADE.key) / "weights.safetensors"
    assert store.checked_file(MADE.key, "weights.safetensors") == path
    flip(path, np.random.default_rng(2))
    assert store.has_files(MADE.key), "the length is unchanged"
    assert not store.verify(MADE.key) and store.verify(MADE.key, files=False)
    with pytest.raises(DamagedArtifact, match=r"weights\.safetensors does not match"):
        store.checked_file(MADE.key, "weights.safetensors")
    with pytest.raises(DamagedArtifact):
        check_folder(store.folder(MADE.key))
    assert store.is_done(MADE.key), "its numbers are sound, and a reader moves nothing"
    with store.hold("test"), pytest.raises(DamagedArtifact):
        store.checked_file(MADE.key, "weights.safetensors")
    assert not store.is_done(MADE.key)


def test_a_truncated_file_and_a_link_are_found(store: Store) -> None:
    path = store.folder(MADE.key) / "weights.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert not store.has_files(MADE.key) and not store.verify(MADE.key)
    path.unlink()
    elsewhere = store.root / "elsewhere"
    elsewhere.write_bytes(content)
    path.symlink_to(elsewhere)
    assert not store.verify(MADE.key)


def test_a_lost_artifact_is_no_longer_done(store: Store) -> None:
    shutil.rmtree(store.folder(MADE.key))
    with store.hold("test"):
        row = store.rows()[MADE.key]
    assert (row.status, row.reason) == ("interrupted", "its artifact is gone")


def test_a_lost_ledger_is_made_again(store: Store) -> None:
    for path in store.root.glob("ledger.sqlite*"):
        path.unlink()
    assert store.rows()[MADE.key].status == "done", "a reader sees the artifacts"
    with store.hold("test"):
        assert store.rows()[MADE.key].params == MADE.described()
    assert (store.root / "ledger.sqlite").exists()


@pytest.mark.parametrize("damage", ["truncate", "zeros", "text", "empty", "folder", "wal"])
def test_a_damaged_ledger_is_rebuilt_and_kept_aside(store: Store, damage: str) -> None:
    path = store.root / "ledger.sqlite"
    content = path.read_bytes()
    match damage:
        case "truncate":
            path.write_bytes(content[: len(content) // 2])
        case "zeros":
            path.write_bytes(content[:100] + bytes(len(content) - 100))
        case "text":
            path.write_text("this is not a database, and it is longer than a header")
        case "empty":
            path.write_bytes(b"")
        case "folder":
            path.unlink()
            path.mkdir()
        case "wal":
            path.with_name("ledger.sqlite-wal").write_bytes(os.urandom(5000))
    assert store.rows()[MADE.key].status == "done"
    with store.hold("test"):
        assert store.rows()[MADE.key].status == "done"
        notes = store.take_notes()
        commit(store, stage("next"))
    assert store.is_done(stage("next").key)
    if damage not in ("empty", "wal"):  # these two are sound databases to SQLite
        assert len(notes) == 1 and "rebuilt" in notes[0]
        assert (store.root / "damaged" / "ledger.sqlite-0").exists()


def test_flipped_bits_in_the_ledger_never_stop_a_run(store: Store) -> None:
    path, generator = store.root / "ledger.sqlite", np.random.default_rng(3)
    whole = path.read_bytes()
    for _ in range(40):
        for leftover in store.root.glob("ledger.sqlite*"):
            leftover.unlink()
        path.write_bytes(whole)
        for _ in range(20):
            flip(path, generator)
        store.rows()
        with store.hold("test"):
            rows = store.rows()
            store.running(MADE, 7)
            store.fail(MADE, "reason", "", "error")
            assert store.rows()[MADE.key].status == "failed"
            assert rows
        assert store.result(MADE.key).values == VALUES


@pytest.mark.parametrize("written", ["flipped", "{", "", b"text"])
def test_a_run_whose_record_is_damaged_is_left_out(store: Store, written: str | bytes) -> None:
    with store.hold("test"):
        for accuracy in (50, 60):
            store.end_run(store.begin_run("quick", "out", "run"), {"accuracy": accuracy})
        store.begin_run("quick", "out", "run")
    db = sqlite3.connect(store.root / "ledger.sqlite")
    if written == "flipped":
        (text,) = db.execute("SELECT summary FROM runs WHERE id = 1").fetchone()
        written = text.replace("50", "51")
    db.execute("UPDATE runs SET summary = ? WHERE id = 1", (written,))
    db.commit()
    db.close()
    assert [run.summary for run in store.runs()] == [{"accuracy": 60}, {}]
    (note,) = store.take_notes()
    assert "is damaged and left out" in note


def test_a_ledger_of_a_newer_version_is_refused_in_one_line(store: Store) -> None:
    db = sqlite3.connect(store.root / "ledger.sqlite")
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.execute(f"PRAGMA user_version = {version + 1}")
    db.execute(f"PRAGMA application_id = {application + 1}")
    db.close()
    for use in (store.rows, lambda: store.hold("test").__enter__()):
        with pytest.raises(UserError, match="newer sota_bench"):
            use()


def test_damage_during_a_run_is_repaired(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def malformed(*_: object, **__: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with store.hold("test"):
        monkeypatch.setattr(store._index.ledger, "update", malformed)
        store.fail(stage("b"), "reason", "", "error")
        assert store.rows()[MADE.key].status == "done" and store.rows()[stage("b").key].status == "failed"
        assert any("rebuilt" in note for note in store.take_notes())


def test_the_store_vanishing_is_one_line(store: Store) -> None:
    with store.hold("test"):
        workspace = store.workspace(stage("b").key)
        shutil.rmtree(store.root)
        with pytest.raises(OSError) as caught:
            store.commit(stage("b"), workspace, {}, {}, 0.0, 1)
        assert "vanished" in str(store.trouble(caught.value))
        with pytest.raises(OSError) as caught:
            store.fail(stage("c"), "x", "", "error")
        assert "vanished" in str(store.trouble(caught.value))


def test_a_ledger_of_an_earlier_version_is_made_again_from_the_artifacts(store: Store) -> None:
    with sqlite3.connect(store.root / "ledger.sqlite") as db:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        db.execute(f"PRAGMA user_version = {version - 1}")
        db.execute(f"PRAGMA application_id = {application - 1}")
    db.close()
    assert store.rows()[MADE.key].status == "done", "a reader sees the artifacts"
    with store.hold("test"):
        (note,) = store.take_notes()
        assert "an earlier version wrote it" in note
        assert store.rows()[MADE.key].status == "done"
