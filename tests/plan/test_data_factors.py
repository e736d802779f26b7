"""Levels of a factor that choose the same images are refused, and levels that do not are fine."""

from __future__ import annotations

import pytest
from lab import Lab, write_images

from sota_bench.errors import UserError


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """48 training and 32 validation images of four classes."""
    folder = tmp_path_factory.mktemp("lab")
    return Lab(folder, write_images(folder / "images"))


def test_fractions_that_choose_the_same_images_are_refused(lab: Lab) -> None:
    message = r"factors\.fraction: 1\.0 and 0\.5 choose the same images; leave out what limits both, such as per_class"
    with pytest.raises(UserError, match=message):
        lab.plan("per_class = 4", "fraction = [1.0, 0.5]")
    lab.plan("per_class = 8", "fraction = [1.0, 0.5]")  # 12 images of each class: 8 and 6


def test_the_cell_of_the_other_factors_is_named(lab: Lab) -> None:
    with pytest.raises(UserError, match=r"choose the same images \(in the cell mixup = 0\.0\)"):
        lab.plan("per_class = 4", "mixup = [0.0, 0.2]\nfraction = [1.0, 0.5]")


def test_factors_that_choose_no_images_may_share_them(lab: Lab) -> None:
    lab.plan("per_class = 4", "eval_images = [0, 8]\nmixup = [0.0, 0.2]")
