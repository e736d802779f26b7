"""Finds a data set by its source string, in the order that the documentation promises; downloads what is published.

Order for ``imagenette``, ``imagewoof`` and ``imagenet``: the path given in the grid; ``$SOTA_BENCH_DATA`` (the data
set's folder, a folder that holds it or its archive, or the archive); the user's cache; a download with a checked digest
(not for ImageNet, which is not published freely).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from sota_bench.data.download import Archive, download_archive
from sota_bench.data.names import IMAGENETTE, IMAGEWOOF
from sota_bench.data.source import FolderSource, KnownEffects, Source, TarSource
from sota_bench.data.unpack import unpack
from sota_bench.errors import UserError
from sota_bench.grid.nearest import did_you_mean

VARIABLE = "SOTA_BENCH_DATA"
ARCHIVES = (".tar", ".tgz", ".tar.gz", ".zip")
_FAST_AI = "https://s3.amazonaws.com/fast-ai-imageclas"


@dataclass(frozen=True)
class Known:
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
KNOWN: Mapping[str, Known] = {
    "imagenette": Known(
        ("imagenette2*", "imagenette"),
        frozenset(IMAGENETTE),
        Archive(
            f"{_FAST_AI}/imagenette2-320.tgz", 341_663_724,
            sha256="569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c",
        ),
    ),
    "imagewoof": Known(
        ("imagewoof2*", "imagewoof"),
        frozenset(IMAGEWOOF),
        Archive(
            f"{_FAST_AI}/imagewoof2-320.tgz", 328_387_740, md5_of_first_mebibyte="7a1fd92672a559a85de76e4810a20c21",
        ),
    ),
    "imagenet": Known(("imagenet", "imagenet-1k", "imagenet1k", "ILSVRC2012", "ILSVRC"), frozenset(), None),
}  # fmt: skip


def open_source(
    source: str, path: Path | None = None, environ: Mapping[str, str] = os.environ, download: bool = True
) -> Source:
    """Open a data set.

    Args:
        source: ``known-effects``, ``imagenette``, ``imagewoof``, ``imagenet``, ``folder:PATH`` or ``archive:PATH``.
        path: where a data set known by name lies, if the user says so.
        environ: where ``SOTA_BENCH_DATA`` is looked up.
        download: whether a published data set may be downloaded.

    Raises:
        UserError: an unknown source, or it is nowhere to be found.
    """
    kind, colon, rest = source.partition(":")
    if colon and kind in ("folder", "archive"):
        if not rest:
            raise UserError("data", "source", f"{source!r} names no path", f"write {kind}:PATH")
        target = Path(rest).expanduser()
        if kind == "folder" and not target.is_dir():
            raise UserError("data", "source", f"{rest!r} is not a folder", "name an existing folder")
        if kind == "archive" and not target.is_file():
            raise UserError("data", "source", f"{rest!r} is not a file", f"name a {', '.join(ARCHIVES)} file")
        return _open(target.name, target)
    if source == "known-effects":
        return KnownEffects()
    if source not in KNOWN:
        valid = ["known-effects", *KNOWN, "folder:PATH", "archive:PATH"]
        raise UserError(
            "data",
            "source",
            f"unknown source {source!r}",
            did_you_mean(source, valid, f"choose among {', '.join(valid)}"),
        )
    return _find(source, KNOWN[source], path, environ, download)


def locate(source: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where a data set known by name lies on this machine, without opening, unpacking or downloading anything."""
    places = [Path(environ[VARIABLE]).expanduser()] if environ.get(VARIABLE) else []
    found = (_within(place, KNOWN[source]) for place in [*places, user_cache()])
    return next((place for place in found if place is not None), None)


def user_cache() -> Path:
    """The folder in which downloads, unpacked archives and scans are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("sota_bench") / "data"


def _find(name: str, known: Known, path: Path | None, environ: Mapping[str, str], download: bool) -> Source:
    tried = []
    if path is not None:
        found = _within(path.expanduser(), known)
        if found is None:
            raise UserError("data", "path", f"{str(path)!r} does not hold {name}", _layout_remedy(known))
        return _open(name, found)
    tried.append("data.path is not set")
    value = environ.get(VARIABLE, "")
    if value:
        place = Path(value).expanduser()
        if not place.exists():
            raise UserError(VARIABLE, "", f"{value!r} does not exist", "set it to a folder or an archive, or unset it")
        found = _within(place, known)
        if found is not None:
            return _open(name, found)
        tried.append(f"${VARIABLE} = {value} does not hold it")
    else:
        tried.append(f"${VARIABLE} is not set")
    found = _within(user_cache(), known)
    if found is not None:
        return _open(name, found)
    tried.append(f"it is not in {user_cache()}")
    if known.archive is None:
        tried.append("it cannot be downloaded without an account")
    elif not download:
        tried.append("downloading is off")
    else:
        try:
            return _open(name, download_archive(known.archive, user_cache()))
        except OSError as error:
            tried.append(f"{known.archive.url} cannot be downloaded ({' '.join(str(error).split())})")
    raise UserError("data", "source", f"{name} was not found: {', '.join(tried)}", _layout_remedy(known))


def _layout_remedy(known: Known) -> str:
    names = f"{known.folders[0].rstrip('*')}.tgz or .tar" if known.archive else "train/<class>/ and val/<class>/"
    return f'set data.path or {VARIABLE} to its folder or archive ({names}), or use source = "known-effects"'


def _within(place: Path, known: Known) -> Path | None:
    """The data set's folder or archive in a place that is it or holds it."""
    if place.is_file():
        return place if _is_archive(place) else None
    if not place.is_dir():
        return None
    if _is_dataset(place, known):
        return place
    # By name, backwards: imagenette2-320 before imagenette2-160, a folder before its archive.
    inside = sorted((entry for entry in place.iterdir() if _is_named(entry, known)), reverse=True)
    for entry in inside:
        if entry.is_dir() and (_is_dataset(entry, known) or any(_is_dataset(sub, known) for sub in _folders(entry))):
            return entry
    return next((entry for entry in inside if entry.is_file() and _is_archive(entry)), None)


def _is_named(entry: Path, known: Known) -> bool:
    name = entry.name
    for ending in ARCHIVES:
        name = name.removesuffix(ending)
    return any(fnmatch(name, pattern) for pattern in known.folders)


def _is_archive(path: Path) -> bool:
    return path.name.endswith(ARCHIVES)


def _is_dataset(folder: Path, known: Known) -> bool:
    train = folder / "train"
    if not train.is_dir():
        return False
    names = {entry.name for entry in _folders(train)}
    return known.classes <= names and len(names) == len(known.classes) if known.classes else bool(names)


def _folders(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []


def _open(name: str, path: Path) -> Source:
    cache = user_cache()
    if path.is_dir():
        return FolderSource(name, path, cache / "scans")
    if path.name.endswith(".tar"):
        return TarSource(name, path, cache / "scans")
    if not _is_archive(path):
        raise UserError(str(path), "", "is not an archive that can be read", f"use one of {', '.join(ARCHIVES)}")
    return FolderSource(name, unpack(path, cache / "unpacked"), cache / "scans")
