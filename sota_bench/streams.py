"""Standard output and error of a command: what happens to them never ends its work."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
"""Errors of a stream whose reader went away (``| head``), of a lost terminal, and of a closed descriptor."""


def use_utf8() -> None:
    """Start this process again in Python's UTF-8 mode where the locale has another encoding, such as ``LC_ALL=C``.

    Names of grids and files are UTF-8; the encoding of file names cannot be changed in a running process.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"})


def protect() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` by streams that drop what nobody reads, and escape what their encoding
    does not have.

    A full disk is still an error.
    """
    for descriptor in (0, 1, 2):  # closed by the caller (``>&-``): else the next file that is opened gets its number
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _protected(1, sys.stdout, os.isatty(1))
    sys.stderr = _protected(2, sys.stderr, True)


def _protected(descriptor: int, before: Any, by_line: bool) -> io.TextIOWrapper:
    raw = _DroppingFile(descriptor, "w", closefd=False)
    encoding = before.encoding if before is not None else "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=by_line)


class _DroppingFile(io.FileIO):
    """A descriptor that becomes the null device when its reader is gone."""

    def write(self, data: Any) -> int:
        """Write, or drop."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _GONE:
                raise
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        return len(data)
