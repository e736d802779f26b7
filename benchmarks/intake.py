"""Intake: how many photographs a minute are digested, checked to their end, and compared for near copies.

``python benchmarks/intake.py`` writes JPEG photographs of 500 x 375 pixels, scans them as the first ``plan`` of a data
set does, with nothing remembered, then once more as every later one, and groups near copies. ``--source archive:PATH``
scans that instead. Exit code 1 below 10,000 images a minute on the processors that it may use; ``taskset -c 0,1`` gives
it two. ``--quick`` takes 1,000 images, whose minute is mostly the start of processes, and has no target.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from sota_bench.data import files, find
from sota_bench.data.copies import group_copies
from sota_bench.data.scan import usable_cores

TARGET, IMAGES, QUICK = 10_000, 10_000, 1_000
SIZE = (500, 375)
Result = TypeVar("Result")


def photographs(root: Path, count: int) -> None:
    """Two classes of smooth pictures with the noise of a sensor, as photographs compress."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 6, (SIZE[1], SIZE[0], 3))
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        pixels = np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC)) + np.roll(noise, number, axis=(0, 1))
        path = root / ("train", "val")[number % 5 == 0] / ("cat", "dog")[number % 2] / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        out = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
        path.write_bytes(out.getvalue())


def timed(run: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds, and what came out."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} images")
    parser.add_argument("--source", help="a data source instead, such as archive:PATH")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        find.user_cache = lambda: Path(folder, "cache")
        source = given.source
        if source is None:
            photographs(Path(folder, "d"), QUICK if given.quick else given.images)
            source = f"folder:{folder}/d"
        grouping: list[float] = []

        def grouped(thumbnails: Sequence[bytes]) -> list[list[int]]:
            seconds, groups = timed(lambda: group_copies(thumbnails))
            grouping.append(seconds)
            return groups

        files.group_copies = grouped
        first, manifest = timed(lambda: find.open_source(source).scan())
        again, _ = timed(lambda: find.open_source(source).scan())
    count = len(manifest.items) + len(manifest.left_out)
    rate = 60 * count / first
    print(
        f"{count:,} images on {usable_cores()} processors: {rate:,.0f} a minute with nothing remembered ({first:.1f} s)"
    )
    print(
        f"a later scan takes {again:.2f} s; near copies alone {grouping[0]:.2f} s; {len(manifest.left_out):,} left out"
    )
    return 0 if given.quick or rate >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
