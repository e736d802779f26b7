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
    """Runs the target that the command line names first; the other arguments are libFuzzer's. A file among them is an
    input that is run once."""
    if len(sys.argv) < 2 or sys.argv[1] not in targets:
        sys.exit(f"name what to fuzz: {', '.join(targets)}")
    target, seeds = targets[sys.argv.pop(1)]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    # Beside a folder of inputs libFuzzer refuses single files.
    folders = [] if any(Path(argument).is_file() for argument in sys.argv[1:]) else [str(corpus)]
    atheris.Setup([*sys.argv, *folders], target)
    atheris.Fuzz()
