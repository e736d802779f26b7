"""Sources whose images are files: a folder, an unpacked archive, or a .tar read in place."""

from __future__ import annotations

import hashlib
import json
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from sota_bench.data import tarindex
from sota_bench.data.assembly import assemble
from sota_bench.data.copies import group_copies
from sota_bench.data.decode import BadImage, decode_image, pixel_range
from sota_bench.data.formats import HEAD_BYTES, IMAGE_SUFFIXES, suffix_of
from sota_bench.data.junk import SIDECAR
from sota_bench.data.layout import Layout
from sota_bench.data.listing import Listing, walk_folder
from sota_bench.data.manifest import LeftOut, Manifest, ScannedImage
from sota_bench.data.options import ReadingOptions
from sota_bench.data.parquet import ParquetReader, list_parquet
from sota_bench.data.reading import read_listing
from sota_bench.data.scan import CHANGED, Scanned, remember, scan_files
from sota_bench.data.source import Progress, Scale, Source
from sota_bench.errors import UserError

MAX_FILE_BYTES = 1 << 28
"""Larger files are left out by name: no photograph is 256 MiB, and it would have to be held in memory."""


class FileReader(Protocol):
    """Reads files of a source by their paths; picklable."""

    def __call__(self, path: str) -> bytes: ...

    def head(self, path: str) -> bytes:
        """The first ``HEAD_BYTES`` bytes of a file."""
        ...


class FileSource(Source):
    """Images that are stored as files of some container.

    Args:
        name: what the source is called.
        root: the folder or archive.
        cache: folder for what scans found; None keeps nothing.
        options: how the user says that it is to be read.
    """

    kind: str

    def __init__(self, name: str, root: Path, cache: Path | None = None, options: ReadingOptions | None = None) -> None:
        self.name, self.root, self.cache = name, root.absolute(), cache
        self.options = options or ReadingOptions()

    @property
    def origin(self) -> str:
        """The source as the user knows it, for errors."""
        return str(self.root)

    @property
    def spec(self) -> dict[str, Any]:
        cache = str(self.cache) if self.cache else None
        options = self.options.to_json()
        return {"kind": self.kind, "name": self.name, "path": str(self.root), "cache": cache, "options": options}

    @abstractmethod
    def listing(self) -> Listing:
        """Every file that is no junk, and what cannot be read."""

    @abstractmethod
    def reader(self) -> FileReader:
        """What reads one file's bytes by its path."""

    def remembered(self, what: str) -> Path | None:
        """The file in the cache folder for one kind of facts about this source."""
        if self.cache is None:
            return None
        identity = f"{self.kind}:{self.root}".encode(errors="surrogateescape")
        return self.cache / f"{what}-{hashlib.sha256(identity).hexdigest()[:20]}.npz"

    def scan(self, progress: Progress | None = None) -> Manifest:
        listing, reader = self.listing(), self.reader()
        layout = read_listing(listing, reader, reader.head, self.options, self.origin)
        left_out = [LeftOut(path, reason) for path, reason in listing.left_out + layout.left_out]
        sizes = {path: (size, mtime) for path, size, mtime in listing.files}
        usable = []
        for path, member in layout.members.items():
            if sizes[path][0] > MAX_FILE_BYTES:
                reason = f"too large: {sizes[path][0]:,} bytes, the limit is {MAX_FILE_BYTES:,}"
                left_out.append(LeftOut(path, reason, *member))
            else:
                usable.append((path, *sizes[path]))
        results = scan_files(reader, usable, self.remembered("scan"), progress)
        for path, scanned in results.items():
            if scanned.problem:
                left_out.append(LeftOut(path, scanned.problem, *layout.members[path]))
        images = _images(results, layout, self.options)
        notes, alarms = layout.notes, layout.alarms
        return assemble(
            self.name, images, left_out, self.origin, junk=listing.junk, notes=notes, alarms=alarms,
            other_labels=layout.other_labels,
        )  # fmt: skip

    def leave_out(self, left_out: Iterable[tuple[str, str]]) -> None:
        entries = list(left_out)
        if (file := self.remembered("scan")) and not remember(file, entries):
            problem = f"cannot keep which images do not decode, such as {entries[0][0]} ({entries[0][1]})"
            raise UserError(str(file.parent), "", problem, "make this folder writable, or remove these images")

    def decode(self, path: str, size: int, sha256: str = "", scale: Scale = None) -> np.ndarray:
        try:
            data = self.reader()(path)
        except (OSError, KeyError, ValueError) as error:
            raise BadImage(f"cannot be read: {error}") from None
        if sha256 and content_digest(hashlib.sha256(data).hexdigest(), scale) != sha256:
            raise BadImage(CHANGED)
        return decode_image(data, size, scale)


