"""Curves of the learning rate against torch's schedulers and the papers' formulas."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LambdaLR, LinearLR, LRScheduler, SequentialLR

from ablations.learning_rate_curves import linear_rate, restarted_rate, warmup_stable_decay_rate

PEAK = 0.01


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)


def rates(own: torch.optim.Optimizer, schedule: LRScheduler, total: int) -> list[float]:
    """The rate of each step by a scheduler of torch."""
    rates = []
    for _ in range(total):
        rates.append(float(own.param_groups[0]["lr"]))
        own.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(("total", "cycles"), [(70, 3), (7, 3), (20, 1), (155, 5), (30, 4)])
def test_restarts_are_torchs(total: int, cycles: int) -> None:
    """Exact where a cycle has a whole number of steps, as torch demands; else between its two nearest."""
    length = total // (2**cycles - 1)
    total = length * (2**cycles - 1)
    own = optimizer()
    expected = rates(own, CosineAnnealingWarmRestarts(own, T_0=length, T_mult=2), total)
    assert [restarted_rate(step, total, PEAK, cycles) for step in range(total)] == pytest.approx(expected)


@pytest.mark.parametrize(("total", "cycles"), [(100, 3), (3, 3), (1, 4), (50, 2)])
def test_each_cycle_starts_near_the_peak_whatever_the_number_of_steps(total: int, cycles: int) -> None:
    curve = [restarted_rate(step, total, PEAK, cycles) for step in range(total)]
    assert all(0 < rate <= PEAK for rate in curve)
    rises = sum(after > before for before, after in pairwise(curve))
    assert rises == min(cycles, total) - 1 or total < 2**cycles - 1


@pytest.mark.parametrize(("total", "warmup"), [(100, 0.05), (40, 0.0), (10, 0.3), (1, 0.05)])
def test_a_line_up_and_a_line_down_are_torchs(total: int, warmup: float) -> None:
    rising = round(warmup * total)
    own = optimizer()
    down = LinearLR(own, start_factor=1.0, end_factor=0.0, total_iters=total - rising)
    schedule: LRScheduler = down
    if rising:
        up = LinearLR(own, start_factor=1 / (rising + 1), end_factor=1.0, total_iters=rising)
        schedule = SequentialLR(own, [up, down], milestones=[rising])
    expected = rates(own, schedule, total)
    assert [linear_rate(step, total, PEAK, warmup) for step in range(total)] == pytest.approx(expected)


def test_warmup_stable_decay_is_the_papers_formula() -> None:
    """Hägele et al., equation 1, with the linear decay ``1 - (n - (N - N_decay)) / N_decay``."""
    total, decay = 100, 20
    own = optimizer()
    plateau_and_decay = LambdaLR(own, lambda n: 1.0 if n < total - decay else 1 - (n - (total - decay)) / decay)
    expected = rates(own, plateau_and_decay, total)
    ours = [warmup_stable_decay_rate(step, total, PEAK, 0.0, 0.2) for step in range(total)]
    assert ours == pytest.approx(expected)
    warmed = [warmup_stable_decay_rate(step, total, PEAK, 0.05, 0.2) for step in range(total)]
    assert warmed[:5] == pytest.approx([PEAK * (step + 1) / 6 for step in range(5)])
    assert warmed[5:] == ours[5:]


def test_no_curve_has_a_step_that_trains_nothing() -> None:
    for total in (1, 2, 3, 17):
        for step in range(total):
            assert linear_rate(step, total, PEAK, 0.05) > 0
            assert warmup_stable_decay_rate(step, total, PEAK, 0.05, 0.2) > 0
            assert restarted_rate(step, total, PEAK, 3) > 0
