"""How batches reach a GPU, on a CPU: the split that it keeps and the batches that it is sent are the same pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sota_bench.data.build import build_cache
from sota_bench.data.files import FolderSource
from sota_bench.data.subset import choose
from sota_bench.stages.context import ImageChoice, StageContext
from sota_bench.stages.params import ImageSelection
from sota_bench.training import images as module
from sota_bench.training.crop import crop_resize_products, random_resized_boxes
from sota_bench.training.decoded import decoded_subset
from sota_bench.training.images import Images


class Pictures:
    """A cache of pictures in memory."""

    in_memory = True

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures = pictures
        self.heights, self.widths = (np.array([picture.shape[axis] for picture in pictures]) for axis in (0, 1))

    def image(self, row: int) -> np.ndarray:
        return self.pictures[row]


SHAPES = ((20, 30), (30, 20), (24, 24), (20, 40), (40, 20))


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Images:
    """Seven of ten images of several shapes, in another order."""
    monkeypatch.setattr(module, "_free_bytes", lambda device: 3 * 7 * 40 * 40 * 3)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*SHAPES[i % 5], 3), dtype=np.uint8) for i in range(10)]
    rows = np.array([9, 0, 3, 5, 1, 8, 2])
    return Images(Pictures(pictures), rows, np.arange(7), torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize("together", [2, 7, 256])
def test_what_a_gpu_keeps_is_what_it_would_be_sent(
    images: Images, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(module, "LOADED_AT_ONCE", together)
    positions = [np.array([6, 0, 0]), np.array([3]), np.arange(7)]
    sent = [images._on_device(some) for some in positions]
    images._resident = images._loaded()
    assert images._resident is not None
    assert images._resident.shape == (7, 3, 40, 40)
    for some, batch in zip(positions, sent, strict=True):
        assert torch.equal(images._on_device(some), batch)
        for i, row in enumerate(images.rows[some]):
            picture = torch.from_numpy(images.cache.image(int(row)))
            height, width, _ = picture.shape
            assert torch.equal(batch[i, :, :height, :width], picture.permute(2, 0, 1))
            assert not batch[i, :, height:].any()
            assert not batch[i, :, :, width:].any()


def test_a_split_that_takes_more_than_a_third_of_the_memory_is_sent(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_free_bytes", lambda device: 3 * 7 * 40 * 40 * 3 - 1)
    assert images._loaded() is None


def test_crops_of_padded_batches_are_those_of_the_images_alone(images: Images) -> None:
    positions, rng = np.array([4, 2, 6, 0]), np.random.default_rng(1)
    boxes = random_resized_boxes(images.heights[positions], images.widths[positions], 0.35, rng)
    flip = np.array([True, False, False, True])
    images._resident = images._loaded()
    together = crop_resize_products(
        images._on_device(positions), torch.from_numpy(boxes).float(), torch.from_numpy(flip), 16
    )
    alone = images.batch(positions, boxes, flip, 16)  # one by one, with torch's own kernel
    assert (together - alone).abs().max() < 1.01  # it rounds to whole grey levels after each axis


@pytest.mark.gpu
@pytest.mark.parametrize("kept", [True, False])
def test_a_gpu_makes_the_batches_of_a_cpu(images: Images, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    if not kept:
        monkeypatch.setattr(module, "_free_bytes", lambda device: 0)
    there = Images(images.cache, images.rows, np.arange(7), torch.device("cuda"))
    assert (there._resident is not None) == kept
    positions = np.arange(7)
    boxes = random_resized_boxes(images.heights, images.widths, 0.35, np.random.default_rng(1))
    flip = positions % 2 == 0
    theirs = there.batch(positions, boxes, flip, 16).cpu()
    assert (theirs - images.batch(positions, boxes, flip, 16)).abs().max() < 1.01


def test_pixels_that_were_made_again_at_the_same_place_are_opened_anew(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number, label in enumerate("aabb"):
            target = tmp_path / "d" / split / label / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 10, 20 * (split == "val"))).save(target)
    source, folder = FolderSource("d", tmp_path / "d"), tmp_path / "prepare"
    manifest = source.scan()
    build_cache(folder / "cache", source, manifest.items, 8, 1)
    manifest.save(tmp_path / "manifest.csv")
    shutil.copytree(folder, tmp_path / "sound")
    pixels = folder / "cache" / "pixels.u8"
    pixels.write_bytes(bytes(pixels.stat().st_size))

    def first_pixel() -> list[int]:
        context = StageContext(ImageChoice(), tmp_path / "manifest.csv")
        return decoded_subset(folder, context, ImageSelection("train", digest, 8)).cache.image(0)[0, 0].tolist()

    digest = choose(manifest).split_digest("train")
    assert first_pixel() == [0, 0, 0]
    folder.rename(tmp_path / "damaged")
    (tmp_path / "sound").rename(folder)
    assert first_pixel() != [0, 0, 0]
