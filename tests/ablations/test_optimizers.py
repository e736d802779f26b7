"""Lion and gradient centralization against their papers' formulas."""

from __future__ import annotations

import pytest
import torch

from ablations.gradient_centralization import centralize
from ablations.lion import Lion
from sota_bench.grid.recipe import recipe_from


def test_lion_is_the_papers_algorithm() -> None:
    """Algorithm 2 of Chen et al. 2023, with decoupled weight decay."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5, 4, generator=generator))
    expected, momentum = weight.detach().clone(), torch.zeros(5, 4)
    rate, decay, beta1, beta2 = 0.01, 0.5, 0.9, 0.99
    optimizer = Lion.create_optimizer(Lion.__new__(Lion), [{"params": [weight], "lr": rate, "weight_decay": decay}])
    for _ in range(6):
        gradient = torch.randn(5, 4, generator=generator)
        weight.grad = gradient.clone()
        optimizer.step()
        update = (beta1 * momentum + (1 - beta1) * gradient).sign()
        expected -= rate * (update + decay * expected)
        momentum = beta2 * momentum + (1 - beta2) * gradient
        torch.testing.assert_close(weight.detach(), expected)


def test_the_product_of_rate_and_decay_stays() -> None:
    technique = Lion(recipe_from({"lion": True, "lion_lr_factor": 0.25}, ()))
    scale = technique.parameter_scale("weight", torch.nn.Parameter(torch.zeros(2, 2)), None)  # type: ignore[arg-type]
    assert scale.learning_rate == pytest.approx(0.25)
    assert scale.learning_rate * scale.weight_decay == pytest.approx(1)


@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 2, 2)])
def test_centralized_gradients_have_no_mean(shape: tuple[int, ...]) -> None:
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    rows = gradient.reshape(6, -1)
    expected = (rows - rows.mean(dim=1, keepdim=True)).reshape(shape)
    torch.testing.assert_close(centralize(gradient), expected)
    bias = torch.randn(6)
    assert centralize(bias) is bias