def content_digest(file_sha256: str, scale: Scale) -> str:
    """The digest of an image's content: that of its file, and of the scale that turns it into 8 bits, where there is
    one. So results that depend on the scale of the whole data set have other keys where it changes."""
    if scale is None:
        return file_sha256
    return hashlib.sha256(f"{file_sha256}:{scale[0]!r}:{scale[1]!r}".encode()).hexdigest()


def _images(results: Mapping[str, Scanned], layout: Layout, options: ReadingOptions) -> list[ScannedImage]:
    """The images that can be used, on one scale, with their near copies and what they belong to."""
    usable = {path: scanned for path, scanned in results.items() if not scanned.problem}
    deep = [scanned for scanned in usable.values() if not math.isnan(scanned.low)]
    scale = options.pixel_range
    if deep and scale is None:
        scale = pixel_range(min(scanned.low for scanned in deep), max(scanned.high for scanned in deep))
        layout.notes.append(f"images with more than 8 bits: {scale[0]:g} is black and {scale[1]:g} is white")
    images = []
    for path, scanned in usable.items():
        split, label = layout.members[path]
        own = None if math.isnan(scanned.low) else scale
        text = "" if own is None else f"{own[0]!r}:{own[1]!r}"
        content, group = content_digest(scanned.sha256, own), layout.groups.get(path, "")
        images.append(ScannedImage(path, split, label, content, scanned.length, text, group=group))
    for alike in group_copies([scanned.thumbnail for scanned in usable.values()]):
        contents = sorted({images[position].sha256 for position in alike})
        if len(contents) > 1:
            for position in alike:
                images[position] = images[position]._replace(near_copies=contents[0])
    return images


