"""What artifacts cannot say, in SQLite: failures, attempts, the order of use and the runs; and the parameters of
finished stages, so that a plan is compared with thousands of them in one query.

It can be lost: results are in the artifacts alone."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError
from sota_bench.stages.stage import Stage
from sota_bench.store.artifacts import ArtifactRecord

SCHEMA_VERSION = 2
_ID = 0x50A0_0000
"""Added to the schema version, this is SQLite's ``application_id``: a flipped bit makes no newer version."""
_TABLES = """
CREATE TABLE stages (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, params TEXT NOT NULL, status TEXT NOT NULL,
    failure TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', log TEXT NOT NULL DEFAULT '',
    pid INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, started TEXT NOT NULL DEFAULT '',
    used INTEGER NOT NULL DEFAULT 0);
CREATE INDEX stages_used ON stages (used);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, grid TEXT NOT NULL, out TEXT NOT NULL, command TEXT NOT NULL, pid INTEGER NOT NULL,
    host TEXT NOT NULL, started TEXT NOT NULL, ended TEXT NOT NULL DEFAULT '', summary TEXT NOT NULL DEFAULT '{}');
"""


@dataclass(frozen=True)
class StageRow:
    """One stage as the ledger knows it.

    Attributes:
        status: ``running``, ``done``, ``failed``, ``blocked`` or ``interrupted``.
        failure: kind of the failure (``diverged``, ``out of memory``, ``crashed``, ``timeout``, ``plan again``,
            ``environment``, ``error``, ``blocked``), "" without one.
        reason: one line for people.
        log: path of the log file: relative to the store in the ledger, and as people can open it in what a store
            gives.
        pid: process that ran it last.
        attempts: runs begun so far; a reused result is no attempt.
        used: order of last use, larger is later; a counter, so that no wall clock matters.
    """

    key: str
    kind: str
    title: str
    params: dict[str, Any]
    status: str
    failure: str
    reason: str
    log: str
    pid: int
    attempts: int
    started: str
    used: int


@dataclass(frozen=True)
class RunRow:
    """One run as the ledger knows it.

    Attributes:
        id: for :meth:`Ledger.end_run`.
        grid: name under which it is remembered.
        out: folder of its report.
        command: the command line.
        pid, host: of its process.
        started, ended: local time with offset, ISO 8601; "" while it runs, and ``interrupted`` if it was killed.
        summary: JSON values that the run recorded about itself: none before its end, None where they are damaged.
    """

    id: int
    grid: str
    out: str
    command: str
    pid: int
    host: str
    started: str
    ended: str
    summary: Mapping[str, Any] | None


