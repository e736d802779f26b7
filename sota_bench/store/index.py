"""Access to the ledger of a store: opened, read without a lock, and rebuilt from the artifacts when it is damaged."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sota_bench.store import artifacts
from sota_bench.store.artifacts import ArtifactRecord, DamagedArtifact, MissingArtifact
from sota_bench.store.files import free_name
from sota_bench.store.ledger import Ledger

T = TypeVar("T")
_DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)  # the second when SQLite quotes the damage in its own message
_MISTAKES = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


class Index:
    """The ledger file under a store's folder.

    Args:
        root: the store's folder.
        note: called with a line for people when the ledger was rebuilt.
    """

    def __init__(self, root: Path, note: Callable[[str], None]) -> None:
        self.root, self._note = root, note
        self.ledger: Ledger | None = None

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.root / "ledger.sqlite"

    def open(self) -> None:
        """Open for writing; whoever calls it holds the store. Brings the ledger in line with the artifacts.

        Raises:
            UserError: the file was written by a newer version.
            OSError: the disk is full or cannot be written.
        """
        if self.path.is_dir():
            self._rebuild("it is a folder")
        else:
            try:
                self.ledger = Ledger(self.path, writable=True)
            except _DAMAGE as error:
                self._raise_if_disk(error)
                self._rebuild(str(error))
        self.write(self._align)

    def close(self) -> None:
        """Close after writing."""
        ledger, self.ledger = self.ledger, None
        if ledger is not None:
            with suppress(sqlite3.Error):
                ledger.close()

    def read(self, query: Callable[[Ledger], T]) -> T:
        """Ask the ledger, whoever holds the store; where it cannot be read, ask one made from the artifacts."""
        if self.ledger is not None:
            return self.write(query)
        try:
            ledger = Ledger(self.path, writable=False)
            try:
                return query(ledger)
            finally:
                ledger.close()
        except (sqlite3.Error, UnicodeDecodeError):
            ledger = Ledger.in_memory()
            try:
                self._align(ledger)
                return query(ledger)
            finally:
                ledger.close()

    def write(self, action: Callable[[Ledger], T]) -> T:
        """Do something to the open ledger; a damaged one is rebuilt first.

        Raises:
            RuntimeError: the store is not held.
            OSError: the disk is full or gone.
        """
        if self.ledger is None:
            raise RuntimeError("the store is not held")
        self.path.stat()  # SQLite would go on writing to a file that was removed
        try:
            return action(self.ledger)
        except _DAMAGE as error:
            with suppress(sqlite3.Error):
                self.ledger.db.rollback()
            self._raise_if_disk(error)
            if isinstance(error, _MISTAKES):
                raise  # in this program, not in the file
            self._rebuild(str(error))
            return action(self.ledger)

    def _rebuild(self, reason: str) -> None:
        self.close()
        kept = free_name(self.root / "damaged", self.path.name)
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + ending).rename(kept.with_name(kept.name + ending))
        self.ledger = Ledger(self.path, writable=True)
        self._align(self.ledger)
        self._note(
            f"the ledger could not be read ({reason}): it was rebuilt from the artifacts, and the old one is kept as "
            f"{kept.relative_to(self.root)}; stages that had failed are tried again"
        )

    def _align(self, ledger: Ledger) -> None:
        """Enter the artifacts that the ledger does not know as done, and take back what has no artifact."""
        there, entered = set(artifacts.all_keys(self.root / "artifacts")), ledger.done()
        ledger.index(self._sound(there - entered))
        ledger.undo(entered - there, "its artifact is gone")

    def _sound(self, keys: Iterable[str]) -> Iterator[ArtifactRecord]:
        for key in sorted(keys):
            with suppress(MissingArtifact, DamagedArtifact):
                yield artifacts.read_record(self.root / "artifacts" / key[:2] / key, key)

    def _raise_if_disk(self, error: Exception) -> None:
        """Tell a ledger that cannot be written from one that is damaged, in the operating system's words."""
        text = str(error)
        if "is full" in text:
            raise OSError(errno.ENOSPC, text, str(self.path)) from error
        if any(words in text for words in ("readonly", "unable to open", "disk I/O", "is locked")):
            raise OSError(errno.EIO, text, str(self.path)) from error
