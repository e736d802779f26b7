"""What all runners share: their options, the folder of images, the steady rate, and the file of a result."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP_SCALE = (0.35, 1.0)
WEIGHT_DECAY = 0.05
SKIPPED, DRAINED = 3, 4
"""Steps left out of the steady rate: the first, while loaders start, and the last, whose batches are loaded already, so
that the loader processes no longer compete for the cores."""


def options(description: str) -> argparse.ArgumentParser:
    """The options of every runner."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/CLASS/* and val/CLASS/*")
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def cores() -> int:
    """Processors that this process may use, and the number of loader processes, as the peers' documentation advises."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def steady(ends: Sequence[float], batch: int) -> float:
    """Training images per second of the steps in the middle of the first epoch.

    Args:
        ends: seconds, when each step of the first epoch ended, oldest first.
        batch: images of a step.
    """
    last = len(ends) - 1 - DRAINED
    if last <= SKIPPED - 1:
        raise ValueError(f"{len(ends)} steps are too few; at least {SKIPPED + DRAINED + 1} are needed")
    return batch * (last - (SKIPPED - 1)) / (ends[last] - ends[SKIPPED - 1])


def write(file: Path, ends: Sequence[float], batch: int, accuracy: float, **more: Any) -> None:
    """Writes the result of one run; ``accuracy`` is in percent. The rate of too few steps is null."""
    rate = steady(ends, batch) if len(ends) > SKIPPED + DRAINED else None
    file.write_text(json.dumps({"images_per_s": rate, "accuracy": accuracy, **more}))


def export(source: Path, folder: Path, train: int, val: int) -> Path:
    """A subset of Imagenette as an image folder, the same share of each class; made once, files as they are.

    Args:
        source: the folder that holds an archive of Imagenette, with ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``.
        folder: where subsets are kept.
        train, val: images of each split.

    Returns:
        The subset's folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"imagenette-{train}-{val}"
    if target.is_dir():
        return target
    working = target.with_name(target.name + ".part")
    shutil.rmtree(working, ignore_errors=True)
    archive = next((path for path in sorted(source.glob("*.t*")) if path.name.startswith("imagenette")), source)
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar if member.isfile()}
        for name in chosen(sorted(members), {"train": train, "val": val}):
            split, label, file = Path(name).parts[-3:]
            (working / split / label).mkdir(parents=True, exist_ok=True)
            stream = tar.extractfile(members[name])
            assert stream is not None
            (working / split / label / file).write_bytes(stream.read())
    working.rename(target)
    return target


def chosen(names: Sequence[str], counts: dict[str, int]) -> list[str]:
    """``counts[split]`` names of each split, the same number of each class (one more of the first classes)."""
    names_chosen: list[str] = []
    for split, count in counts.items():
        classes: dict[str, list[str]] = {}
        for name in names:
            parts = Path(name).parts
            if len(parts) >= 3 and parts[-3] == split:
                classes.setdefault(parts[-2], []).append(name)
        for index, label in enumerate(sorted(classes)):
            share = count // len(classes) + (index < count % len(classes))
            names_chosen += sorted(random.Random(0).sample(classes[label], share))
    return names_chosen
