"""Lion: an optimizer that was found by a program search, whose steps have the same size for every weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sota_bench.technique import (
    Card,
    CreatesOptimizer,
    GroupsParameters,
    ParameterScale,
    Settings,
    Technique,
    setting,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from sota_bench.technique import Phase


class LionSettings(Settings):
    lion: bool = setting(False, "train with Lion instead of `optimizer`", scope="train", levels=(False, True))
    lion_lr_factor: float = setting(
        0.2, "factor on `lr` with `lion`; weight decay is divided by it, so that their product stays the same",
        scope="train", gt=0, le=1,
    )  # fmt: skip


class Lion(Technique[LionSettings], CreatesOptimizer, GroupsParameters):
    """timm's Lion, with its defaults."""

    name = "lion"
    field = "lion"
    off = False
    settings_type = LionSettings
    card = Card(
        name="Lion",
        claim="As accurate as AdamW or better, with half of its memory for moments.",
        response="accuracy",
        why="Each weight moves by the sign of a momentum, so all move equally far; the noise of the sign regularizes.",
        paper="Chen et al. 2023, Symbolic Discovery of Optimization Algorithms (https://arxiv.org/abs/2302.06675)",
        defaults="Betas of 0.9 and 0.99. A fifth of `lr` and five times the weight decay: the paper advises a rate "
        "3 to 10 times smaller than AdamW's, and a decay as much larger.",
        cost="None: one moment instead of two.",
        fails="Its advantage shows with large batches and long trainings; with small ones the sign is mostly noise.",
    )

    def parameter_scale(self, name: str, parameter: nn.Parameter, phase: Phase) -> ParameterScale:
        """A smaller rate and a larger decay than AdamW's."""
        return ParameterScale(self.settings.lion_lr_factor, 1 / self.settings.lion_lr_factor)

    def create_optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """timm's, which decouples weight decay as AdamW does."""
        from timm.optim.lion import Lion as TimmLion

        return TimmLion(groups, lr=groups[0]["lr"])
