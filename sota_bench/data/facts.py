"""Small tables of facts about files, kept in the user's cache: losing one costs time, never a result."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sota_bench.files import replacing


def load(file: Path, key: str, columns: Sequence[str]) -> list[list[Any]] | None:
    """Read a table, or None where there is none for this key, or it is damaged (its checksums do not fit).

    Args:
        file: an .npz that ``save`` wrote.
        key: what the table is about; another key is another table.
        columns: their names.

    Returns:
        Each column as a list, all of one length.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            if stored["key"].item() != key:
                return None
            values = [stored[name].tolist() for name in columns]
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None
    return values if len({len(column) for column in values}) == 1 else None


def save(file: Path, key: str, columns: Mapping[str, Sequence[Any]]) -> bool:
    """Write a table whole or not at all, and say whether; a disk that refuses it costs the next run its speed alone."""
    arrays: dict[str, Any] = {"key": np.array(key)} | {name: np.array(values) for name, values in columns.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part, part.open("wb") as out:
            np.savez(out, **arrays)
    except OSError:
        return False
    return True
