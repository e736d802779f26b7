"""The store: what is done, where its files are, who works on what, and what may be removed."""

from __future__ import annotations

import errno
import os
import platform
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError
from sota_bench.files import sync_folder
from sota_bench.stages.results import StageResult
from sota_bench.stages.stage import Stage
from sota_bench.store import artifacts, files, holding
from sota_bench.store.artifacts import ArtifactRecord, DamagedArtifact, MissingArtifact
from sota_bench.store.index import Index
from sota_bench.store.ledger import Ledger, RunRow, StageRow
from sota_bench.store.pruning import Sizes, measure, prune


class Store:
    """Finished stages under the folder ``root``; creating the object writes nothing.

    Reading needs no lock. Writing happens inside ``hold``, by one process at a time. Folders::

        artifacts/ab/ab12.../   finished stages: result.json and the files it lists
        work/ab12.../           an unfinished stage; survives a kill, and the stage resumes in it
        logs/                   one text file per stage that ran
        damaged/                artifacts and ledgers that did not match their digests, kept to be looked at
        ledger.sqlite           failures, runs and an index; rebuilt from the artifacts when it is lost

    Args:
        root: the store's folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self._given, self.root = root, root.absolute()
        self._notes: list[str] = []
        self._index = Index(self.root, self._notes.append)
        self._total: int | None = None

    @property
    def _artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def is_held(self) -> bool:
        """Whether this object may write now."""
        return self._index.ledger is not None

    # Holding

    @contextmanager
    def hold(self, command: str) -> Iterator[None]:
        """Be the one writer while the ``with`` block lasts, after repairing what a killed writer left behind.

        Args:
            command: what is being run, for the error of whoever comes second.

        Raises:
            UserError: somebody else holds it (named in the line), the folder cannot be written, or the ledger is
                from a newer version.
        """
        with ExitStack() as stack:
            try:
                for name in ("artifacts", "work", "logs", "trash", "damaged"):
                    (self.root / name).mkdir(parents=True, exist_ok=True)
                stack.enter_context(holding.exclusive(self.root, command))
                self._index.open()
                stack.callback(self._let_go)
                self._recover()
            except OSError as error:
                raise self.trouble(error) from error
            yield

    def _let_go(self) -> None:
        self._index.close()
        self._total = None

    def holder(self) -> holding.Holder | None:
        """Who writes to this store now, if anybody."""
        return holding.read_holder(self.root)

    def trouble(self, error: OSError) -> UserError:
        """The line for an operating-system error on the store's folder."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return UserError(
                str(self.root),
                "",
                "the disk is full",
                "free some space, or set a smaller --disk-limit, and run the same command again to resume",
            )
        if self.is_held and not self.root.is_dir():
            return UserError(str(self.root), "", "the store vanished while it was in use", "run the same command again")
        return UserError(
            str(self.root),
            "",
            f"cannot be written ({error.strerror or error})",
            "choose a folder that you may write to with --store",
        )

    def take_notes(self) -> list[str]:
        """Lines about repairs and damage since the last call, for people."""
        notes = list(self._notes)
        self._notes.clear()
        return notes

    # Reading

    def folder(self, key: str) -> Path:
        """Where the artifact of ``key`` is, or would be."""
        return self._artifacts.joinpath(artifacts.checked_key(key)[:2], key)

    def log_path(self, key: str) -> Path:
        """The log file of the stage's last run."""
        return self.root / "logs" / f"{artifacts.checked_key(key)}.log"

    def shown_log(self, key: str) -> str:
        """The path of that file as people can open it: below the store's folder as it was given."""
        return (self._given / "logs" / f"{artifacts.checked_key(key)}.log").as_posix()

    def record(self, key: str) -> ArtifactRecord:
        """The content of the stage's ``result.json``, its digest checked.

        Raises:
            MissingArtifact: the stage is not done.
            DamagedArtifact: it was, and its result is damaged; a holder has set it aside meanwhile.
        """
        try:
            return artifacts.read_record(self.folder(key), key)
        except DamagedArtifact as error:
            if self.is_held:
                self.set_aside(key, error.reason)
            raise

    def result(self, key: str) -> StageResult:
        """What the stage produced; raises like ``record``."""
        return self.record(key).result

    def is_done(self, key: str) -> bool:
        """Whether the stage has a sound ``result.json``; its large files may be pruned, see ``has_files``."""
        try:
            self.record(key)
        except (MissingArtifact, DamagedArtifact):
            return False
        return True

    def has_files(self, key: str) -> bool:
        """Whether the stage is done and every file of it is there in full length, so that a child may read it."""
        try:
            return artifacts.present(self.folder(key), self.record(key))
        except (MissingArtifact, DamagedArtifact):
            return False

    def checked_file(self, key: str, name: str) -> Path:
        """Path of one file of a done stage, after comparing its digest.

        Raises:
            MissingArtifact: the stage is not done.
            DamagedArtifact: the file is absent or has other bytes; a holder has set the artifact aside meanwhile.
            KeyError: the stage has no such file.
        """
        record = self.record(key)
        try:
            return artifacts.checked_file(self.folder(key), record, name)
        except DamagedArtifact as error:
            if self.is_held:
                self.set_aside(key, error.reason)
            raise

    def verify(self, key: str, files: bool = True) -> bool:
        """Whether the artifact matches its digests: of ``result.json``, and with ``files`` of every file."""
        try:
            record = artifacts.read_record(self.folder(key), key)
            for name in record.result.files if files else ():
                artifacts.checked_file(self.folder(key), record, name)
        except (MissingArtifact, DamagedArtifact):
            return False
        return True

    def keys(self) -> list[str]:
        """Keys of all artifacts, damaged or not, sorted."""
        return list(artifacts.all_keys(self._artifacts))

    def rows(self) -> dict[str, StageRow]:
        """The ledger's row of every stage, by key; without a readable ledger, rows made from the artifacts.

        A stage that a killed process left ``running`` is given as ``interrupted``.
        """
        rows = {key: self._with_shown_log(row) for key, row in self._index.read(lambda ledger: ledger.rows()).items()}
        running = [key for key, row in rows.items() if row.status == "running"]
        if running and not self.is_held and self.holder() is None:
            rows |= {key: replace(rows[key], status="interrupted") for key in running}
        return rows

    def row(self, key: str) -> StageRow | None:
        """The row of one stage in :meth:`rows`."""
        if not self.is_held:
            return self.rows().get(key)
        row = self._index.read(lambda ledger: ledger.row(key))
        return row and self._with_shown_log(row)

    def _with_shown_log(self, row: StageRow) -> StageRow:
        return replace(row, log=(self._given / row.log).as_posix()) if row.log else row

    def runs(self) -> list[RunRow]:
        """Every run of this store whose record is sound, oldest first."""
        runs = self._index.read(lambda ledger: ledger.runs())
        for run in runs:
            line = f"the record of the run of {run.started} is damaged and left out; its results are not affected"
            if run.summary is None and line not in self._notes:
                self._notes.append(line)
        return [run for run in runs if run.summary is not None]

    def failed(self) -> dict[str, StageRow]:
        """Stages whose last run failed by themselves (not those blocked by another), by key."""
        return {key: row for key, row in self.rows().items() if row.status == "failed" and not self.is_done(key)}

    # Writing

    def workspace(self, key: str) -> Path:
        """The folder in which the stage works, made when it is absent; what an earlier attempt left is still there."""
        folder = self.root / "work" / artifacts.checked_key(key)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def discard_workspace(self, key: str) -> None:
        """Remove what earlier attempts of the stage left."""
        shutil.rmtree(self.root / "work" / artifacts.checked_key(key), ignore_errors=True)

    def running(self, stage: Stage, pid: int) -> None:
        """Enter that process ``pid`` has begun the stage."""
        log = f"logs/{stage.key}.log"

        def enter(ledger: Ledger) -> None:
            ledger.update(stage, status="running", pid=pid, started=holding.now(), failure="", reason="", log=log)
            ledger.attempt(stage.key)
            ledger.touch(stage.parents.values())

        self._index.write(enter)

    def interrupted(self, stage: Stage) -> None:
        """Enter that the stage was stopped from outside; it resumes in its workspace next time."""
        self._index.write(lambda ledger: ledger.update(stage, status="interrupted"))

    def fail(self, stage: Stage, reason: str, kind: str, log_of: str = "") -> None:
        """Enter that the stage failed, or cannot run because a parent failed (``kind`` is ``blocked``).

        Args:
            stage: the stage.
            reason: one line for people.
            kind: see ``StageRow.failure``.
            log_of: key of the stage whose log tells more; its own by default.
        """
        log = f"logs/{log_of or stage.key}.log"
        status = "blocked" if kind == "blocked" else "failed"
        line = " ".join(reason.split())
        self._index.write(lambda ledger: ledger.update(stage, status=status, failure=kind, reason=line, log=log))

    def touch(self, keys: Iterable[str]) -> None:
        """Enter that these stored results were used, so that they are pruned last."""
        self._index.write(lambda ledger: ledger.touch(list(keys)))

    def commit(
        self,
        stage: Stage,
        workspace: Path,
        values: dict[str, Any],
        seconds: dict[str, float],
        peak_memory_mb: float,
        concurrent: int,
        digests: Mapping[str, str] | None = None,
    ) -> StageResult:
        """Make the workspace the stage's artifact: all of it, or nothing.

        Args:
            stage: the stage that ran.
            workspace: the folder that ``workspace`` gave; it is moved.
            values: JSON values, every number finite.
            seconds: by part.
            peak_memory_mb: 2**20 bytes.
            concurrent: how many stages ran at once at most.
            digests: name -> SHA-256 of the files, where the worker has hashed them and forced them to disk.

        Returns:
            The result as it is stored.

        Raises:
            ValueError: a number is not finite, or the workspace holds what an artifact may not.
            OSError: the disk is full or gone; the workspace is as it was.
        """
        if digests is None:
            digests = {name: files.synced_digest(workspace / name) for name in files.result_files(workspace)}
        result = StageResult(values, seconds, peak_memory_mb, concurrent, dict(digests))
        record = artifacts.seal(stage, workspace, result, holding.now())
        self._file(record, workspace)
        return result

    def set_aside(self, key: str, reason: str) -> None:
        """Move a damaged artifact out of the way, so that its stage counts as not done."""
        target = files.free_name(self.root / "damaged", key)
        with suppress(FileNotFoundError):
            self.folder(key).rename(target)
        self._total = None
        self._index.write(lambda ledger: ledger.undo([key], f"damaged: {reason}"))
        row = self.row(key)
        title = row.title if row else key[:12]
        self._notes.append(f"{title}: damaged ({reason}); kept as {target.relative_to(self.root)}, it will run again")

    def begin_run(self, grid: str, out: str, command: str) -> int:
        """Enter the start of a run; its id for ``end_run``."""
        columns = {"grid": grid, "out": out, "command": command, "pid": os.getpid(), "host": "", "started": ""}
        columns |= {"host": platform.node(), "started": holding.now()}
        return self._index.write(lambda ledger: ledger.begin_run(**columns))

    def end_run(self, run: int, summary: Mapping[str, Any]) -> None:
        """Enter the end of a run and its summary (JSON values)."""
        self._index.write(lambda ledger: ledger.end_run(run, holding.now(), summary))

    # Room

    def sizes(self) -> Sizes:
        """Bytes by part of the store."""
        return measure(self.root)

    def total_bytes(self) -> int:
        """Bytes of all artifacts; counted once per hold and kept up to date."""
        if self._total is None:
            self._total = files.folder_bytes(self._artifacts)
        return self._total

    def prune(self, keys_needed: Collection[str], limit_bytes: int) -> int:
        """Remove checkpoints and pixels that nobody needs now, least recently used first, down to a limit.

        Args:
            keys_needed: stages that are still to run and those whose files they read; never touched.
            limit_bytes: nothing is removed while artifacts and unfinished work together are no larger.

        Returns:
            Bytes removed. Every ``result.json`` stays, so nothing that is done is forgotten.
        """
        excess = self.total_bytes() + files.folder_bytes(self.root / "work") - limit_bytes
        if excess <= 0:
            return 0
        freed = prune(self.root, keys_needed, excess, self._index.read(lambda ledger: ledger.last_used()))
        self._total = None
        return freed

    # Inside

    def _file(self, record: ArtifactRecord, workspace: Path) -> None:
        """Move a sealed workspace to its place, replacing an artifact that lost its files."""
        target, total = self.folder(record.key), self.total_bytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        old, trash = None, files.free_name(self.root / "trash", record.key)
        if target.exists():
            with suppress(MissingArtifact, DamagedArtifact):
                old = artifacts.read_record(target, record.key)
            total -= files.folder_bytes(target)
            target.rename(trash)
        workspace.rename(target)
        sync_folder(target.parent)
        shutil.rmtree(trash, ignore_errors=True)
        workspace.with_name(workspace.name + ".lock").unlink(missing_ok=True)
        self._total = total + files.folder_bytes(target)
        if old and old.result.files != record.result.files:
            self._notes.append(
                f"{record.title}: running it again gave different bytes "
                "(training on this device is not deterministic); results computed from the earlier files are kept"
            )

        def enter(ledger: Ledger) -> None:
            ledger.index([record])
            ledger.touch([record.key])

        self._index.write(enter)

    def _recover(self) -> None:
        """Finish or forget what a killed writer left: half-moved artifacts, rows that say ``running``."""
        shutil.rmtree(self.root / "trash", ignore_errors=True)
        (self.root / "trash").mkdir(exist_ok=True)
        self._index.write(lambda ledger: ledger.interrupt_running())
        for workspace in list((self.root / "work").iterdir()):
            if workspace.suffix == ".lock" and not workspace.with_suffix("").exists():
                holding.remove_if_free(workspace)
            if not (workspace / files.RESULT).is_file():
                continue
            try:
                record = artifacts.check_folder(workspace)
            except DamagedArtifact:
                (workspace / files.RESULT).unlink()
            else:
                self._file(record, workspace)