class Ledger:
    """A connection to one ledger file.

    Args:
        path: the SQLite file.
        writable: open for the one process that holds the store; otherwise read only.

    Raises:
        UserError: the file was written by a newer version.
        sqlite3.DatabaseError: it is damaged; see ``Store`` for the rebuilding.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        mode = "rwc" if writable else "ro"
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        self.db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        try:
            self._open(writable)
        except BaseException:
            self.db.close()
            raise

    def _open(self, writable: bool) -> None:
        version = self.db.execute("PRAGMA user_version").fetchone()[0]
        if version and self.db.execute("PRAGMA application_id").fetchone()[0] != _ID + version:
            raise sqlite3.DatabaseError("it is not a ledger")
        if version > SCHEMA_VERSION:
            raise UserError(
                str(self.path),
                "",
                f"was written by a newer sota_bench (schema {version}, this one reads {SCHEMA_VERSION})",
                "update sota_bench, or remove this file: it is made again, without failures and the history of runs",
            )
        if 0 < version < SCHEMA_VERSION:
            raise sqlite3.DatabaseError("an earlier version wrote it")
        if not writable:
            self._check_schema()
            return
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        if version == 0 and not self.db.execute("SELECT name FROM sqlite_master").fetchone():
            numbers = f"PRAGMA user_version = {SCHEMA_VERSION}; PRAGMA application_id = {_ID + SCHEMA_VERSION};"
            self.db.executescript(f"BEGIN; {_TABLES} {numbers} COMMIT;")
        findings = [row[0] for row in self.db.execute("PRAGMA integrity_check(1)")]
        if findings != ["ok"]:
            raise sqlite3.DatabaseError(findings[0])
        self._check_schema()

    def _check_schema(self) -> None:
        made = sqlite3.connect(":memory:")
        made.executescript(_TABLES)
        query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
        expected = made.execute(query).fetchall()
        made.close()
        if [tuple(row) for row in self.db.execute(query)] != expected:
            raise sqlite3.DatabaseError("its tables are not those of a ledger")

    @classmethod
    def in_memory(cls) -> Ledger:
        """An empty ledger that is no file, for readers of a store whose own is missing or damaged."""
        ledger = cls.__new__(cls)
        ledger.path = Path(":memory:")
        ledger.db = sqlite3.connect(":memory:", isolation_level=None)
        ledger.db.row_factory = sqlite3.Row
        ledger.db.executescript(_TABLES)
        return ledger

    def close(self) -> None:
        """Close the connection; the write-ahead log is folded into the file."""
        self.db.close()

    def update(self, stage: Stage, **columns: Any) -> None:
        """Set columns of one stage's row, making the row when it is new."""
        self._upsert(_identity(stage), columns)

    def index(self, records: Iterable[ArtifactRecord]) -> None:
        """Enter finished artifacts as done; the rows of other stages stay as they are."""
        self.db.execute("BEGIN")
        for record in records:
            self._upsert(_identity(record), {"status": "done", "failure": "", "reason": ""})
        self.db.execute("COMMIT")

    def _upsert(self, identity: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
        everything = {"status": "interrupted", **identity, **columns}
        names, marks = ", ".join(everything), ", ".join(f":{name}" for name in everything)
        changes = ", ".join(f"{name} = :{name}" for name in [*identity, *columns] if name != "key")
        self.db.execute(
            f"INSERT INTO stages ({names}) VALUES ({marks}) ON CONFLICT (key) DO UPDATE SET {changes}", everything
        )

    def attempt(self, key: str) -> None:
        """Count one more attempt of a stage."""
        self.db.execute("UPDATE stages SET attempts = attempts + 1 WHERE key = ?", (key,))

    def touch(self, keys: Iterable[str]) -> None:
        """Make ``keys`` the most recently used ones, the last of them the latest."""
        self.db.execute("BEGIN")
        latest = self.db.execute("SELECT coalesce(max(used), 0) FROM stages").fetchone()[0]
        numbered = [(latest + number, key) for number, key in enumerate(keys, start=1)]
        self.db.executemany("UPDATE stages SET used = ? WHERE key = ?", numbered)
        self.db.execute("COMMIT")

    def undo(self, keys: Iterable[str], reason: str) -> None:
        """Turn rows that say ``done`` into ``interrupted``: their artifacts are lost, and their stages run again."""
        self.db.executemany(
            "UPDATE stages SET status = 'interrupted', reason = ? WHERE key = ? AND status = 'done'",
            [(reason, key) for key in keys],
        )

    def interrupt_running(self) -> list[str]:
        """Turn rows left ``running`` by a process that is gone into ``interrupted``; their keys."""
        keys = [row[0] for row in self.db.execute("SELECT key FROM stages WHERE status = 'running'")]
        self.db.execute("UPDATE stages SET status = 'interrupted' WHERE status = 'running'")
        self.db.execute("UPDATE runs SET ended = 'interrupted' WHERE ended = ''")
        return keys

    def rows(self) -> dict[str, StageRow]:
        """Every stage's row, by key."""
        return {row["key"]: _row(row) for row in self.db.execute("SELECT * FROM stages")}

    def done(self) -> set[str]:
        """Keys of the stages that are entered as done."""
        return {row[0] for row in self.db.execute("SELECT key FROM stages WHERE status = 'done'")}

    def last_used(self) -> dict[str, int]:
        """``used`` of every stage, by key."""
        return dict(self.db.execute("SELECT key, used FROM stages").fetchall())

    def row(self, key: str) -> StageRow | None:
        """One stage's row."""
        row = self.db.execute("SELECT * FROM stages WHERE key = ?", (key,)).fetchone()
        return None if row is None else _row(row)

    def begin_run(self, **columns: Any) -> int:
        """Enter a run; its id."""
        names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        cursor = self.db.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", columns)
        return int(cursor.lastrowid or 0)

    def end_run(self, run: int, ended: str, summary: Mapping[str, Any]) -> None:
        """Enter how a run ended; its summary stands behind its digest, since nothing else holds what it says."""
        text = json.dumps(summary)
        self.db.execute("UPDATE runs SET ended = ?, summary = ? WHERE id = ?", (ended, f"{_digest(text)} {text}", run))

    def runs(self) -> list[RunRow]:
        """Every run, oldest first."""
        rows = self.db.execute("SELECT * FROM runs ORDER BY id")
        return [RunRow(**{**dict(row), "summary": _summary(row["summary"])}) for row in rows]


def _identity(of: Stage | ArtifactRecord) -> dict[str, Any]:
    return {
        "key": of.key,
        "kind": of.kind,
        "title": of.title,
        "params": json.dumps(of.described() if isinstance(of, Stage) else dict(of.params)),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _summary(written: Any) -> dict[str, Any] | None:
    """What a run recorded about itself: nothing before its end, None where it is damaged."""
    if written == "{}":
        return {}
    digest, _, text = str(written).partition(" ")
    return json.loads(text) if _digest(text) == digest else None


def _row(row: sqlite3.Row) -> StageRow:
    values = dict(row)
    try:
        values["params"] = json.loads(values["params"])
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"row {row['key']!r} does not parse") from error
    return StageRow(**values)
