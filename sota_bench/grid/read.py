"""From a file and ``--set`` options to plain tables; every way in which that can fail is one clear line."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError

MAX_BYTES = 2**20


def read_text(path: Path) -> str:
    """The text of a grid file.

    Raises:
        UserError: there is no such file, or it is a folder, too large, unreadable or not UTF-8.
    """
    file = str(path)
    try:
        if path.is_dir():
            raise UserError(file, "", "this is a folder", "name a grid file, such as grid.toml")
        if not path.exists():
            raise UserError(file, "", "there is no such file", "`python -m sota_bench init` writes one")
        if not path.is_file():
            raise UserError(file, "", "this is not a regular file", "name a grid file, such as grid.toml")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(file, "", "the file is larger than 1 MB", "a grid is a short text; name the right file")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(file, "", f"byte {error.start} is not UTF-8", "save the file as UTF-8 text") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(file, "", f"the file cannot be read ({reason})", "check its name and permissions") from error


def parse(text: str, file: str) -> dict[str, Any]:
    """TOML text as nested dictionaries.

    Raises:
        UserError: it is not TOML, with the line number.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise UserError(file, "", "its lists or tables are nested too deeply", "write it flat") from error
    except ValueError as error:  # TOMLDecodeError, and integers with more digits than Python reads
        raise UserError(file, "", f"not TOML: {error}", "fix that line; text needs quotes") from error


def apply_overrides(tables: dict[str, Any], overrides: Sequence[str]) -> set[tuple[str, str]]:
    """Writes each ``table.key=value`` into ``tables`` and says which keys were written.

    Values are TOML; a bare word that is no TOML is text (``--set recipe.backbone=resnet18``).

    Raises:
        UserError: an option is not ``table.key=value``.
    """
    written: set[tuple[str, str]] = set()
    for override in overrides:
        name, equals, value = override.partition("=")
        table, dot, key = (part.strip() for part in name.partition("."))
        if not (equals and dot and table and key) or "." in key:
            raise UserError("--set", "", f"{override[:80]!r} is not table.key=value", "write --set recipe.lr=0.001")
        target = tables.setdefault(table, {})
        if not isinstance(target, dict):
            raise UserError("--set", name.strip(), f"{table} is not a table in the grid", "write --set recipe.lr=0.001")
        target[key] = _value(value.strip())
        written.add((table, key))
    return written


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text
