"""Finds a data set by its source string, in the order that the documentation promises; downloads what is published.

Order for ``imagenette``, ``imagewoof`` and ``imagenet``: the path given in the grid; ``$SOTA_BENCH_DATA`` (the data
set's folder, a folder that holds it or its archive, or the archive); the user's cache; a download with a checked digest
(not for ImageNet, which is not published freely).
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from sota_bench.data.archives import ENDINGS, archive_kind, is_archive_name
from sota_bench.data.curated import PATH_KINDS, CuratedSource, origin_of
from sota_bench.data.download import Archive, download_archive
from sota_bench.data.files import FolderSource, TarSource, UnpackedSource
from sota_bench.data.formats import IMAGE_SUFFIXES, suffix_of
from sota_bench.data.imagenet_tars import ImageNetTars, is_imagenet
from sota_bench.data.junk import is_junk_name
from sota_bench.data.names import IMAGENETTE, IMAGEWOOF
from sota_bench.data.options import ReadingOptions
from sota_bench.data.rendered import KnownEffects
from sota_bench.data.source import Source
from sota_bench.data.torchvision_sets import SETS, open_torchvision
from sota_bench.data.unpack import unpack
from sota_bench.errors import UserError
from sota_bench.grid.nearest import did_you_mean

VARIABLE = "SOTA_BENCH_DATA"
_MOST_SHARDS = 100_000
_FAST_AI = "https://s3.amazonaws.com/fast-ai-imageclas"


@dataclass(frozen=True)
class NamedDataset:
    """A data set that is known by name.

    Attributes:
        folders: names (patterns) of its folder, and of its archive without the ending.
        classes: its class folders; empty where any are accepted.
        archive: what can be downloaded.
    """

    folders: tuple[str, ...]
    classes: frozenset[str]
    archive: Archive | None


# Lengths and digests: Imagenette from tensorflow/datasets (imagenette/checksums.tsv); Imagewoof, for which nobody
# states a SHA-256, from fastai (data/checks.txt: the length, and the MD5 of the first mebibyte).
NAMED_DATASETS: Mapping[str, NamedDataset] = {
    "imagenette": NamedDataset(
        ("imagenette2*", "imagenette"),
        frozenset(IMAGENETTE),
        Archive(
            f"{_FAST_AI}/imagenette2-320.tgz", 341_663_724,
            sha256="569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c",
        ),
    ),
    "imagewoof": NamedDataset(
        ("imagewoof2*", "imagewoof"),
        frozenset(IMAGEWOOF),
        Archive(
            f"{_FAST_AI}/imagewoof2-320.tgz", 328_387_740, md5_of_first_mebibyte="7a1fd92672a559a85de76e4810a20c21",
        ),
    ),
    "imagenet": NamedDataset(("imagenet", "imagenet-1k", "imagenet1k", "ILSVRC2012", "ILSVRC"), frozenset(), None),
}  # fmt: skip


def open_source(
    source: str,
    path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    download: bool = True,
    options: ReadingOptions | None = None,
) -> Source:
    """Open a data set.

    Args:
        source: ``known-effects``, ``imagenette``, ``imagewoof``, ``imagenet``, ``torchvision:NAME``, ``folder:PATH``,
            ``archive:PATH``, or ``manifest:PATH``, a curated manifest.
        path: where a data set known by name, or the images of a curated manifest lie, if the user says so; for
            torchvision, what it calls ``root``.
        environ: where ``SOTA_BENCH_DATA`` is looked up.
        download: whether a published data set may be downloaded.
        options: how it is to be read, where its files do not say it.

    Raises:
        UserError: an unknown source, or it is nowhere to be found.
    """
    kind, colon, location = source.partition(":")
    if colon and kind in ("folder", "archive"):
        if not location:
            raise UserError("data", "source", f"{source!r} names no path", f"write {kind}:PATH")
        target = Path(location).expanduser()
        if kind == "archive" and (names := _numbered(target.name)):
            return FolderSource(target.name, target.parent, user_cache() / "scans", options, names)
        if kind == "folder" and not target.is_dir():
            is_archive = target.is_file() and _is_archive(target)
            remedy = f"write archive:{location}" if is_archive else "name an existing folder"
            raise UserError("data", "source", f"{location!r} is not a folder", remedy)
        if kind == "archive" and not target.is_file():
            remedy = f"write folder:{location}" if target.is_dir() else f"name a {', '.join(ENDINGS)} file"
            raise UserError("data", "source", f"{location!r} is not a file", remedy)
        return _open(target.name, target, options)
    if colon and kind == "torchvision":
        if location not in SETS:
            remedy = did_you_mean(location, list(SETS), f"choose among {', '.join(sorted(SETS))}")
            raise UserError("data", "source", f"torchvision has no data set {location!r} that can be read here", remedy)
        roots = [path.expanduser()] if path else [*_variable_folder(environ), user_cache() / "torchvision"]
        return open_torchvision(location, roots, user_cache() / "scans", options)
    if colon and kind == "manifest":
        for key in (options or ReadingOptions()).to_json():
            problem = "a curated manifest records how its images are read"
            raise UserError("data", key, problem, f"remove {key}, or curate the source again with it")
        return _curated(Path(location).expanduser(), path, environ, download)
    if source == "known-effects":
        for key in (options or ReadingOptions()).to_json():
            problem = "known-effects is rendered, so there are no files to read in another way"
            raise UserError("data", key, problem, f"remove {key}, or name your own images in data.source")
        return KnownEffects()
    if source not in NAMED_DATASETS:
        valid = ["known-effects", *NAMED_DATASETS, "torchvision:NAME", "folder:PATH", "archive:PATH", "manifest:PATH"]
        raise UserError(
            "data",
            "source",
            f"unknown source {source!r}",
            did_you_mean(source, valid, f"choose among {', '.join(valid)}"),
        )
    return _find(source, NAMED_DATASETS[source], path, environ, download, options)


def _curated(file: Path, path: Path | None, environ: Mapping[str, str], download: bool) -> CuratedSource:
    """The source of a curated manifest: its images lie where they were curated, or at ``path``."""
    if not file.is_file():
        raise UserError("data", "source", f"{str(file)!r} is not a file", "name the manifest.csv of `curate`")
    origin = origin_of(file)
    source, recorded_path = origin.text, origin.path
    if path is not None and origin.text.partition(":")[0] in PATH_KINDS:
        source = f"{'folder' if path.is_dir() else 'archive'}:{path}"
    elif path is not None:
        recorded_path = path
    try:
        return CuratedSource(file, open_source(source, recorded_path, environ, download, origin.options))
    except UserError as error:
        remedy = "set data.path to where its images lie now"
        raise UserError(str(file), "", f"the images it lists are not there: {error.problem}", remedy) from error


def locate(source: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where a data set known by name lies on this machine, without opening, unpacking or downloading anything."""
    candidates = (_within(folder, NAMED_DATASETS[source]) for folder in [*_variable_folder(environ), user_cache()])
    return next((path for path in candidates if path is not None), None)


