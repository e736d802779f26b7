"""Sharpness-aware minimization (SAM): step down the gradient of the worst loss nearby."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sota_bench.technique import Closure


def perturbation(gradients: Sequence[Tensor], rho: float) -> list[Tensor]:
    """``rho g / ||g||``: where the loss is highest within ``rho`` of the weights, to first order (Foret et al. 2021,
    equation 2 with p = 2).

    Args:
        gradients: of all parameters together, whose joint norm counts.
        rho: radius of the neighbourhood.

    Returns:
        Shaped like the gradients; zero where they all are.
    """
    import torch

    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
    scale = rho / (norm + 1e-12)
    return [gradient * scale for gradient in gradients]


class SharpnessAwareSettings(Settings):
    sam: float = setting(
        0.0, "radius rho of the neighbourhood whose worst loss is minimized; 0 is off", scope="train", ge=0, le=10,
        levels=(0.0, 0.05),
    )  # fmt: skip


class SharpnessAware(Technique[SharpnessAwareSettings]):
    """Batch-norm statistics move with the first of the two passes alone, which is at the weights themselves. Gradient
    clipping acts on both gradients; that leaves the perturbation as it is, since it has a fixed norm."""

    name = "sam"
    field = "sam"
    off = 0.0
    settings_type = SharpnessAwareSettings
    card = Card(
        name="Sharpness-aware minimization",
        claim="Higher accuracy at the same number of epochs, and less overfitting to wrong labels.",
        response="accuracy",
        why="In a flat minimum the loss stays low when the weights move a little, and flat minima tend to generalize "
        "better than sharp ones with the same training loss. Each step takes the gradient where the loss is highest "
        "within rho of the weights, which penalizes sharp minima.",
        paper="Foret, Kleiner, Mobahi and Neyshabur 2021, Sharpness-Aware Minimization for Efficiently Improving "
        "Generalization, algorithm 1 (https://arxiv.org/abs/2010.01412)",
        defaults="rho 0.05, the paper's for ImageNet and most fine-tuning; vision transformers take 0.1 to 0.2.",
        cost="A second forward and backward pass: steps take about twice as long. A copy of the weights in memory.",
        fails='At equal time it has half of the epochs, so compare with match = "minutes". In short trainings that do '
        "not overfit there is no sharp minimum to avoid.",
    )

    def step(self, optimizer: torch.optim.Optimizer, closure: Closure) -> None:
        """Gradient at the weights, gradient at the perturbed weights, and the optimizer's step from the weights."""
        import torch

        closure()
        parameters = [
            parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.grad is not None
        ]
        with torch.no_grad():
            weights = [parameter.clone() for parameter in parameters]
            offsets = perturbation([parameter.grad for parameter in parameters], self.settings.sam)
            torch._foreach_add_(parameters, offsets)
        closure()
        with torch.no_grad():  # copied back, not subtracted, so that nothing is lost to rounding
            torch._foreach_copy_(parameters, weights)
        optimizer.step()
