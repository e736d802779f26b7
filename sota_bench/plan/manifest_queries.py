"""What a plan asks of a manifest; of a large one in a process of its own, so that the memory of the command that plans
and runs does not grow with the number of images (a million of them take about a gigabyte as a table)."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from sota_bench.data.account import Account, account_of
from sota_bench.data.files import FileSource
from sota_bench.data.joined import JoinedSource, classes_of, is_joined
from sota_bench.data.manifest import Manifest
from sota_bench.data.source import Progress, Source
from sota_bench.data.split import SPLITS
from sota_bench.data.subset import Subset, choose
from sota_bench.processes import process_pool
from sota_bench.stages.context import ImageChoice

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import SynchronizedArray

    import pandas as pd

LARGE = 50_000
"""Files from which on a manifest gets a process of its own."""

IMAGE_BYTES = 150
"""Of a manifest's file, about, for one image: says how many it lists before it is read."""

SHOWN_EVERY_S = 0.2

ARCHIVE_BYTES = 2**30
"""An archive of this size holds many images."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class SubsetSummary:
    """What a plan needs of a subset: all but its rows.

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


class ManifestQueries:
    """Answers about a manifest that are small however many images it lists.

    Args:
        origin: a manifest, the file of one, or a source that is scanned at the first question.
        progress: called with (done, total) while the source is listed.
    """

    def __init__(self, origin: Manifest | Path | Source, progress: Progress | None = None) -> None:
        self._origin, self._progress = origin, progress
        self._subsets: dict[ImageChoice, Subset] = {}

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest, listed or read at the first question."""
        if isinstance(self._origin, Source):
            return self._origin.scan(self._progress)
        return Manifest.load(self._origin) if isinstance(self._origin, Path) else self._origin

    def _subset(self, choice: ImageChoice) -> Subset:
        if choice not in self._subsets:
            self._subsets[choice] = choose(self.manifest, **choice.arguments())
        return self._subsets[choice]

    def subset(self, choice: ImageChoice) -> SubsetSummary:
        """The subset of a choice, without its rows."""
        subset = self._subset(choice)
        digests = {split: subset.split_digest(split) for split in SPLITS}
        return SubsetSummary(subset.classes, subset.sizes(), digests)

    def count(self) -> int:
        """All images."""
        return len(self.manifest.items)

    def contents_digest(self, choices: Sequence[ImageChoice]) -> tuple[str, int]:
        """SHA-256 over all images that some choice uses, and their number."""
        contents = self._contents(choices)
        return hashlib.sha256("\n".join(sorted(contents)).encode()).hexdigest(), len(contents)

    def _contents(self, choices: Sequence[ImageChoice]) -> set[str]:
        return {sha for choice in choices for split in SPLITS for sha in self._subset(choice).contents(split)}

    def part(self, choices: Sequence[ImageChoice], name: str) -> Manifest:
        """The images that some choice uses."""
        return self.manifest.limited_to(self._contents(choices), name)

    def paths(self, count: int) -> list[str]:
        """Some images, evenly spread."""
        return self.manifest.sample_paths(count)

    def classes_of(self, name: str) -> list[str]:
        """Class names of one source in a joined manifest."""
        return classes_of(self.manifest, name)

    def joined(self) -> bool:
        """Whether several sources are listed."""
        return is_joined(self.manifest)

    def digest(self) -> str:
        """The digest of the manifest."""
        return self.manifest.digest

    def classes(self) -> list[str]:
        """Class names, sorted."""
        return self.manifest.classes

    def left_out(self) -> pd.DataFrame:
        """Columns ``path`` and ``reason``."""
        return self.manifest.left_out

    def account(self) -> Account:
        """What the source holds, what of it is used, and what should be looked at."""
        return account_of(self.manifest)

    def save(self, path: Path) -> None:
        """Writes the manifest."""
        self.manifest.save(path)


_here: ManifestQueries | None = None
"""In the process of a :class:`RemoteManifest`: what answers."""


def _open(origin: Path | Source, listed: SynchronizedArray[int]) -> None:
    def progress(done: int, total: int) -> None:
        listed[:] = [done, total]

    global _here
    _here = ManifestQueries(origin, progress)


def _answer(query: Callable[Concatenate[ManifestQueries, P], T], *arguments: P.args, **named: P.kwargs) -> T:
    assert _here is not None
    return query(_here, *arguments, **named)


class RemoteManifest:
    """A manifest that is held by a process of its own, which is started when something is asked that is not known yet.

    Args:
        origin: its file, or a source that is scanned.
        progress: called with (done, total) while the source is listed.
    """

    def __init__(self, origin: Path | Source, progress: Progress | None = None) -> None:
        self._origin, self._progress = origin, progress
        self._process = ExitStack()
        self._pool: ProcessPoolExecutor | None = None
        self._listed: SynchronizedArray[int] = get_context("spawn").Array("q", 2)

    def ask(self, query: Callable[Concatenate[ManifestQueries, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """The answer of a method of :class:`ManifestQueries`, such as ``ask(ManifestQueries.paths, 9)``."""
        if self._pool is None:
            self._pool = self._process.enter_context(process_pool(1, _open, (self._origin, self._listed)))
        try:
            return self._wait(self._pool.submit(partial(_answer, query, *arguments, **named)))
        except BaseException:
            self._pool = None
            self._process.__exit__(*sys.exc_info())
            raise

    def _wait(self, answer: Future[T]) -> T:
        """The answer; of the first question to a source, how far the listing is meanwhile."""
        if self._progress is not None and isinstance(self._origin, Source):
            while wait([answer], SHOWN_EVERY_S).not_done:
                self._progress(*self._listed[:])
            self._progress(*self._listed[:])
            self._progress = None
        return answer.result()

    @cached_property
    def digest(self) -> str:
        """As ``Manifest.digest``."""
        return self.ask(ManifestQueries.digest)

    @cached_property
    def classes(self) -> list[str]:
        """As ``Manifest.classes``."""
        return self.ask(ManifestQueries.classes)

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """As ``Manifest.left_out``."""
        return self.ask(ManifestQueries.left_out)

    def save(self, path: Path) -> None:
        """As ``Manifest.save``; what is asked later comes from the file, and the process ends."""
        if path != self._origin:  # also over a file of that name, which may be damaged
            self.ask(ManifestQueries.save, path)
        self._origin = path
        self.close()

    def close(self) -> None:
        """Ends the process; a later question starts it anew."""
        self._pool = None
        self._process.close()


def manifest_of(source: Source, progress: Progress | None = None) -> Manifest | RemoteManifest:
    """The manifest of a source, held here or, where it is large, in a process of its own.

    Args:
        source: what is listed.
        progress: called with (done, total) while it is listed.
    """
    return RemoteManifest(source, progress) if _is_large(source) else source.scan(progress)


def stored_manifest(file: Path) -> Manifest | RemoteManifest:
    """A manifest from its file, held here or, where it is large, in a process of its own.

    Raises:
        UserError: there is no such manifest, or it is damaged.
    """
    large = file.is_file() and file.stat().st_size > LARGE * IMAGE_BYTES
    return RemoteManifest(file) if large else Manifest.load(file)


def _is_large(source: Source) -> bool:
    if isinstance(source, JoinedSource):
        return any(_is_large(part) for part in (source.main, *source.others.values()))
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