def _variable_folder(environ: Mapping[str, str]) -> list[Path]:
    return [Path(environ[VARIABLE]).expanduser()] if environ.get(VARIABLE) else []


def user_cache() -> Path:
    """The folder in which downloads, unpacked archives and scans are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("sota_bench") / "data"


def _find(
    name: str, dataset: NamedDataset, path: Path | None, environ: Mapping[str, str], download: bool,
    options: ReadingOptions | None,
) -> Source:  # fmt: skip
    tried = []
    if path is not None:
        location = _within(path.expanduser(), dataset)
        if location is None:
            raise UserError("data", "path", f"{str(path)!r} does not hold {name}", _layout_remedy(dataset))
        return _open(name, location, options)
    tried.append("data.path is not set")
    value = environ.get(VARIABLE, "")
    if value:
        folder = Path(value).expanduser()
        if not folder.exists():
            raise UserError(VARIABLE, "", f"{value!r} does not exist", "set it to a folder or an archive, or unset it")
        location = _within(folder, dataset)
        if location is not None:
            return _open(name, location, options)
        tried.append(f"${VARIABLE} = {value} does not hold it")
    else:
        tried.append(f"${VARIABLE} is not set")
    location = _within(user_cache(), dataset)
    if location is not None:
        return _open(name, location, options)
    tried.append(f"it is not in {user_cache()}")
    if dataset.archive is None:
        tried.append("it cannot be downloaded without an account")
    elif not download:
        tried.append("downloading is off")
    else:
        try:
            return _open(name, download_archive(dataset.archive, user_cache()), options)
        except OSError as error:
            tried.append(f"{dataset.archive.url} cannot be downloaded ({' '.join(str(error).split())})")
    raise UserError("data", "source", f"{name} was not found: {', '.join(tried)}", _layout_remedy(dataset))


def _layout_remedy(dataset: NamedDataset) -> str:
    own = "its own archives, or train/<class>/ and val/<class>/"
    names = f"{dataset.folders[0].rstrip('*')}.tgz or .tar" if dataset.archive else own
    return f'set data.path or {VARIABLE} to its folder or archive ({names}), or use source = "known-effects"'


def _within(location: Path, dataset: NamedDataset) -> Path | None:
    """The data set's folder or archive in a location that is it or holds it."""
    if location.is_file():
        return location if _is_archive(location) else None
    if not location.is_dir():
        return None
    if _is_dataset(location, dataset):
        return location
    # By name, backwards: imagenette2-320 before imagenette2-160, a folder before its archive.
    inside = sorted((entry for entry in location.iterdir() if _is_named(entry, dataset)), reverse=True)
    for entry in inside:
        if entry.is_dir() and any(_is_dataset(folder, dataset) for folder in (entry, *_folders(entry))):
            return entry
    return next((entry for entry in inside if entry.is_file() and _is_archive(entry)), None)


