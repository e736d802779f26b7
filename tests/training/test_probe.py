"""The linear probe: the optimum of its objective, and features that are really those of the checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lab import Lab
from scipy.optimize import minimize
from scipy.special import logsumexp

from sota_bench.training.probe import fit_linear, standardize


def test_it_finds_the_optimum_that_scipy_finds() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(60, 7)), rng.integers(0, 3, 60)
    x[:, 0] += labels

    def objective(flat: np.ndarray) -> float:
        weight, offset = flat[:21].reshape(3, 7), flat[21:]
        z = x @ weight.T + offset
        return float((logsumexp(z, axis=1) - z[np.arange(60), labels]).mean() + (weight**2).sum() / 120)

    best = minimize(objective, np.zeros(24), method="BFGS", options={"gtol": 1e-9})
    weight, offset = fit_linear(torch.from_numpy(x), torch.from_numpy(labels), 3)
    fitted = np.concatenate([weight.numpy().ravel(), offset.numpy()])
    assert objective(fitted) <= best.fun + 1e-9
    np.testing.assert_allclose(weight.numpy(), best.x[:21].reshape(3, 7), atol=1e-4)


def test_features_that_never_vary_say_nothing() -> None:
    train = torch.tensor([[1.0, 5.0], [3.0, 5.0]], dtype=torch.float64)
    first, other = standardize(train, torch.tensor([[2.0, 9.0]], dtype=torch.float64))
    assert first.tolist() == [[-1, 0], [1, 0]]
    assert other.tolist() == [[0, 0]]


def test_wide_features_with_few_images_are_fitted() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 300, dtype=torch.float64, generator=generator)
    labels = torch.arange(20) % 4
    weight, offset = fit_linear(x, labels, 4)
    loss = (x @ weight.T + offset).detach().requires_grad_()
    F.cross_entropy(loss, labels).backward()
    assert ((x @ weight.T + offset).argmax(1) == labels).all()
    gradient = loss.grad.T @ x + weight / 20  # type: ignore[union-attr]
    assert gradient.abs().max() < 1e-5


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_it_reads_the_features_that_the_head_gets(lab: Lab, backbone: str) -> None:
    ran = lab.run(f'backbone = "{backbone}"\nresize = "32x1"\nbase_resize = "32x2"', 'base = ["fixed"]')
    stages = [stage for stage in ran.plan.stages.values() if stage.kind == "probe"]
    assert len(stages) == 2
    for stage in stages:
        values = ran.outcomes[stage.key].values
        head = {"test_resnet": 96, "test_vit": 64, "test_convnext": 64, "test_efficientnet": 256}[backbone]
        assert values["features"] == head
        assert values["probed"] == 24  # training images of the base's two classes
        assert values["images"] == ran.plan.images.subset(stage.choice).sizes()["select"]
        again = lab.run_apart(stage)[1].values
        assert again["nll"] == values["nll"]
