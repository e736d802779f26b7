"""Image files to predict: named one by one, in folders, in archives, or as a list on standard input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from sota_bench.data.archives import archive_entries, archive_error, is_archive_name
from sota_bench.data.junk import is_junk
from sota_bench.data.members import Skipped
from sota_bench.errors import UserError


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
    """Every file that the paths name, one at a time, without hidden and system files.

    Files in folders come in the order of their names, those in archives as they lie in there.

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
            files = (file for file in sorted(Path(path).rglob("*")) if file.is_file())
            yield from (_from_disk(file) for file in files if not is_junk(file.relative_to(path).as_posix()))
        elif is_archive_name(path) and Path(path).is_file():
            yield from _from_archive(Path(path))
        else:
            yield _from_disk(Path(path))


def _from_disk(file: Path) -> ImageFile:
    try:
        return ImageFile(str(file), file.read_bytes())
    except OSError as error:
        return ImageFile(str(file), None, error.strerror or str(error))


def _from_archive(archive: Path) -> Iterator[ImageFile]:
    skipped = Skipped()
    try:
        with closing(archive_entries(archive, skipped)) as entries:
            for entry in entries:
                name = f"{archive}/{entry.name}"
                if entry.content is None:
                    yield ImageFile(name, None, f"a link to {entry.target}, which is read under that name")
                else:
                    yield ImageFile(name, entry.content.read())
    except UserError:
        raise
    except Exception as error:  # what reads archives may raise anything on damaged input
        raise archive_error(archive, error) from None
    yield from (ImageFile(f"{archive}/{name}", None, reason) for name, reason in skipped.left_out)
