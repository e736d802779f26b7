"""CutMix: equal to timm and torchvision on the same draws, lambda corrected to the area that was really pasted."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lab import batch_of
from timm.data.mixup import Mixup as TimmMixup
from timm.data.mixup import rand_bbox
from torchvision.transforms import v2

from ablations.cutmix import CutMix, cut_boxes, cutmix
from sota_bench.grid.recipe import recipe_type
from sota_bench.randomness import generator

CLASSES = 5


def batch(count: int = 8, height: int = 12, width: int = 17) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(count)
    labels = torch.randint(CLASSES, (count,), generator=rng)
    return torch.rand(count, 3, height, width, generator=rng) * 255, labels, F.one_hot(labels, CLASSES).float()


@pytest.mark.parametrize("height", [12, 31])
def test_boxes_are_those_of_timm(height: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        weight, row, column = rng.random(), int(rng.integers(height)), int(rng.integers(17))
        with patch("numpy.random.randint", side_effect=[row, column]):
            top, bottom, left, right = rand_bbox((3, height, 17), weight)
        ours = cut_boxes(height, 17, np.array([weight]), np.array([row]), np.array([column]))
        assert ours.tolist() == [[top, left, bottom, right]]


@pytest.mark.parametrize("mode", ["batch", "elem"])
def test_equals_timm_on_the_same_draws(mode: str) -> None:
    images, labels, targets = batch()
    theirs = TimmMixup(mixup_alpha=0, cutmix_alpha=1.0, mode=mode, label_smoothing=0.0, num_classes=CLASSES)
    boxes = []

    def recorded(*args: object, **kwargs: object) -> object:
        (top, bottom, left, right), weight = original(*args, **kwargs)
        boxes.append([int(top), int(left), int(bottom), int(right)])
        return (top, bottom, left, right), weight

    import timm.data.mixup as module

    original = module.cutmix_bbox_and_lam
    np.random.seed(2)
    with patch.object(module, "cutmix_bbox_and_lam", recorded):
        their_images, their_targets = theirs(images.clone(), labels)
    ours = cutmix(images, targets, torch.arange(8).flip(0), torch.tensor(boxes))
    torch.testing.assert_close(ours[0], their_images, rtol=0, atol=0)
    torch.testing.assert_close(ours[1], their_targets, rtol=0, atol=1e-6)


def test_equals_torchvision_on_the_same_draws() -> None:
    images, labels, targets = batch()
    for seed in range(20):
        transform = v2.CutMix(alpha=1.0, num_classes=CLASSES)
        torch.manual_seed(seed)
        drawn = transform.make_params([images])
        torch.manual_seed(seed)
        their_images, their_targets = transform(images, labels)
        left, top, right, bottom = drawn["box"]
        box = torch.tensor([[int(top), int(left), int(bottom), int(right)]])
        ours = cutmix(images, targets, torch.arange(8).roll(1), box)
        torch.testing.assert_close(ours[0], their_images, rtol=0, atol=0)
        torch.testing.assert_close(ours[1], their_targets, rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", ["batch", "sample"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_target_is_the_share_of_pixels_that_each_image_keeps(how: str, count: int) -> None:
    """Images of one grey level each: the pixels themselves say what was pasted."""
    technique = CutMix(recipe_type()(cutmix=1.0, cutmix_lambda=how))
    images = torch.arange(count).float().view(count, 1, 1, 1).expand(count, 3, 13, 10).contiguous()
    for step in range(30):
        mixed, soft = technique.on_batch(images, torch.eye(count), batch_of(count), generator(0, "cutmix", 0, step))
        shares = torch.stack([(mixed[:, 0] == level).float().mean(dim=(1, 2)) for level in range(count)], dim=1)
        torch.testing.assert_close(soft, shares, rtol=0, atol=1e-6)
        torch.testing.assert_close(soft.sum(1), torch.ones(count), rtol=0, atol=1e-6)


def test_two_images_of_one_class_keep_their_hard_target() -> None:
    targets = F.one_hot(torch.full((6,), 2), CLASSES).float()
    technique = CutMix(recipe_type()(cutmix=1.0, cutmix_lambda="sample"))
    _, soft = technique.on_batch(batch(6)[0], targets, batch_of(6), generator(0, "cutmix"))
    torch.testing.assert_close(soft, targets, rtol=0, atol=1e-6)


def test_lambda_zero_and_one_are_the_partner_and_the_image() -> None:
    for weight, top_left, bottom_right in ((1.0, (5, 5), (5, 5)), (0.0, (0, 0), (12, 12))):
        box = cut_boxes(12, 12, np.array([weight]), np.array([5]), np.array([5]))[0]
        assert (tuple(box[:2]), tuple(box[2:])) in {(top_left, bottom_right), ((0, 0), (11, 11))}
