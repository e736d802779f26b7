"""Discriminative fine-tuning: after the resolution rises, the earlier a block, the slower it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    from sota_bench.technique import CoreRecipe, Phase


def block_scales(blocks: int, factor: float) -> list[float]:
    """``eta_(l-1) = eta_l / factor``: a scale per block, from the stem to the head, whose own is 1.

    Howard and Ruder 2018, section 3.2.

    Args:
        blocks: how many there are.
        factor: at least 1.
    """
    return [factor ** -(blocks - 1 - index) for index in range(blocks)]


class DiscriminativeSettings(Settings):
    discriminative_factor: float = setting(
        2.6, "ratio of the learning rates of a block and the one before it, with `discriminative`", scope="rise",
        ge=1, le=100,
    )  # fmt: skip


class Discriminative(Technique[DiscriminativeSettings]):
    name = "discriminative"
    field = "mitigation"
    level = "discriminative"
    applies_to = "rise"
    is_mitigation = True
    settings_type = DiscriminativeSettings
    card = Card(
        name="Discriminative learning rates",
        claim="Keeps early features nearly as they were while late blocks adapt at full speed.",
        response="stability",
        why="Blocks hold more and more specific features from the stem to the head, and the specific ones must "
        "change most. A soft form of freezing: nothing stops learning altogether.",
        paper="Howard and Ruder 2018, Universal Language Model Fine-tuning for Text Classification, section 3.2 "
        "(https://arxiv.org/abs/1801.06146)",
        defaults="2.6 per block, from the paper. It was tuned for networks of a few blocks; for transformers of 12 "
        "blocks and more a layer decay of 0.65 to 0.9 is usual, which is a factor of 1.1 to 1.5.",
        cost="None.",
        fails="Like freezing, it fails if early filters must change; with many blocks a factor of 2.6 nearly freezes "
        "the stem.",
    )

    def __init__(self, recipe: CoreRecipe) -> None:
        super().__init__(recipe)
        self._scales: list[float] = []

    def on_phase_start(self, phase: Phase) -> None:
        """Scales the learning rate of each block."""
        self._scales = block_scales(len(phase.blocks), self.settings.discriminative_factor)
        for block, scale in zip(phase.blocks, self._scales, strict=True):
            phase.scale_learning_rate(scale, block)

    def describe(self) -> dict[str, Any]:
        """The scale of each block's learning rate, from the stem to the head."""
        return {"scales": [round(scale, 8) for scale in self._scales]}
