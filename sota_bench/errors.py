"""The one exception for everything that a user can cause and mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Bad input: printed as one line on standard error, exit code 2, no traceback.

    Args:
        place: where the mistake is, as the user knows it: a file name, an option, an environment variable.
        key: the key inside that place, dotted (``factors.mixup``), or "" where there is none.
        problem: what is wrong, with the value that was given.
        remedy: what to do about it.
    """

    def __init__(self, place: str, key: str, problem: str, remedy: str) -> None:
        self.place, self.key, self.problem, self.remedy = place, key, problem, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [part for part in (self.place, self.key) if part]
        line = ": ".join([*parts, self.problem]) + (f"; {self.remedy}" if self.remedy else "")
        return _printable(" ".join(line.split()))


@contextmanager
def in_file(file: Path, table: str) -> Iterator[None]:
    """Names the file as the place of mistakes that name only one of its tables, as code that knows no file does."""
    try:
        yield
    except UserError as error:
        if error.place != table:
            raise
        key = ".".join(part for part in (table, error.key) if part)
        raise UserError(str(file), key, error.problem, error.remedy) from error


def _printable(line: str) -> str:
    """Control characters and lone surrogates as escapes, so that no file name or value can write to a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in line)
