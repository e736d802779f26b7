"""A folder of pictures with everything wrong that `curate` looks for, and one look at it that the tests share."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sota_bench.cli import main

CLASSES = ("gradient", "rings", "stripes")


def draw(label: int, rng: np.random.Generator, side: int = 64) -> np.ndarray:
    """A picture of one class: its colours, phase and speed are drawn, its pattern is the class."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    turn, speed, phase = rng.uniform(-0.3, 0.3), rng.uniform(4, 6), rng.uniform(0, 6)
    patterns = (
        rows * np.cos(turn) + columns * np.sin(turn),
        0.5 + 0.5 * np.cos(speed * 6 * np.hypot(rows - 0.5 + turn / 3, columns - 0.5) + phase),
        0.5 + 0.5 * np.cos(speed * 6 * (columns + turn * rows) + phase),
    )
    first, second = rng.uniform(0, 80, 3), rng.uniform(150, 255, 3)
    if rng.random() < 0.5:
        first, second = second, first
    picture = first + (second - first) * patterns[label][:, :, None] + rng.normal(0, 8, (side, side, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Flawed:
    """A folder and what is wrong in it, by path."""

    folder: Path
    wrong: dict[str, str]
    copies: dict[str, str]
    exact: dict[str, str]
    tiny: str
    unreadable: str


def write_flawed(folder: Path, train: int = 60, judged: int = 16) -> Flawed:
    """Three classes with four wrong labels, two near copies across splits, an exact one, one tiny and one broken."""
    rng = np.random.default_rng(3)
    for split, count in (("train", train), ("val", judged)):
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw(label, rng)).save(folder / split / name / f"{number:03d}.png")
    wrong = {}
    for number in range(4):
        place = f"train/rings/wrong{number}.png"
        Image.fromarray(draw(2, rng)).save(folder / place)
        wrong[place] = "stripes"
    copies = {}
    for number, quality in enumerate((60, 85)):
        original = f"train/stripes/{number:03d}.png"
        out = io.BytesIO()
        Image.open(folder / original).save(out, "JPEG", quality=quality)
        copies[place := f"val/stripes/copy{number}.jpg"] = original
        (folder / place).write_bytes(out.getvalue())
    exact = {"val/gradient/same.png": "train/gradient/005.png"}
    for place, original in exact.items():
        (folder / place).write_bytes((folder / original).read_bytes())
    tiny, unreadable = "train/gradient/tiny.png", "train/gradient/broken.png"
    Image.fromarray(draw(0, rng, side=8)).save(folder / tiny)
    (folder / unreadable).write_bytes(b"no picture")
    return Flawed(folder, wrong, copies, exact, tiny, unreadable)


@pytest.fixture(scope="session")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> Flawed:
    return write_flawed(tmp_path_factory.mktemp("flawed") / "pictures")


@pytest.fixture(scope="session")
def curated(flawed: Flawed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes for the folder, with a probe that it trains."""
    out = tmp_path_factory.mktemp("curated") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sota_bench.data.find.user_cache", lambda: out.parent / "user-cache")
        patch.setattr("sota_bench.curate.quick_probe.SEEN", 6000)
        assert main(["curate", str(flawed.folder), "--out", str(out), "--weights", "none"]) == 0
    return out
