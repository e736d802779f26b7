"""Coverage-guided fuzzing of what reads a grid: any input must give a value or one clear line.

    pip install 'sota-bench[fuzz]'
    python fuzz/fuzz_grid.py grid -max_total_time=600         # also: schedule, only

An uncaught exception or an input that takes longer than libFuzzer's ``-timeout`` ends the run and is saved.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import atheris

with atheris.instrument_imports(include=["sota_bench", "tomllib"]):
    import tomllib  # noqa: F401  (instrumented: the parser decides which inputs are new)

    from sota_bench import registry
    from sota_bench.errors import UserError
    from sota_bench.grid import load, parse_only, parse_schedule
    from sota_bench.grid.schedule import format_schedule
    from sota_bench.grid.template import template

FOLDER = Path(tempfile.mkdtemp(prefix="sota-bench-fuzz-"))
KNOWN = {"lr": ["0.1", "0.2"], "resize": ["64x3", "32x1 64x2"], "seed": ["0", "1"]}


def one_line(error: UserError) -> None:
    """A mistake is one printable line of a length that a person reads."""
    line = str(error)
    if not line or not line.isprintable() or len(line) > 2000:
        raise AssertionError(f"not one clear line: {line!r}")


def no_code(path: Path) -> NoReturn:
    """Local technique files are code: an input of the fuzzer must never run some Python file of this machine."""
    raise UserError(str(path), "", "the fuzzer runs no code", "")


registry.load_file = no_code


def grid(data: bytes) -> None:
    """A whole grid file."""
    path = FOLDER / "grid.toml"
    path.write_bytes(data)
    try:
        load(path).trials()
    except UserError as error:
        one_line(error)


def schedule(data: bytes) -> None:
    """A resolution schedule; what is read is written in a form that is read as the same."""
    try:
        phases = parse_schedule(data.decode("utf-8", "replace"))
    except ValueError:
        return
    if parse_schedule(format_schedule(phases)) != phases:
        raise AssertionError("a schedule changes when it is written and read")


def only(data: bytes) -> None:
    """A selection of trials."""
    try:
        parse_only(data.decode("utf-8", "replace"), KNOWN)({"lr": "0.1", "resize": "64x3", "seed": "0"})
    except UserError as error:
        one_line(error)


TARGETS: dict[str, tuple[Callable[[bytes], None], tuple[str, ...]]] = {
    "grid": (grid, (template("seed"), '[factors]\nlr = [0.1, 0.2]\n[grid]\nseeds = [0]\ndesign = "leave-one-out"\n')),
    "schedule": (schedule, ("64x3 128x2", "32x1 -> 64x2", "8X1,9×2")),
    "only": (only, ("lr=0.1|0.2,seed!=0", "resize=32x1 64x2")),
}


def main() -> None:
    """Runs one target; the other arguments are libFuzzer's."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"name what to fuzz: {', '.join(TARGETS)}")
    target, seeds = TARGETS[sys.argv.pop(1)]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_text(seed, encoding="utf-8")
    atheris.Setup([*sys.argv, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
