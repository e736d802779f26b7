"""Random erasing against torchvision on the same draws, Cutout against the paper's code."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomErasing as Theirs
from torchvision.transforms import functional, transforms

from ablations.erasing import AREA, ATTEMPTS, RATIO, erase, random_boxes, square_boxes


def images(count: int, height: int = 40, width: int = 30) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255


class Replayed:
    """Stands in for torch in torchvision's transform: its random numbers are given."""

    def __init__(self, draws: np.ndarray) -> None:
        self.attempts: Iterator[np.ndarray] = iter(draws)
        self.numbers: Iterator[float] = iter(())

    def empty(self, size: int) -> SimpleNamespace:
        def uniform(low: float, high: float) -> torch.Tensor:
            number = next(self.numbers, None)
            if number is None:  # the next attempt
                self.current = next(self.attempts)
                self.numbers = iter(self.current[:2])
                number = next(self.numbers)
            return low + (high - low) * torch.tensor([number], dtype=torch.float64)

        return SimpleNamespace(uniform_=uniform)

    def randint(self, low: int, high: int, size: tuple[int]) -> torch.Tensor:
        self.places = getattr(self, "places", None) or iter(self.current[2:])
        return torch.tensor([int(next(self.places) * high)])

    def tensor(self, values: tuple[float, float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64)

    log, exp = staticmethod(torch.log), staticmethod(torch.exp)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 30), (9, 60)])
def test_boxes_are_torchvisions_on_the_same_draws(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    draws = np.random.default_rng(1).random((300, ATTEMPTS, 4))
    ours = random_boxes(height, width, draws)
    expected = []
    for own in draws:
        with monkeypatch.context() as patched:
            patched.setattr(transforms, "torch", Replayed(own))
            image = SimpleNamespace(shape=(3, height, width))
            top, left, tall, wide, filled = Theirs.get_params(image, AREA, RATIO, [0.0])
        expected.append((0, 0, 0, 0) if filled is image else (top, left, top + tall, left + wide))
    np.testing.assert_array_equal(ours, expected)


def test_what_is_erased_is_torchvisions() -> None:
    batch, noise = images(40), images(40).flip(0)
    boxes = random_boxes(40, 30, np.random.default_rng(2).random((40, ATTEMPTS, 4)))
    ours = erase(batch, torch.from_numpy(boxes), noise)
    for image, fill, (top, left, bottom, right), result in zip(batch, noise, boxes.tolist(), ours, strict=True):
        inside = fill[:, top:bottom, left:right]
        torch.testing.assert_close(result, functional.erase(image, top, left, bottom - top, right - left, inside))
    empty = torch.zeros(40, 4, dtype=torch.int64)
    assert erase(batch, empty, noise).equal(batch)


@pytest.mark.parametrize("side", [1, 8, 15, 40])
def test_squares_are_those_of_the_papers_code(side: int) -> None:
    rng = np.random.default_rng(3)
    rows, columns = rng.integers(40, size=50), rng.integers(30, size=50)
    boxes = square_boxes(40, 30, side, rows, columns)
    ours = erase(torch.ones(50, 1, 40, 30), torch.from_numpy(boxes), torch.zeros(()))
    for y, x, result in zip(rows, columns, ours, strict=True):
        mask = np.ones((40, 30), np.float32)  # cutout.py of the paper's repository
        y1, y2 = np.clip(y - side // 2, 0, 40), np.clip(y + side // 2, 0, 40)
        x1, x2 = np.clip(x - side // 2, 0, 30), np.clip(x + side // 2, 0, 30)
        mask[y1:y2, x1:x2] = 0.0
        np.testing.assert_array_equal(result[0].numpy(), mask)
