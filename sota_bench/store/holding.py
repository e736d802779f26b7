"""One writer at a time: an operating-system lock that dies with its process, and a note of who holds it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sota_bench.errors import UserError
from sota_bench.files import write_json


@dataclass(frozen=True)
class Holder:
    """Who writes to a store.

    Attributes:
        pid: process on ``host``.
        host: name of the machine.
        since: local time with offset, ISO 8601.
        command: what it runs, for people.
        born: start of the process as :func:`_born` gives it, which tells a reused pid apart.
    """

    pid: int
    host: str
    since: str
    command: str
    born: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"


def now() -> str:
    """Local time with offset, ISO 8601, for people; nothing is decided by it."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def read_holder(root: Path) -> Holder | None:
    """Who holds the store, without touching its lock; ``None`` when nobody does or that process is gone."""
    import psutil

    try:
        holder = Holder(**json.loads((root / "holder.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    if holder.host != platform.node():
        return holder
    try:
        alive = abs(_born(holder.pid) - holder.born) < 1.0
    except psutil.Error:
        alive = False
    return holder if alive else None


def _born(pid: int) -> float:
    """When a process started: in ticks since the machine did, which setting the clock does not move, or in seconds
    since the epoch where the system does not tell.

    Raises:
        psutil.Error: there is no such process.
    """
    import psutil

    try:
        return float(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return psutil.Process(pid).create_time()


@contextmanager
def exclusive(root: Path, command: str) -> Iterator[None]:
    """Hold the store's lock for the length of a ``with`` block.

    Args:
        root: the store's folder, which exists.
        command: what is being run, for the error of whoever comes second.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    lock = FileLock(root / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        holder = read_holder(root)
        raise UserError(
            str(root),
            "",
            f"is in use by {holder or 'another process'}",
            "wait until it has ended, or choose another folder with --store",
        ) from error
    try:
        me = Holder(os.getpid(), platform.node(), now(), command, _born(os.getpid()))
        write_json(root / "holder.json", asdict(me))
        yield
    finally:
        (root / "holder.json").unlink(missing_ok=True)
        lock.release()


def remove_if_free(path: Path) -> None:
    """Remove a lock file unless some process still holds it."""
    with suppress(Timeout), FileLock(path, timeout=0):
        path.unlink()
