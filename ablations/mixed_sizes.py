"""Mixed sizes: after the resolution rises, each step draws its size from all sizes so far."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sota_bench.technique import (
    Card,
    ChecksNetwork,
    DrawsImageSize,
    NetworkFacts,
    Settings,
    ShapesNetwork,
    Technique,
    setting,
)

if TYPE_CHECKING:
    import numpy as np

    from sota_bench.technique import CoreRecipe, Phase, Step

DYNAMIC = "dynamic_img_size"
"""timm's argument for networks that fit their position embeddings or windows to each image that comes."""


@lru_cache(maxsize=16)
def takes_dynamic_size(name: str) -> bool:
    """Whether a timm model takes that argument, read off an instance without memory."""
    import timm
    import torch

    with torch.device("meta"):
        return hasattr(timm.create_model(name, pretrained=False), DYNAMIC)


def draw_size(sizes: Sequence[int], new: int, share: float, rng: np.random.Generator) -> int:
    """The new size with probability ``1 - share``, else one of the earlier ones, each equally likely.

    Args:
        sizes: earlier sizes in pixels; empty gives ``new``.
        new: the phase's own size.
        share: of steps at earlier sizes, 0 to 1.
        rng: draws two numbers whatever they come to.
    """
    earlier, which = rng.random(2)
    return sizes[int(which * len(sizes))] if sizes and earlier < share else new


class MixedSizesSettings(Settings):
    mixed_share: float = setting(
        0.5, "share of the steps that train at earlier sizes, with `mixed-sizes`", scope="rise", gt=0, le=1
    )


class MixedSizes(Technique[MixedSizesSettings], DrawsImageSize, ShapesNetwork, ChecksNetwork):
    name = "mixed-sizes"
    field = "mitigation"
    level = "mixed-sizes"
    applies_to = "rise"
    is_mitigation = True
    settings_type = MixedSizesSettings
    card = Card(
        name="Mixed sizes",
        claim="Keeps accuracy at the old resolutions by training at them further, and saves time on those steps.",
        response="stability",
        why="Rehearsal: a task that is still trained is not forgotten, and here rehearsal needs no stored images, "
        "since any image can be made smaller. The network also becomes less sensitive to the size it is tested at.",
        paper="Hoffer, Weinstein, Hubara, Ben-Nun, Hoefler and Soudry 2019, Mix & Match: training convnets with "
        "mixed image sizes (https://arxiv.org/abs/1908.08986)",
        defaults="Half of the steps at earlier sizes, each of them equally likely.",
        cost="Cheaper than the phase without it: a step at half the size costs a quarter.",
        fails="Fewer steps at the new size, so it is learned less well in a short phase; batch-norm statistics are "
        "an average over sizes and fit none of them exactly.",
    )

    def __init__(self, recipe: CoreRecipe) -> None:
        super().__init__(recipe)
        self._sizes: list[int] = []

    def network_problem(self, network: NetworkFacts) -> str | None:
        """Networks made for one size cannot take part."""
        if network.mixes_sizes:
            return None
        backbone = self.recipe.backbone
        return f"{backbone} is made for one size and cannot draw it anew at each step; choose another mitigation"

    def backbone_arguments(self, name: str, family: str) -> dict[str, Any]:
        """Position embeddings that fit the size of each step."""
        return {DYNAMIC: True} if takes_dynamic_size(name) else {}

    def on_phase_start(self, phase: Phase) -> None:
        """Notes the sizes that can be drawn, for the report."""
        self._sizes = [size for size in phase.earlier_sizes if size != phase.size] + [phase.size]

    def image_size(self, phase: Phase, step: Step, rng: np.random.Generator) -> int:
        """Draws this step's size."""
        return draw_size(self._sizes[:-1], phase.size, self.settings.mixed_share, rng)

    def describe(self) -> dict[str, Any]:
        """The sizes that were drawn from; how often each came stands in ``steps_at_size``."""
        return {"sizes": self._sizes}
