"""Image files to predict: named one by one, in folders, in archives, or as a list on standard input."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from sota_bench.errors import UserError

ARCHIVES = (".tar", ".tgz", ".tar.gz", ".zip")


@dataclass(frozen=True)
class ImageFile:
    """The bytes of one file.

    Attributes:
        path: as people name it; ``archive.tar/member.jpg`` inside an archive.
        content: the whole file, or None where it cannot be read.
        error: why it cannot be read, "" where it can.
    """

    path: str
    content: bytes | None
    error: str = ""


def image_files(paths: Iterable[str], standard_input: TextIO) -> Iterator[ImageFile]:
    """Every file that the paths name, one at a time; files in folders and archives in the order of their names.

    Args:
        paths: files, folders, archives, or ``-`` for a list of paths on standard input, one a line.
        standard_input: read for ``-``.

    Raises:
        UserError: an archive that cannot be read at all.
    """
    for path in paths:
        if path == "-":
            yield from image_files((line.rstrip("\r\n") for line in standard_input if line.strip()), standard_input)
        elif Path(path).is_dir():
            files = (file for file in sorted(Path(path).rglob("*")) if file.is_file() and _visible(file, Path(path)))
            yield from (_from_disk(file) for file in files)
        elif path.lower().endswith(ARCHIVES) and Path(path).is_file():
            yield from _from_archive(Path(path))
        else:
            yield _from_disk(Path(path))


def _visible(file: Path, folder: Path) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in file.relative_to(folder).parts)


def _from_disk(file: Path) -> ImageFile:
    try:
        return ImageFile(str(file), file.read_bytes())
    except OSError as error:
        return ImageFile(str(file), None, error.strerror or str(error))


def _from_archive(archive: Path) -> Iterator[ImageFile]:
    try:
        if archive.suffix.lower() == ".zip":
            with zipfile.ZipFile(archive) as opened:
                for entry in sorted(opened.infolist(), key=lambda entry: entry.filename):
                    if not entry.is_dir() and _visible(Path(entry.filename), Path()):
                        yield ImageFile(f"{archive}/{entry.filename}", opened.read(entry))
            return
        with tarfile.open(archive) as opened_tar:
            for member in opened_tar:
                stream = opened_tar.extractfile(member) if member.isfile() else None
                if stream is not None and _visible(Path(member.name), Path()):
                    yield ImageFile(f"{archive}/{member.name}", stream.read())
    except (OSError, tarfile.TarError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        problem = f"the archive cannot be read ({' '.join(str(error).split()) or type(error).__name__})"
        raise UserError(str(archive), "", problem, "unpack it, and name the folder") from error
