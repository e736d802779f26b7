"""Writing the files of a report's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.files import write_text


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts into a folder, each file replaced at once or not at all.

    Args:
        folder: made where it does not exist.
        files: name -> content.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_text(folder / name, text)
    except OSError as error:
        raise UserError(str(folder), "", f"cannot be written: {error}", "name another folder with --out") from error
