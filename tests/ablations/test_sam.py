"""Sharpness-aware minimization against the closed form on a quadratic, and against algorithm 1 of its paper."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lab import Lab
from safetensors.torch import load_file
from torch import Tensor, nn

from ablations.sam import SharpnessAware, perturbation
from sota_bench.grid.recipe import recipe_type
from sota_bench.training import backbone

RHO = 0.05


def technique(rho: float = RHO) -> SharpnessAware:
    return SharpnessAware(recipe_type()(sam=rho))


def closure_of(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """What the loop gives to ``step``."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value.detach()

    return closure


def test_the_perturbation_is_rho_long_over_all_parameters_together() -> None:
    gradients = [torch.randn(3, 4, generator=torch.manual_seed(0)), torch.randn(5)]
    offsets = perturbation(gradients, 0.3)
    joint = torch.cat([gradient.flatten() for gradient in gradients])
    moved = torch.cat([offset.flatten() for offset in offsets])
    assert moved.norm().item() == pytest.approx(0.3, rel=1e-6)
    assert torch.allclose(moved, 0.3 * joint / joint.norm())
    assert all((offset == 0).all() for offset in perturbation([torch.zeros(3)], 0.3))


def test_it_is_exact_on_a_quadratic() -> None:
    """With the loss ``w A w / 2`` a step is ``w - lr A (w + rho A w / ||A w||)``."""
    generator = torch.manual_seed(1)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    matrix, lr = root @ root.T, 0.01
    weights = nn.Parameter(torch.randn(6, dtype=torch.float64, generator=generator))
    expected = weights.detach().clone()
    optimizer = torch.optim.SGD([weights], lr=lr)
    sam, closure = technique(0.5), closure_of(optimizer, lambda: weights @ matrix @ weights / 2)
    for _ in range(20):
        sam.step(optimizer, closure)
        slope = matrix @ expected
        expected = expected - lr * matrix @ (expected + 0.5 * slope / slope.norm())
        assert torch.allclose(weights.detach(), expected, rtol=1e-12, atol=1e-14)


def algorithm_1(model: nn.Module, images: Tensor, labels: Tensor, lr: float, rho: float) -> None:
    """Foret et al. 2021, algorithm 1, as the paper has it, with plain gradient descent as the base optimizer."""
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    gradient = torch.autograd.grad(F.cross_entropy(model(images), labels), list(model.parameters()))
    norm = sum((part**2).sum() for part in gradient).sqrt()
    with torch.no_grad():
        for value, part in zip(model.parameters(), gradient, strict=True):
            value += rho * part / norm
    gradient = torch.autograd.grad(F.cross_entropy(model(images), labels), list(model.parameters()))
    with torch.no_grad():
        for (name, value), part in zip(model.named_parameters(), gradient, strict=True):
            value.copy_(start[name] - lr * part)


def test_it_is_algorithm_1_on_a_network() -> None:
    torch.manual_seed(2)
    ours = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).double()
    paper = copy.deepcopy(ours)
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    for _ in range(10):
        images, labels = torch.randn(12, 8, dtype=torch.float64), torch.randint(4, (12,))
        technique().step(optimizer, closure_of(optimizer, lambda x=images, y=labels: F.cross_entropy(ours(x), y)))
        algorithm_1(paper, images, labels, 0.1, RHO)
        for mine, theirs in zip(ours.parameters(), paper.parameters(), strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_the_weights_are_put_back_exactly() -> None:
    """Subtracting the perturbation again would lose bits of large weights."""
    weights = nn.Parameter(torch.tensor([1e6, 3.0]))
    before = weights.detach().clone()
    optimizer = torch.optim.SGD([weights], lr=0.0)
    technique(1.0).step(optimizer, closure_of(optimizer, lambda: (weights * torch.tensor([1.0, 2.0])).sum()))
    assert torch.equal(weights.detach(), before)


def test_batch_norm_statistics_move_once_a_step_and_at_the_weights_themselves(lab: Lab) -> None:
    """With a radius near 0 both passes are the same but for rounding (in one step of a
    smooth network), so all is as without it, statistics included."""
    lines = 'backbone = "test_efficientnet"\nresize = "32x1"\noptimizer = "sgd"\nlr = 0.01\nbatch_size = 48'
    plain, near, far = (lab.run(lines, f"sam = [{rho}]") for rho in (0.0, 1e-12, 0.5))
    without, tiny, large = (load_file(ran.checkpoint() / "model.safetensors") for ran in (plain, near, far))
    counts = {int(value) for name, value in large.items() if name.endswith("num_batches_tracked")}
    assert counts == {1}
    for name, value in without.items():
        torch.testing.assert_close(tiny[name], value, rtol=1e-3, atol=1e-5)
    moved = [
        name for name in without if "running" in name and not torch.allclose(large[name], without[name], rtol=1e-5)
    ]
    assert not moved  # they are taken at the weights, wherever the gradient is
    assert any(not torch.allclose(large[name], value, rtol=1e-2) for name, value in without.items())


@pytest.mark.parametrize("more", ['precision = "bf16"', "gradient_clip = 0.5", 'precision = "bf16"\nmixup = 0.4'])
def test_it_trains_in_mixed_precision_and_with_clipping_and_resumes_to_the_bit(lab: Lab, more: str) -> None:
    ran = lab.run(f'resize = "32x3"\nsam = 0.05\n{more}')
    curve = [record["loss"] for record in ran.trained().values["curve"]]
    assert curve[-1] < curve[0]
    stage = ran.plan.stages[ran.trial.training[0]]
    folder, _ = lab.run_apart(stage, stops=(2, 3))
    resumed = load_file(folder / "model.safetensors")
    assert all(
        torch.equal(resumed[name], value) for name, value in load_file(ran.checkpoint() / "model.safetensors").items()
    )


def test_in_parts_it_takes_the_same_step(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory runs out, both gradients are those of the whole batch; a network without batch norm agrees."""
    ran = lab.run('backbone = "test_vit"\nresize = "32x1"\nsam = 0.05')
    stage, original = ran.plan.stages[ran.trial.training[0]], backbone.create

    def hungry(*arguments: Any) -> Any:
        model, built = original(*arguments)

        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if module.training and len(inputs[0]) > 6:
                raise MemoryError

        model.register_forward_pre_hook(look)
        return model, built

    monkeypatch.setattr(backbone, "create", hungry)
    folder, outcome = lab.run_apart(stage)
    assert outcome.values["accumulated"]["micro_batch"] == 4
    parts = load_file(folder / "model.safetensors")
    for name, value in load_file(ran.checkpoint() / "model.safetensors").items():
        torch.testing.assert_close(parts[name], value, rtol=2e-3, atol=2e-4)
