"""One folder per finished stage: ``artifacts/<first two of the key>/<key>/result.json`` and the files it lists."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sota_bench.files import canonical_json, write_json
from sota_bench.stages.results import StageResult
from sota_bench.stages.stage import Stage
from sota_bench.store import files

FORMAT = 1
_LARGE_SUFFIXES = (".safetensors", ".u8")
_LARGE_BYTES = 2**20
_RESULT_KINDS = ("evaluate", "probe")
_KEY = re.compile(r"[0-9a-f]{64}")


class MissingArtifact(Exception):
    """The stage is not done here."""


class DamagedArtifact(Exception):
    """An artifact that does not match its digests: it counts as not done, and its stage runs again.

    Args:
        key: key of the stage.
        reason: what does not match, for people.
    """

    def __init__(self, key: str, reason: str) -> None:
        self.key, self.reason = key, reason
        super().__init__(f"artifact {key[:12]}: {reason}")

    def __reduce__(self) -> tuple[type[DamagedArtifact], tuple[str, str]]:
        return type(self), (self.key, self.reason)


@dataclass(frozen=True)
class ArtifactRecord:
    """The content of ``result.json``.

    Attributes:
        key, kind, title, params, parents, epochs: of the stage.
        result: what the stage produced.
        sizes: relative name -> bytes, for the names of ``result.files``.
        finished: local time with offset, ISO 8601; for people only, nothing is decided by it.
    """

    key: str
    kind: str
    title: str
    params: Mapping[str, Any]
    parents: Mapping[str, str]
    epochs: int
    result: StageResult
    sizes: Mapping[str, int]
    finished: str

    @property
    def large(self) -> list[str]:
        """Names of the files that pruning may remove: checkpoints and pixels of at least 1 MB.

        The files of an evaluation are results themselves (predictions), so they stay.
        """
        if self.kind in _RESULT_KINDS:
            return []
        return [name for name, size in self.sizes.items() if name.endswith(_LARGE_SUFFIXES) and size >= _LARGE_BYTES]


def checked_key(key: str) -> str:
    """``key`` itself, if it is a stage key (64 hex digits) and so cannot name another folder."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a stage key: {key!r}")
    return key


def write_record(folder: Path, record: ArtifactRecord) -> None:
    """Write ``result.json`` with the digest of its own content, whole or not at all."""
    body = {"format": FORMAT, **asdict(record)}
    digest = hashlib.sha256(canonical_json(body).encode("ascii")).hexdigest()
    write_json(folder / files.RESULT, {"digest": digest, **body})


def read_record(folder: Path, key: str) -> ArtifactRecord:
    """Read and check the ``result.json`` of one folder.

    Raises:
        MissingArtifact: there is none.
        DamagedArtifact: it is not what was written.
    """
    path = folder / files.RESULT
    try:
        if path.is_symlink():
            raise DamagedArtifact(key, f"{files.RESULT} is a link")
        body = json.loads(path.read_bytes())
        digest = body.pop("digest")
        if hashlib.sha256(canonical_json(body).encode("ascii")).hexdigest() != digest:
            raise DamagedArtifact(key, f"{files.RESULT} does not match its digest")
        if body.pop("format") != FORMAT:
            raise DamagedArtifact(key, f"{files.RESULT} has another format")
        record = ArtifactRecord(**{**body, "result": StageResult(**body["result"])})
        names = list(record.result.files)
        if record.key != key:
            raise DamagedArtifact(key, "it belongs to another stage")
        if not all(map(files.is_safe_name, names)) or set(names) != set(record.sizes):
            raise DamagedArtifact(key, "it names files outside its folder")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingArtifact(key) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedArtifact(key, f"{files.RESULT} cannot be read ({type(error).__name__})") from error
    return record


def present(folder: Path, record: ArtifactRecord) -> bool:
    """Whether every file of the artifact is there with its recorded size."""
    try:
        return all((folder / name).lstat().st_size == size for name, size in record.sizes.items())
    except OSError:
        return False


def checked_file(folder: Path, record: ArtifactRecord, name: str, on_block: Callable[[], None] = lambda: None) -> Path:
    """Path of one file of an artifact after its digest was compared; ``on_block`` is called now and then meanwhile.

    Raises:
        DamagedArtifact: it is absent, is no plain file, or has other bytes.
        KeyError: the artifact has no file of that name.
    """
    expected, path = record.result.files[name], folder / name
    try:
        digest = files.known_digest(path, on_block)
    except (OSError, ValueError) as error:
        raise DamagedArtifact(record.key, f"{name} cannot be read ({error})") from error
    if digest != expected:
        raise DamagedArtifact(record.key, f"{name} does not match its digest")
    return path


def check_folder(folder: Path, on_block: Callable[[], None] = lambda: None) -> ArtifactRecord:
    """Compare every digest of the artifact in ``folder`` (named by its key); what a worker does before it reads one.

    Args:
        folder: of the artifact.
        on_block: called now and then, since a large file takes minutes.

    Raises:
        DamagedArtifact: any file or ``result.json`` itself does not match, or is absent.
    """
    try:
        record = read_record(folder, folder.name)
    except MissingArtifact as error:
        raise DamagedArtifact(folder.name, f"{files.RESULT} is absent") from error
    for name in record.result.files:
        checked_file(folder, record, name, on_block)
    return record


def seal(stage: Stage, workspace: Path, result: StageResult, finished: str) -> ArtifactRecord:
    """Turn a finished workspace into a complete artifact in place: scratch removed, ``result.json`` written last."""
    shutil.rmtree(workspace / files.SCRATCH_FOLDER, ignore_errors=True)
    for path in workspace.rglob("*"):
        if path.is_file() and files.is_scratch(path.relative_to(workspace).as_posix()):
            path.unlink()
    sizes = {name: (workspace / name).lstat().st_size for name in result.files}
    record = ArtifactRecord(
        key=stage.key,
        kind=stage.kind,
        title=stage.title,
        params=stage.described(),
        parents=dict(stage.parents),
        epochs=stage.epochs,
        result=result,
        sizes=sizes,
        finished=finished,
    )
    write_record(workspace, record)
    return record


def all_keys(artifacts: Path) -> Iterator[str]:
    """Keys of all artifact folders, damaged or not."""
    for group in sorted(artifacts.iterdir()) if artifacts.is_dir() else []:
        if group.is_dir():
            yield from sorted(folder.name for folder in group.iterdir() if _KEY.fullmatch(folder.name))
