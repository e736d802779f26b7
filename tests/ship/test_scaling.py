"""The rules by which a recipe is scaled, against the numbers of the papers that they come from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sota_bench.grid.resize_schedule import SizePhase, parse_schedule
from sota_bench.ship.scaling import LARGEST_BATCH, scaled_batch, scaled_phases, scaled_rate


def test_goyal_et_al_from_256_to_8192_images() -> None:
    assert scaled_rate(0.1, "sgd", 8192 / 256) == pytest.approx(3.2)  # their table 1


def test_adaptive_optimizers_grow_with_the_square_root() -> None:
    assert scaled_rate(0.001, "adamw", 16) == pytest.approx(0.004)
    assert scaled_rate(0.001, "muon", 4) == pytest.approx(0.002)


@given(st.integers(2, 4096), st.integers(10, 10**6), st.integers(10, 10**7))
def test_an_epoch_never_has_fewer_steps(batch: int, images: int, full_images: int) -> None:
    scaled = scaled_batch(batch, images, full_images)
    assert scaled % batch == 0
    assert scaled == batch or (scaled <= LARGEST_BATCH and full_images / scaled >= images / batch)
    grown = 2 * scaled
    assert grown > LARGEST_BATCH or full_images / grown < images / batch  # and is as large as that allows


def test_imagenet_after_an_ablation_on_imagenette() -> None:
    assert scaled_batch(64, 9469, 1_281_167) == 1024


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 500))
def test_phases_keep_their_share(epochs: list[int], wanted: int) -> None:
    phases = [SizePhase(32 * (number + 1), count) for number, count in enumerate(epochs)]
    scaled = scaled_phases(phases, wanted)
    assert [phase.size for phase in scaled] == [phase.size for phase in phases]
    assert all(phase.epochs >= 1 for phase in scaled)
    if wanted >= 2 * sum(epochs):
        assert sum(phase.epochs for phase in scaled) == wanted
        for before, after in zip(phases[:-1], scaled, strict=False):
            assert abs(after.epochs - before.epochs * wanted / sum(epochs)) <= 0.5


def test_a_schedule_of_18_epochs() -> None:
    assert scaled_phases(parse_schedule("64x3 128x2"), 18) == parse_schedule("64x11 128x7")
