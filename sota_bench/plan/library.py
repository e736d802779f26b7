"""What a plan asks of a manifest, and a process of its own to ask it in where the manifest is large: the memory of the
driver does not grow with the images."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sota_bench.data.files import FileSource
from sota_bench.data.joined import JoinedSource, classes_of, is_joined
from sota_bench.data.manifest import Manifest
from sota_bench.data.source import Progress, Source
from sota_bench.data.split import SPLITS
from sota_bench.data.subset import Subset, choose
from sota_bench.processes import end_with_parent
from sota_bench.stages.context import ImageChoice

if TYPE_CHECKING:
    import pandas as pd

LARGE = 50_000
"""Files from which on a manifest gets a process of its own."""

IMAGE_BYTES = 150
"""Of a manifest's file, about, for one image: says how many it lists before it is read."""

SHOWN_EVERY_S = 0.2

ARCHIVE_BYTES = 2**30
"""An archive of this size holds many images."""


@dataclass(frozen=True)
class Chosen:
    """A subset without its rows: what a plan needs of it.

    Attributes:
        classes: class names; a class's position is its target index.
        counts: images per split.
        digests: split -> digest of its contents and labels.
    """

    classes: list[str]
    counts: dict[str, int]
    digests: dict[str, str]

    def sizes(self) -> dict[str, int]:
        """Images per split."""
        return self.counts

    def split_digest(self, split: str) -> str:
        """SHA-256 over the classes and one split's contents and labels."""
        return self.digests[split]


