"""Coverage-guided fuzzing of the readers of a grid: any input must give a value or one clear line.

python fuzz/fuzz_grid.py grid -max_total_time=600         # also: schedule, only
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import atheris
from fuzzing import FOLDER, Target, one_line, run

with atheris.instrument_imports(include=["sota_bench", "tomllib"]):
    import tomllib  # noqa: F401  (instrumented: the parser decides which inputs are new)

    from sota_bench import registry
    from sota_bench.errors import UserError
    from sota_bench.grid import load, parse_only, parse_schedule
    from sota_bench.grid.resize_schedule import format_schedule
    from sota_bench.grid.template import template

KNOWN = {"lr": ["0.1", "0.2"], "resize": ["64x3", "32x1 64x2"], "seed": ["0", "1"]}


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


SMALL = b'[factors]\nlr = [0.1, 0.2]\n[grid]\nseeds = [0]\ndesign = "leave-one-out"\n'

TARGETS: dict[str, Target] = {
    "grid": (grid, (template("seed").encode(), SMALL)),
    "schedule": (schedule, (b"64x3 128x2", b"32x1 -> 64x2", "8X1,9×2".encode())),
    "only": (only, (b"lr=0.1|0.2,seed!=0", b"resize=32x1 64x2")),
}

if __name__ == "__main__":
    run(TARGETS)
