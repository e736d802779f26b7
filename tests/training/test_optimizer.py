"""The learning rate equals torch's schedulers step by step; moments are kept or reset by name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import timm
import timm.optim
import torch
from lab import Lab
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.profiler import ProfilerActivity, profile

from sota_bench.training import checkpoint, optimizer
from sota_bench.training.batches import steps_in_epoch
from sota_bench.training.phase import Phase


def their_rates(scheduler: Any, steps: int) -> list[float]:
    rates = [scheduler.get_last_lr()[0]]
    for _ in range(steps - 1):
        scheduler.optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return rates


def sgd(lr: float) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


TOTALS, WARMUPS = (2, 3, 5, 10, 97, 400), (0.05, 0.25, 0.5, 0.9)
# torch divides by zero where the warm-up is exactly one step.
CYCLES = [(total, warmup) for total in TOTALS for warmup in WARMUPS if total * warmup != 1]


@pytest.mark.parametrize(("total", "warmup"), CYCLES)
def test_one_cycle_equals_torchs(total: int, warmup: float) -> None:
    theirs = their_rates(OneCycleLR(sgd(0.1), max_lr=0.1, total_steps=total, pct_start=warmup), total)
    ours = [optimizer.learning_rate("one-cycle", step, total, 0.1, warmup) for step in range(total)]
    assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("total", [1, 2, 4, 8])
def test_a_warm_up_of_one_step_is_at_the_peak(total: int) -> None:
    rates = [optimizer.learning_rate("one-cycle", step, total, 1.0, 1 / total) for step in range(total)]
    assert rates[0] == 1.0
    assert all(0 < rate <= 1 for rate in rates)


@pytest.mark.parametrize("total", [1, 7, 100])
def test_cosine_equals_torchs(total: int) -> None:
    theirs = their_rates(CosineAnnealingLR(sgd(0.1), T_max=total), total)
    ours = [optimizer.learning_rate("cosine", step, total, 0.1, 0.25) for step in range(total)]
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_constant_is_constant() -> None:
    assert {optimizer.learning_rate("constant", step, 9, 0.1, 0.25) for step in range(9)} == {0.1}


def recipe(kind: str = "adamw") -> Any:
    return SimpleNamespace(optimizer=kind, lr=0.01, weight_decay=0.05)


def phase(size: int = 32, name: str = "test_resnet") -> Phase:
    return Phase(size, 1, False, (), timm.create_model(name, num_classes=4))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "swin_tiny_patch4_window7_224"])
def test_every_parameter_is_in_one_group_and_those_decay_that_decay_in_timm(name: str) -> None:
    from timm.optim import param_groups_weight_decay

    at = phase(name=name)
    exempt = at.model.no_weight_decay() if hasattr(at.model, "no_weight_decay") else ()  # type: ignore[operator]
    plain, decaying = param_groups_weight_decay(at.model, 0.05, no_weight_decay_list=exempt)
    assert plain["weight_decay"] == 0.0
    decays = {id(parameter) for parameter in decaying["params"]}
    groups = optimizer.create(recipe(), at).param_groups
    grouped = [name for group in groups for name in group["names"]]
    assert sorted(grouped) == sorted(name for name, _ in at.model.named_parameters())
    for group in groups:
        assert all((id(parameter) in decays) == (group["weight_decay"] > 0) for parameter in group["params"])
    assert len({id(parameter) for group in groups for parameter in group["params"]}) == len(grouped)


def test_scales_reach_the_rates_and_frozen_blocks_have_no_group() -> None:
    at = phase()
    at.freeze(at.blocks[0])
    at.scale_learning_rate(0.5, at.blocks[1])
    made = optimizer.create(recipe(), at)
    optimizer.set_learning_rate(made, 0.2)
    rates = {name: group["lr"] for group in made.param_groups for name in group["names"]}
    assert not set(at.blocks[0].parameters) & rates.keys()
    assert {rates[name] for name in at.blocks[1].parameters} == {0.1}
    assert {rates[name] for name in at.blocks[-1].parameters} == {0.2}


@pytest.mark.parametrize("kind", ["adamw", "sgd", "muon"])
def test_moments_come_back_by_name_into_other_groups(kind: str) -> None:
    first = phase()
    made = optimizer.create(recipe(kind), first)
    for _ in range(2):
        first.model(torch.randn(2, 3, 32, 32)).sum().backward()
        made.step()
    state = optimizer.state_by_name(made)
    second = phase()
    second.freeze(second.blocks[0])
    again = optimizer.create(recipe(kind), second)
    optimizer.load_state(again, state)
    loaded = optimizer.state_by_name(again)
    trained = [name for group in again.param_groups for name in group["names"]]
    assert {key.rpartition("/")[0] for key in loaded} == set(trained)
    for key, value in loaded.items():
        assert torch.equal(value, state[key]), key


def step_with(made: torch.optim.Optimizer, model: torch.nn.Module, steps: int) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        model(images).square().sum().backward()
        made.step()
        made.zero_grad()


def test_adamw_equals_torchs_and_copies_no_gradient() -> None:
    ours, theirs = phase(), phase()
    theirs.model.load_state_dict(ours.model.state_dict())
    called = []
    for at, kind in ((ours, optimizer.AdamW), (theirs, torch.optim.AdamW)):
        at.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        made = kind(at.model.parameters(), lr=0.01, fused=True)
        step_with(made, at.model, 3)
        at.model(torch.ones(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)).sum().backward()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            made.step()
        called.append({event.key for event in seen.key_averages()})
    assert "aten::_fused_adamw_" in called[0]
    assert "aten::contiguous" not in called[0]
    for (name, value), other in zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.parametrize("kind", ["adamw", "sgd", "muon"])
def test_weight_decay_is_decoupled_for_every_optimizer(kind: str) -> None:
    """Loshchilov and Hutter 2019: without a gradient a step multiplies by ``1 - lr * weight_decay``, whatever the
    momentum; coupled, 200 steps at a rate of 0.003 left 0.75 of a norm instead of 0.97."""
    at = phase()
    made = optimizer.create(recipe(kind), at)
    optimizer.set_learning_rate(made, 0.003)
    before = {name: value.detach().clone() for name, value in at.model.named_parameters()}
    for value in at.model.parameters():
        value.grad = torch.zeros_like(value)
    for _ in range(200):
        made.step()
    for name, value in at.model.named_parameters():
        kept = (1 - 0.003 * 0.05) ** 200 if value.ndim >= 2 else 1.0
        torch.testing.assert_close(value.detach(), before[name] * kept, rtol=1e-4, atol=1e-6, msg=name)


def test_sgd_equals_torchs_with_decay_that_momentum_does_not_see() -> None:
    """SGDW (Loshchilov and Hutter 2019, algorithm 1): decay beside torch's own Nesterov momentum."""
    ours, theirs = phase(), phase()
    theirs.model.load_state_dict(ours.model.state_dict())
    made = optimizer.create(recipe("sgd"), ours)
    reference = torch.optim.SGD(theirs.model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for rate in (0.01, 0.02, 0.005):
        optimizer.set_learning_rate(made, rate)
        reference.param_groups[0]["lr"] = rate
        for at, stepping in ((ours, made), (theirs, reference)):
            at.model(images).square().sum().backward()
            with torch.no_grad():
                for value in theirs.model.parameters() if stepping is reference else ():
                    value.mul_(1 - rate * 0.05 if value.ndim >= 2 else 1)
            stepping.step()
            stepping.zero_grad()
    for (name, value), other in zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-6, msg=name)


