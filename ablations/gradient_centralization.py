"""Gradient centralization: take the mean off the gradient of each output's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from sota_bench.technique import CoreRecipe, Phase


def centralize(gradient: Tensor) -> Tensor:
    """``g - mean(g)`` over all dimensions but the first, of weights of two and more dimensions (Yong et al. 2020,
    equation 1).

    Args:
        gradient: [outputs, ...], of a linear layer or a convolution; of a bias or a norm it stays as it is.
    """
    return gradient - gradient.mean(dim=tuple(range(1, gradient.ndim)), keepdim=True) if gradient.ndim > 1 else gradient


class GradientCentralizationSettings(Settings):
    gradient_centralization: bool = setting(
        False, "subtract the mean from the gradient of each output's weights", scope="train", levels=(False, True)
    )


class GradientCentralization(Technique[GradientCentralizationSettings]):
    """Acts where gradients arise, so with every optimizer; the mean is linear, so also where they are accumulated."""

    name = "gradient-centralization"
    field = "gradient_centralization"
    off = False
    settings_type = GradientCentralizationSettings
    card = Card(
        name="Gradient centralization",
        claim="Faster training and a little more accuracy, in one line.",
        response="accuracy",
        why="Weights stay in a plane of constant mean, a constraint that regularizes, and the loss becomes smoother.",
        paper="Yong, Huang, Hua and Zhang 2020, Gradient Centralization: A New Optimization Technique for Deep Neural "
        "Networks (https://arxiv.org/abs/2004.01461)",
        defaults="All weights of two and more dimensions, as in the paper's code.",
        cost="One mean and one difference over all weights in each step.",
        fails="With standardized weights, whose mean never matters, it changes nothing.",
    )

    def __init__(self, recipe: CoreRecipe) -> None:
        super().__init__(recipe)
        self._hooks: list[RemovableHandle] = []

    def on_phase_start(self, phase: Phase) -> None:
        """Hooks every weight of the phase's network, once."""
        for hook in self._hooks:
            hook.remove()
        weights = [weight for weight in phase.model.parameters() if weight.ndim > 1 and weight.requires_grad]
        self._hooks = [weight.register_hook(centralize) for weight in weights]  # type: ignore[no-untyped-call]
