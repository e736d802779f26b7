"""Crops and resizes: equal to torchvision's on the same boxes, antialiased, boxes drawn as torchvision draws them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from sota_bench.randomness import generator
from sota_bench.training.crop import (
    central_boxes,
    crop_resize_each,
    crop_resize_products,
    filter_matrix,
    random_resized_boxes,
)

SIDES = (70, 93)


def pictures(count: int = 5, sides: tuple[int, int] = SIDES) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*sides, 3), dtype=np.uint8) for _ in range(count)]


def planes(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)


def stacked_planes() -> torch.Tensor:
    return torch.stack([planes(picture) for picture in pictures()])


BOXES = np.array([[0, 0, 70, 93], [10, 20, 50, 41], [30, 2, 32, 32], [5, 5, 9, 80], [60, 83, 10, 10]])
FLIP = np.array([False, True, False, True, True])


@pytest.mark.parametrize("size", [8, 32, 64, 100])
def test_one_by_one_equals_torchvision_to_the_last_bit(size: int) -> None:
    ours = crop_resize_each(pictures(), BOXES, FLIP, size)
    for picture, box, flip, image in zip(pictures(), BOXES.tolist(), FLIP, ours, strict=True):
        theirs = tv.resized_crop(planes(picture), *box, [size, size], antialias=True)
        assert torch.equal(image, theirs.flip(-1) if flip else theirs)


@pytest.mark.parametrize("size", [8, 32, 64, 100])
def test_the_batched_products_equal_torchvision_in_float(size: int) -> None:
    """Both are float32 sums of the same weights; torchvision's float path does not round either."""
    stacked = stacked_planes()
    ours = crop_resize_products(stacked, torch.from_numpy(BOXES).float(), torch.from_numpy(FLIP), size)
    assert ours.shape == (5, 3, size, size)
    for picture, box, flip, image in zip(pictures(), BOXES.tolist(), FLIP, ours, strict=True):
        theirs = tv.resized_crop(planes(picture).float(), *box, [size, size], antialias=True)
        torch.testing.assert_close(image, theirs.flip(-1) if flip else theirs, rtol=0, atol=2e-3)


@pytest.mark.parametrize("size", [16, 64])
def test_both_ways_agree_within_the_rounding(size: int) -> None:
    each = crop_resize_each(pictures(), BOXES, FLIP, size).float()
    stacked = stacked_planes()
    other = crop_resize_products(stacked, torch.from_numpy(BOXES).float(), torch.from_numpy(FLIP), size)
    assert float((each - other).abs().max()) <= 1.0
    assert float((each - other).abs().mean()) < 0.35


def test_padding_does_not_reach_into_the_products() -> None:
    """Images of several sizes lie in one padded batch: what is around them has no weight."""
    small, large = pictures(1, (20, 30))[0], pictures(1)[0]
    padded = torch.full((2, 3, 70, 93), 255, dtype=torch.uint8)
    padded[0, :, :20, :30] = planes(small)
    padded[1] = planes(large)
    boxes = torch.tensor([[0, 0, 20, 30], [0, 0, 70, 93]]).float()
    crops = crop_resize_products(padded, boxes, torch.zeros(2, dtype=torch.bool), 16)
    for image, picture in zip(crops, (small, large), strict=True):
        theirs = tv.resize(planes(picture).float(), [16, 16], antialias=True)
        torch.testing.assert_close(image, theirs, rtol=0, atol=2e-3)


