"""The one exception for everything that a user can cause and fix, and how to tell what an error is due to."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_CHARACTERS = 600
"""Of a problem; a longer one is no line that a person reads."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_NETWORK_PACKAGES = ("huggingface_hub", "httpx", "httpcore", "requests", "urllib3", "http")
"""Where the errors of downloads come from; not all of them are an ``OSError``."""


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

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str, str]]:
        return type(self), (self.place, self.key, self.problem, self.remedy)  # as another process raised it

    def __str__(self) -> str:
        parts = [part for part in (self.place, self.key) if part]
        line = ": ".join([*parts, _short(self.problem)]) + (f"; {self.remedy}" if self.remedy else "")
        return printable(" ".join(line.split()))


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


def _short(problem: str) -> str:
    """A problem that quotes a whole file, as some libraries' own messages do, without its middle."""
    return problem if len(problem) <= MOST_CHARACTERS else f"{problem[:400]} ... {problem[-100:]}"


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the host or on a GPU; torch says so in errors of several types."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    phrases = ("can't allocate memory", "out of memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)


def disk_is_full(error: BaseException) -> bool:
    """Whether a disk had no room: for this, or for what it was raised for; safetensors says so in its text alone."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    if type(error).__name__ == "SafetensorError" and any(f"(os error {number})" in str(error) for number in _NO_ROOM):
        return True
    earlier = error.__cause__ or error.__context__
    return earlier is not None and disk_is_full(earlier)


def is_environmental(error: BaseException) -> bool:
    """Whether the surroundings are to blame (network, permissions, a disk, a missing file), so that the same work may
    succeed later."""
    if isinstance(error, OSError) or type(error).__module__.split(".")[0] in _NETWORK_PACKAGES:
        return True
    earlier = error.__cause__ or (error.__context__ if isinstance(error, UserError) else None)
    return earlier is not None and is_environmental(earlier)


def printable(line: str) -> str:
    """Control characters and lone surrogates as escapes, so that no file name or value can write to a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in line)