class Library:
    """Answers about a manifest that are small however many images it lists.

    Args:
        origin: a manifest, the file of one, or a source that is scanned.
    """

    def __init__(self, origin: Manifest | Path | Source) -> None:
        self._origin = origin
        self._listed = (0, 0)
        self._subsets: dict[ImageChoice, Subset] = {}

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest, listed or read at the first question."""
        if isinstance(self._origin, Source):
            return self._origin.scan(self._tell)
        return Manifest.load(self._origin) if isinstance(self._origin, Path) else self._origin

    def _tell(self, done: int, total: int) -> None:
        self._listed = (done, total)

    def listed(self) -> tuple[int, int]:
        """Files listed so far, and their number; asked from another thread while the first question is answered."""
        return self._listed

    def subset(self, choice: ImageChoice) -> Subset:
        """The subset of a choice, made once."""
        if choice not in self._subsets:
            self._subsets[choice] = choose(self.manifest, **choice.arguments())
        return self._subsets[choice]

    def chosen(self, choice: ImageChoice) -> Chosen:
        """The subset of a choice, without its rows."""
        found = self.subset(choice)
        return Chosen(found.classes, found.sizes(), {split: found.split_digest(split) for split in SPLITS})

    def contents_digest(self, choices: Sequence[ImageChoice]) -> tuple[str, int]:
        """SHA-256 over all images that some choice uses, and their number."""
        found = self._contents(choices)
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest(), len(found)

    def _contents(self, choices: Sequence[ImageChoice]) -> set[str]:
        return {sha for choice in choices for split in SPLITS for sha in self.subset(choice).contents(split)}

    def part(self, choices: Sequence[ImageChoice], name: str) -> Manifest:
        """The images that some choice uses."""
        items = self.manifest.items
        few = items[items["sha256"].isin(self._contents(choices))].reset_index(drop=True)
        return Manifest(name, few, self.manifest.left_out.iloc[:0])

    def paths(self, count: int) -> list[str]:
        """Some images, evenly spread."""
        paths = self.manifest.items["path"]
        rows = np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)
        return [str(paths.iloc[row]) for row in rows]

    def classes_of(self, name: str) -> list[str]:
        """Class names of one source in a joined manifest."""
        return classes_of(self.manifest, name)

    def joined(self) -> bool:
        """Whether several sources are listed."""
        return is_joined(self.manifest)

    def digest(self) -> str:
        """Of the manifest."""
        return self.manifest.digest

    def classes(self) -> list[str]:
        """Class names, sorted."""
        return self.manifest.classes

    def left_out(self) -> pd.DataFrame:
        """Columns ``path`` and ``reason``."""
        return self.manifest.left_out

    def save(self, path: Path) -> None:
        """Writes the manifest."""
        self.manifest.save(path)


class _Manager(BaseManager):
    """Holds a library in another process."""


# Named here, since looking for them would read the manifest before anybody asks.
_ANSWERS = [
    "listed", "chosen", "contents_digest", "part", "paths", "classes_of", "joined", "digest", "classes", "left_out",
    "save",
]  # fmt: skip
_Manager.register("Library", Library, exposed=_ANSWERS)


class ManifestApart:
    """A manifest that is held by a process of its own, which is started when something is asked that is not known yet.

    Args:
        origin: its file, or a source that is scanned.
        progress: told (done, total) while the source is listed.
    """

    def __init__(self, origin: Path | Source, progress: Progress | None = None) -> None:
        self._origin, self._progress = origin, progress
        self._manager: _Manager | None = None
        self._library: Any = None

    def ask(self, name: str, *arguments: Any) -> Any:
        """The answer of a method of :class:`Library`."""
        if self._manager is None:
            self._manager = _Manager(ctx=get_context("spawn"))
            self._manager.start(initializer=end_with_parent)
            self._library = self._manager.Library(self._origin)  # type: ignore[attr-defined]
            if self._progress is not None and isinstance(self._origin, Source):
                self._show_listing(self._progress)
        return getattr(self._library, name)(*arguments)

    def _show_listing(self, progress: Progress) -> None:
        def listing() -> None:
            with suppress(Exception):  # the question that follows meets the same mistake
                self._library.digest()

        answer = threading.Thread(target=listing, daemon=True)
        answer.start()
        while answer.is_alive():
            answer.join(SHOWN_EVERY_S)
            progress(*self._library.listed())

    @cached_property
    def digest(self) -> str:
        """As ``Manifest.digest``."""
        return str(self.ask("digest"))

    @cached_property
    def classes(self) -> list[str]:
        """As ``Manifest.classes``."""
        return list(self.ask("classes"))

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """As ``Manifest.left_out``."""
        found: pd.DataFrame = self.ask("left_out")
        return found

    def save(self, path: Path) -> None:
        """As ``Manifest.save``; what is asked later comes from the file, and the process may go."""
        if path != self._origin:  # also over a file of that name, which may be damaged
            self.ask("save", path)
        self._origin = path
        self.close()

    def close(self) -> None:
        """Ends the process; a later question starts it anew."""
        if self._manager is not None:
            with suppress(OSError, EOFError):
                self._manager.shutdown()
        self._manager = self._library = None


def manifest_of(source: Source, progress: Progress | None = None) -> Manifest | ManifestApart:
    """The manifest of a source, held here or, where it is large, apart.

    Args:
        source: what is listed.
        progress: told (done, total) while it is listed.
    """
    return ManifestApart(source, progress) if _is_large(source) else source.scan(progress)


def stored_manifest(file: Path) -> Manifest | ManifestApart:
    """A manifest from its file, held here or, where it is large, apart.

    Raises:
        UserError: there is no such manifest, or it is damaged.
    """
    large = file.is_file() and file.stat().st_size > LARGE * IMAGE_BYTES
    return ManifestApart(file) if large else Manifest.load(file)


def _is_large(source: Source) -> bool:
    if isinstance(source, JoinedSource):
        return any(_is_large(one) for one in (source.main, *source.others.values()))
    if not isinstance(source, FileSource):
        return False
    if source.root.is_file():
        return source.root.stat().st_size > ARCHIVE_BYTES
    return sum(1 for _ in islice(_files(source.root), LARGE)) == LARGE


def _files(root: Path) -> Iterator[str]:
    """Names of all files below a folder, those of each folder once, however many links lead to it."""
    visited = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        if (real := Path(folder).resolve()) in visited:
            folders.clear()
        else:
            visited.add(real)
            yield from names