def test_shrinking_is_antialiased() -> None:
    """The trap: stripes finer than the new pixels become noise without a filter, and grey with one."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    box = np.array([[0, 0, 64, 64]])
    flip = np.array([False])
    filtered = crop_resize_each([stripes], box, flip, 24).float()
    stacked = planes(stripes)[None]
    products = crop_resize_products(stacked, torch.from_numpy(box).float(), torch.from_numpy(flip), 24)
    aliased = torch.nn.functional.interpolate(planes(stripes)[None].float(), (24, 24), mode="bilinear")
    assert float(aliased.std()) > 40
    inner = slice(2, -2)
    for image in (filtered, products):
        assert float(image[..., inner, inner].std()) < 12
        assert float(image.mean()) == pytest.approx(127.5, abs=1)


def test_rows_of_a_filter_matrix_sum_to_one() -> None:
    for outputs in (1, 7, 64, 130):
        matrix = filter_matrix(torch.tensor([0.0, 3.0]), torch.tensor([64.0, 17.0]), 64, outputs)
        assert matrix.shape == (2, outputs, 64)
        torch.testing.assert_close(matrix.sum(-1), torch.ones(2, outputs))
        assert float(matrix[1, :, :3].abs().max()) == 0.0
        assert float(matrix[1, :, 20:].abs().max()) == 0.0


@pytest.mark.parametrize("share", [1.0, 0.875, 0.5])
def test_central_boxes_are_torchvisions_centre_crops(share: float) -> None:
    for height, width in ((64, 64), (60, 92), (92, 61), (7, 50)):
        top, left, tall, wide = central_boxes(np.array([height]), np.array([width]), share)[0].tolist()
        picture = torch.arange(height * width).view(1, height, width)
        theirs = tv.center_crop(picture, [tall, tall])
        assert tall == wide == max(1, round(min(height, width) * share))
        assert torch.equal(picture[:, top : top + tall, left : left + wide], theirs)


def test_boxes_at_the_borders() -> None:
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        box = central_boxes(np.array([40]), np.array([60]), 0.5, row, column)[0]
        assert box.tolist() == [row * 20, column * 40, 20, 20]


@pytest.mark.parametrize(
    ("sides", "least"), [((375, 500), 0.08), ((375, 500), 0.35), ((128, 128), 0.35), ((60, 200), 0.2)]
)
def test_random_boxes_are_distributed_as_torchvisions(sides: tuple[int, int], least: float) -> None:
    count = 3000
    height, width = sides
    ours = random_resized_boxes(np.full(count, height), np.full(count, width), least, generator(0, "augment"))
    torch.manual_seed(0)
    picture = torch.zeros(1, height, width)
    theirs = np.array([RandomResizedCrop.get_params(picture, [least, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])
    for name, of in {
        "top": lambda boxes: boxes[:, 0],
        "left": lambda boxes: boxes[:, 1],
        "area": lambda boxes: boxes[:, 2] * boxes[:, 3],
        "ratio": lambda boxes: boxes[:, 3] / boxes[:, 2],
    }.items():
        assert ks_2samp(of(ours), of(theirs)).pvalue > 1e-3, name
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()


@pytest.mark.parametrize("sides", [(10, 400), (400, 10), (1, 1), (1, 7)])
def test_images_that_no_box_fits_get_torchvisions_fallback(sides: tuple[int, int]) -> None:
    height, width = sides
    ours = random_resized_boxes(np.array([height]), np.array([width]), 0.9, generator(0, "augment"))[0]
    theirs = RandomResizedCrop.get_params(torch.zeros(1, height, width), [0.9, 1.0], [3 / 4, 4 / 3])
    assert tuple(ours) == tuple(theirs)


def test_no_random_crop_is_the_square_of_the_evaluation() -> None:
    heights, widths = np.array([40, 64]), np.array([52, 64])
    rng = generator(0, "augment")
    assert np.array_equal(random_resized_boxes(heights, widths, 1.0, rng), central_boxes(heights, widths, 1.0))
    other = generator(0, "augment")
    random_resized_boxes(heights, widths, 0.3, other)
    assert rng.random() == other.random()  # the draws that follow do not depend on it


def test_an_images_box_does_not_depend_on_the_others() -> None:
    heights, widths = np.array([60, 60, 60]), np.array([90, 90, 90])
    first = random_resized_boxes(heights, widths, 0.3, generator(0, "augment"))
    heights[0], widths[0] = 10, 400  # draws that do not fit are drawn again, for this image alone
    second = random_resized_boxes(heights, widths, 0.3, generator(0, "augment"))
    assert np.array_equal(first[1:], second[1:])


@pytest.mark.gpu
@pytest.mark.parametrize("size", [32, 64])
def test_the_products_on_a_gpu_equal_those_on_the_cpu(size: int) -> None:
    stacked = stacked_planes()
    boxes, flip = torch.from_numpy(BOXES).float(), torch.from_numpy(FLIP)
    here = crop_resize_products(stacked, boxes, flip, size)
    there = crop_resize_products(stacked.cuda(), boxes.cuda(), flip.cuda(), size).cpu()
    torch.testing.assert_close(here, there, rtol=0, atol=0.5)
