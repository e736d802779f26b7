"""What the fuzzers share: seeds, libFuzzer's arguments, and what counts as one clear line."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import atheris

FOLDER = Path(tempfile.mkdtemp(prefix="sota-bench-fuzz-"))
"""Scratch space; ``TMPDIR`` says where (a folder in memory spares the disk)."""

Target = tuple[Callable[[bytes], None], Sequence[bytes]]
"""What is called with each input, and inputs to start from."""


def one_line(error: Exception) -> None:
    """A mistake is one printable line of a length that a person reads."""
    line = str(error)
    if not line or not line.isprintable() or len(line) > 2000:
        raise AssertionError(f"not one clear line: {line!r}")


def run(targets: Mapping[str, Target]) -> None:
    """Runs the target that the command line names first; the other arguments are libFuzzer's."""
    if len(sys.argv) < 2 or sys.argv[1] not in targets:
        sys.exit(f"name what to fuzz: {', '.join(targets)}")
    target, seeds = targets[sys.argv.pop(1)]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], target)
    atheris.Fuzz()