class FolderSource(FileSource):
    """A folder of images, or of shards (.tar, .parquet) that hold them.

    Args:
        only: names of the files in it that are read; all by default.
    """

    kind = "folder"

    def __init__(
        self, name: str, root: Path, cache: Path | None = None, options: ReadingOptions | None = None,
        only: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(name, root, cache, options)
        self.only = tuple(only)
        self._shards: dict[str, tuple[str, int, int]] | None = None
        self._rows: dict[str, tuple[str, int, int]] = {}

    @property
    def spec(self) -> dict[str, Any]:
        return {**super().spec, "only": list(self.only)}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": None, "_rows": {}}

    def listing(self) -> Listing:
        if not self.root.is_dir():
            raise UserError(str(self.root), "", "is not a folder", "name a folder of train/<class>/ and val/<class>/")
        listing = Listing()
        walk_folder(self.root, "", listing, {self.root.resolve()})
        if self.only:
            listing.files = [file for file in listing.files if file[0] in self.only]
        self._shards, self._rows = {}, {}
        if not any(suffix_of(path) in IMAGE_SUFFIXES for path, _, _ in listing.files):
            self._open_shards(listing)
        return listing

    def _open_shards(self, listing: Listing) -> None:
        """List what is inside .tar and .parquet files, in place of these."""
        assert self._shards is not None
        parquet = [file for file in listing.files if file[0].lower().endswith(".parquet")]
        if parquet:
            files, listing.tables, self._rows = list_parquet(self.root, parquet)
            listing.files = [file for file in listing.files if file not in parquet] + files
            return
        for shard in [file for file in listing.files if file[0].lower().endswith(".tar")]:
            path, _, mtime = shard
            listing.files.remove(shard)
            which = hashlib.sha256(path.encode()).hexdigest()[:12]
            index = tarindex.read(self.root / path, self.remembered(f"index-{which}"))
            inside = path[: -len(".tar")]
            listing.left_out += [(f"{inside}/{name}", reason) for name, reason in index.left_out]
            listing.junk += index.junk
            for name, (offset, size) in index.members.items():
                self._shards[f"{inside}/{name}"] = path, offset, size
                listing.files.append((f"{inside}/{name}", size, mtime))

    def reader(self) -> FileReader:
        if self._rows:
            return ParquetReader(str(self.root), self._rows)
        return FolderReader(str(self.root), self._shards)

    def decode(self, path: str, size: int, sha256: str = "", scale: Scale = None) -> np.ndarray:
        if self._shards is None and not Path(self.root, path).exists():
            self.listing()  # it is inside a shard; a folder of plain files is not listed again
        return super().decode(path, size, sha256, scale)


class FolderReader:
    """Reads files below a folder, and members of .tar files in it.

    Args:
        root: the folder.
        shards: path -> (.tar file below the folder, offset, bytes).
    """

    def __init__(self, root: str, shards: Mapping[str, tuple[str, int, int]] | None = None) -> None:
        self.root, self.shards = root, shards or {}

    def __call__(self, path: str) -> bytes:
        return self._read(path, None)

    def head(self, path: str) -> bytes:
        """The first bytes of a file; none where it cannot be read."""
        try:
            return self._read(path, HEAD_BYTES)
        except OSError:
            return b""

    def _read(self, path: str, most: int | None) -> bytes:
        if path in self.shards:
            shard, offset, size = self.shards[path]
            return tarindex.read_at(Path(self.root, shard), offset, size if most is None else min(size, most), path)
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError(f"{path!r} points outside the folder")
        with Path(self.root, path).open("rb") as file:
            return file.read() if most is None else file.read(most)


class UnpackedSource(FolderSource):
    """The files of an archive that was unpacked, with what was left out of it.

    Args:
        archive: from which it was unpacked.
    """

    kind = "unpacked"

    def __init__(
        self, name: str, root: Path, cache: Path | None, options: ReadingOptions | None, archive: Path
    ) -> None:
        super().__init__(name, root, cache, options)
        self.archive = archive.absolute()

    @property
    def origin(self) -> str:
        return str(self.archive)

    @property
    def spec(self) -> dict[str, Any]:
        return {**super().spec, "archive": str(self.archive)}

    def listing(self) -> Listing:
        listing = super().listing()
        try:
            facts = json.loads((self.root / SIDECAR).read_text(encoding="utf-8"))
            listing.left_out += [(str(path), str(reason)) for path, reason in facts["left_out"]]
            listing.junk += int(facts["junk"]) - 1  # the file itself is hidden, and counted
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(str(self.root), "", "is damaged", "delete this folder, it is made again") from None
        return listing


class TarSource(FileSource):
    """An uncompressed .tar with the layout of a folder, read in place by offset."""

    kind = "tar"

    def __init__(self, name: str, root: Path, cache: Path | None = None, options: ReadingOptions | None = None) -> None:
        super().__init__(name, root, cache, options)
        self._index: tarindex.TarIndex | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": None}

    def index(self) -> tarindex.TarIndex:
        """Where each member lies; read once per process."""
        if self._index is None:
            self._index = tarindex.read(self.root, self.remembered("index"))
        return self._index

    def listing(self) -> Listing:
        index = self.index()
        mtime = self.root.stat().st_mtime_ns
        files = [(path, size, mtime) for path, (_, size) in index.members.items()]
        return Listing(files, list(index.left_out), index.junk)

    def reader(self) -> FileReader:
        return tarindex.TarReader(str(self.root), self.index().members)
