"""Downloads a published archive with progress, and keeps it only if its length and digest are right."""

from __future__ import annotations

import hashlib
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.files import replacing

_TIMEOUT_S = 30
_BLOCK = 1 << 18
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A published file and how to know it.

    Attributes:
        url: where it is.
        bytes: its exact length.
        sha256: of the whole file, where its publisher or a second party states it.
        md5_of_first_mebibyte: the check that fastai publishes, where there is no other.
    """

    url: str
    bytes: int
    sha256: str = ""
    md5_of_first_mebibyte: str = ""


def download_archive(archive: Archive, folder: Path) -> Path:
    """Download into a folder; a complete earlier download is used again.

    Raises:
        OSError: no network, or the transfer broke.
        UserError: what came is not the published file, or the folder cannot be written.
    """
    from filelock import FileLock

    target = folder / archive.url.rsplit("/", 1)[-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{target.name}.lock")
        lock.acquire()
    except OSError as error:
        raise UserError(
            str(folder), "", f"cannot be written: {error.strerror or error}", "make the user's cache writable"
        ) from None
    try:
        if not target.exists():
            if shutil.disk_usage(folder).free < archive.bytes:
                raise UserError(
                    str(folder), "", f"has no room for {archive.bytes:,} bytes", "make room, or set data.path"
                )
            with replacing(target) as part:
                if problem := _fetch(archive, part):
                    raise UserError(archive.url, "", problem, "try again, or download it yourself and set data.path")
    finally:
        lock.release()
    return target


def _fetch(archive: Archive, partial: Path) -> str:
    """Write the file and say what is wrong with it, or ""."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    whole, start, received = hashlib.sha256(), b"", 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    request = urllib.request.Request(archive.url, headers={"User-Agent": "sota-bench"})
    try:
        with (
            urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response,
            partial.open("wb") as out,
            Progress(*columns, console=Console(stderr=True), transient=True) as bar,
        ):
            task = bar.add_task(archive.url.rsplit("/", 1)[-1], total=archive.bytes)
            while block := response.read(_BLOCK):
                received += len(block)
                if received > archive.bytes:
                    return f"is longer than the {archive.bytes:,} bytes that were published"
                whole.update(block)
                if len(start) < _MEBIBYTE:
                    start += block[: _MEBIBYTE - len(start)]
                out.write(block)
                bar.update(task, completed=received)
    except HTTPException as error:
        raise OSError(f"the transfer broke: {error or type(error).__name__}") from None
    if received != archive.bytes:
        return f"came with {received:,} bytes, {archive.bytes:,} were published"
    if archive.sha256 and whole.hexdigest() != archive.sha256:
        return f"has SHA-256 {whole.hexdigest()[:12]}..., {archive.sha256[:12]}... was published"
    first = hashlib.md5(start, usedforsecurity=False).hexdigest()
    if archive.md5_of_first_mebibyte and first != archive.md5_of_first_mebibyte:
        return f"starts with MD5 {first[:12]}..., {archive.md5_of_first_mebibyte[:12]}... was published"
    return ""