def test_muon_equals_timms() -> None:
    """Groups made by timm's factory, which also leaves the classifier to AdamW where it is told to."""
    ours, theirs = phase(), phase()
    theirs.model.load_state_dict(ours.model.state_dict())
    made = optimizer.create(recipe("muon"), ours)
    settings: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.05, "momentum": 0.95, "adjust_lr_fn": "match_rms_adamw"}
    factory = timm.optim.create_optimizer_v2(theirs.model, "nmuon", fallback_list=("fc.*",), **settings)
    step_with(made, ours.model, 3)
    step_with(factory, theirs.model, 3)
    for (name, value), other in zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-6, msg=name)


def test_muon_orthogonalizes_matrices_and_leaves_the_rest_to_adamw() -> None:
    at = phase()
    made = optimizer.create(recipe("muon"), at)
    step_with(made, at.model, 1)
    kept = {key.rpartition("/")[0] for key in optimizer.state_by_name(made) if key.endswith("/exp_avg")}
    vectors = {name for name, parameter in at.model.named_parameters() if parameter.ndim < 2}
    assert kept == vectors | {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("kind", ["adamw", "sgd", "muon"])
def test_a_step_after_resuming_equals_one_without_a_break(kind: str) -> None:
    whole, first, second = phase(), phase(), phase()
    for other in (first, second):
        other.model.load_state_dict(whole.model.state_dict())
    step_with(optimizer.create(recipe(kind), whole), whole.model, 3)
    made, again = optimizer.create(recipe(kind), first), optimizer.create(recipe(kind), second)
    step_with(made, first.model, 2)
    second.model.load_state_dict(first.model.state_dict())
    optimizer.load_state(again, optimizer.state_by_name(made))
    step_with(again, second.model, 1)
    for value, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(value, other)


def test_moments_of_another_shape_are_left_out() -> None:
    """The position embedding of a vision transformer changes its shape with the resolution."""
    small, large = phase(name="test_vit"), phase(name="test_vit")
    small.model.set_input_size(img_size=(64, 64))
    large.model.set_input_size(img_size=(96, 96))
    made = optimizer.create(recipe(), small)
    small.model(torch.randn(2, 3, 64, 64)).sum().backward()
    made.step()
    other = optimizer.create(recipe(), large)
    optimizer.load_state(other, optimizer.state_by_name(made))
    names = {key.rpartition("/")[0] for key in optimizer.state_by_name(other)}
    assert names == {name for name, _ in large.model.named_parameters()} - {"pos_embed"}
    large.model(torch.randn(2, 3, 96, 96)).sum().backward()
    other.step()
    assert "pos_embed/exp_avg" in optimizer.state_by_name(other)


@pytest.mark.parametrize("at_switch", ["keep", "reset"])
def test_the_optimizer_is_kept_or_reset_at_a_switch(lab: Lab, at_switch: str) -> None:
    """By the count of steps that AdamW keeps for each parameter: 3 in each phase."""
    ran = lab.run(f'resize = "32x1 40x1"\noptimizer_at_switch = "{at_switch}"')
    state = checkpoint.read(ran.checkpoint()).optimizer
    steps = {int(value) for key, value in state.items() if key.endswith("/step")}
    assert steps == {6 if at_switch == "keep" else 3}


def rates(ran: Any) -> list[float]:
    """The learning rate of each epoch's last step."""
    return [epoch["lr"] for key in ran.trial.training for epoch in ran.outcomes[key].values["curve"]]


@pytest.mark.parametrize("span", ["phase", "run"])
def test_one_schedule_for_each_phase_or_one_over_all(lab: Lab, span: str) -> None:
    """Against torch's scheduler over as many steps as the span has, batches of another size at 40 px included."""
    ran = lab.run(f'resize = "32x2 40x1"\nschedule_span = "{span}"\nbatch_sizes = {{40 = 8}}')
    lengths = [2 * steps_in_epoch(48, 16), steps_in_epoch(48, 8)]
    assert lengths == [6, 6]

    def one_cycle(total: int) -> list[float]:
        return [optimizer.learning_rate("one-cycle", step, total, 0.003, 0.25) for step in range(total)]

    expected = one_cycle(12) if span == "run" else one_cycle(6) * 2
    assert rates(ran) == pytest.approx([expected[2], expected[5], expected[11]], rel=1e-9)


def test_the_batch_size_follows_the_size(lab: Lab) -> None:
    ran = lab.run('resize = "32x1 40x1"\nbatch_sizes = {40 = 8}')
    assert [ran.trained(phase).values["batch_size"] for phase in (0, 1)] == [16, 8]
    assert [ran.trained(phase).values["steps"] for phase in (0, 1)] == [3, 6]