def _is_named(entry: Path, dataset: NamedDataset) -> bool:
    name = entry.name
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return any(fnmatch(name, pattern) for pattern in dataset.folders)


def _is_archive(path: Path) -> bool:
    return is_archive_name(path.name)


def _is_dataset(folder: Path, dataset: NamedDataset) -> bool:
    if not dataset.classes and is_imagenet(folder):
        return True
    train = folder / "train"
    if not train.is_dir():
        return False
    names = {entry.name for entry in _folders(train)}
    return dataset.classes <= names and len(names) == len(dataset.classes) if dataset.classes else bool(names)


def _folders(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []


def _open(name: str, path: Path, options: ReadingOptions | None = None) -> Source:
    cache = user_cache()
    if path.is_dir() and is_imagenet(path):
        return ImageNetTars(name, path, cache / "scans", options)
    if path.is_dir():
        inside = _only_archive(path)
        if inside is None:
            return FolderSource(name, path, cache / "scans", options)
        path = inside
    if path.name.lower().endswith(".parquet"):
        return FolderSource(name, path.parent, cache / "scans", options, [path.name])
    try:
        kind = archive_kind(path)
    except OSError as error:
        raise UserError(str(path), "", f"cannot be read: {error.strerror}", "make it readable") from None
    if kind == "tar":
        if not (is_archive_name(path.name) or tarfile.is_tarfile(path)):
            problem = "is not an archive that can be read"
            raise UserError(str(path), "", problem, f"use one of {', '.join((*ENDINGS, '.parquet'))}")
        return TarSource(name, path, cache / "scans", options)
    return UnpackedSource(name, unpack(path, cache / "unpacked"), cache / "scans", options, path)


def _only_archive(folder: Path) -> Path | None:
    """The archive that is all that a folder holds, as a download leaves it; None otherwise."""
    try:
        entries = [entry for entry in folder.iterdir() if not is_junk_name(entry.name, entry.is_dir())]
    except OSError:
        return None
    archives = [entry for entry in entries if entry.is_file() and is_archive_name(entry.name)]
    images = any(entry.is_dir() or suffix_of(entry.name) in IMAGE_SUFFIXES for entry in entries)
    return archives[0] if len(archives) == 1 and not images else None


def _numbered(pattern: str) -> list[str]:
    """The names of ``train-{000..012}.tar``."""
    match = re.fullmatch(r"(.*)\{([0-9]+)\.\.([0-9]+)\}(.*)", pattern)
    if match is None or int(match.group(3)) - int(match.group(2)) > _MOST_SHARDS:
        return []
    start, first, last, end = match.groups()
    return [f"{start}{number:0{len(first)}}{end}" for number in range(int(first), int(last) + 1)]
