"""Sources whose images are files: an image folder, or a .tar read in place."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sota_bench.data import tarindex
from sota_bench.data.decode import BadImage, decode_image
from sota_bench.data.layout import Layout, read_layout
from sota_bench.data.manifest import Manifest, assemble
from sota_bench.data.scan import CHANGED, Reader, remember, scan_files
from sota_bench.data.source import Progress, Source
from sota_bench.errors import UserError

MAX_FILE_BYTES = 1 << 28
"""Larger files are left out by name: no photograph is 256 MiB, and it would have to be held in memory."""


class FileSource(Source):
    """Images that are stored as files of some container.

    Args:
        name: what the source is called.
        root: the folder or archive.
        cache: folder for what scans found; None keeps nothing.
    """

    kind: str

    def __init__(self, name: str, root: Path, cache: Path | None = None) -> None:
        self.name, self.root, self.cache = name, root.absolute(), cache

    @property
    def spec(self) -> dict[str, Any]:
        cache = str(self.cache) if self.cache else None
        return {"kind": self.kind, "name": self.name, "path": str(self.root), "cache": cache}

    @abstractmethod
    def files(self) -> tuple[list[tuple[str, int, int]], list[tuple[str, str]]]:
        """Every file as (path, bytes, modification time in ns), and what was left out as (path, reason)."""

    @abstractmethod
    def reader(self) -> Reader:
        """What reads one file's bytes by its path; picklable."""

    def remembered(self, what: str) -> Path | None:
        """The file in the cache folder for one kind of facts about this source."""
        if self.cache is None:
            return None
        identity = f"{self.kind}:{self.root}".encode(errors="surrogateescape")
        return self.cache / f"{what}-{hashlib.sha256(identity).hexdigest()[:20]}.npz"

    def scan(self, progress: Progress | None = None) -> Manifest:
        files, left_out = self.files()
        layout: Layout = read_layout([path for path, _, _ in files], str(self.root))
        left_out += layout.left_out
        sizes = {path: (size, mtime) for path, size, mtime in files}
        usable = []
        for path in layout.members:
            if sizes[path][0] > MAX_FILE_BYTES:
                left_out.append((path, f"too large: {sizes[path][0]:,} bytes, the limit is {MAX_FILE_BYTES:,}"))
            else:
                usable.append((path, *sizes[path]))
        results = scan_files(self.reader(), usable, self.remembered("scan"), progress)
        images = []
        for path, size, _ in usable:
            sha, problem = results[path]
            if problem:
                left_out.append((path, problem))
            else:
                split, label = layout.members[path]
                images.append((path, split, label, sha, size))
        return assemble(self.name, images, left_out, str(self.root))

    def leave_out(self, left_out: Iterable[tuple[str, str]]) -> None:
        entries = list(left_out)
        if (file := self.remembered("scan")) and not remember(file, entries):
            problem = f"cannot keep which images do not decode, such as {entries[0][0]} ({entries[0][1]})"
            raise UserError(str(file.parent), "", problem, "make this folder writable, or remove these images")

    def decode(self, path: str, size: int, sha256: str = "") -> np.ndarray:
        try:
            data = self.reader()(path)
        except (OSError, KeyError, ValueError) as error:
            raise BadImage(f"cannot be read: {error}") from None
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise BadImage(CHANGED)
        return decode_image(data, size)


class FolderSource(FileSource):
    """``<root>/train/<class>/*`` with ``val/`` or ``test/``, or ``<root>/<class>/*`` without a split."""

    kind = "folder"

    def files(self) -> tuple[list[tuple[str, int, int]], list[tuple[str, str]]]:
        files: list[tuple[str, int, int]] = []
        left_out: list[tuple[str, str]] = []
        if not self.root.is_dir():
            raise UserError(str(self.root), "", "is not a folder", "name a folder of train/<class>/ and val/<class>/")
        _walk(self.root, "", files, left_out, {self.root.resolve()})
        return files, left_out

    def reader(self) -> Reader:
        return FolderReader(str(self.root))


class FolderReader:
    """Reads files below a folder."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __call__(self, path: str) -> bytes:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError(f"{path!r} points outside the folder")
        return Path(self.root, path).read_bytes()


class TarSource(FileSource):
    """An uncompressed .tar with the layout of a folder, read in place by offset."""

    kind = "tar"

    def __init__(self, name: str, root: Path, cache: Path | None = None) -> None:
        super().__init__(name, root, cache)
        self._index: tarindex.TarIndex | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": None}

    def index(self) -> tarindex.TarIndex:
        """Where each member lies; read once per process."""
        if self._index is None:
            self._index = tarindex.read(self.root, self.remembered("index"))
        return self._index

    def files(self) -> tuple[list[tuple[str, int, int]], list[tuple[str, str]]]:
        index = self.index()
        mtime = self.root.stat().st_mtime_ns
        return [(path, size, mtime) for path, (_, size) in index.members.items()], list(index.left_out)

    def reader(self) -> Reader:
        return tarindex.TarReader(str(self.root), self.index().members)


def _walk(
    folder: Path, prefix: str, files: list[tuple[str, int, int]], left_out: list[tuple[str, str]], visited: set[Path]
) -> None:
    """Collect files below a folder, following links but never into a folder that was visited already: folders that link
    to each other have more paths than can be walked."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        left_out.append((prefix or ".", f"cannot be listed: {error.strerror}"))
        return
    for entry in entries:
        path = prefix + entry.name
        try:
            if entry.name.startswith("."):
                continue
            path.encode()
            if entry.is_dir():
                target = Path(entry.path).resolve()
                if entry.is_symlink() and target in visited:
                    left_out.append((path, "a link to a folder that is listed already"))
                    continue
                visited.add(target)
                _walk(Path(entry.path), path + "/", files, left_out, visited)
            elif entry.is_file():
                status = entry.stat()
                files.append((path, status.st_size, status.st_mtime_ns))
            else:
                left_out.append((path, "a broken link" if entry.is_symlink() else "not a regular file"))
        except UnicodeEncodeError:
            left_out.append((path.encode(errors="backslashreplace").decode(), "the name is not valid UTF-8"))
        except OSError as error:
            left_out.append((path, f"cannot be read: {error.strerror}"))
