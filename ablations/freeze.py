"""Freeze: after the resolution rises, or when a base model is fine-tuned, train only the last blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sota_bench.technique import Card, ChecksNetwork, NetworkFacts, Settings, Technique, setting

if TYPE_CHECKING:
    from sota_bench.technique import CoreRecipe, Phase


Block = TypeVar("Block")


def frozen_blocks(blocks: Sequence[Block], trained: int) -> list[Block]:
    """All blocks but the last ``trained``.

    Args:
        blocks: from the stem to the head.
        trained: how many go on learning, the head being one of them.

    Raises:
        ValueError: nothing would be frozen.
    """
    if trained >= len(blocks):
        raise ValueError(
            f"freeze_trained = {trained} freezes nothing: this network has {len(blocks)} blocks with its head; "
            f"use 1 to {len(blocks) - 1}"
        )
    return list(blocks[: len(blocks) - trained])


class FreezeSettings(Settings):
    freeze_trained: int = setting(
        2, "number of last blocks (stages or transformer blocks; the head is one) that are trained, with `freeze`",
        scope="rise", ge=1, le=1000,
    )  # fmt: skip


class Freeze(Technique[FreezeSettings], ChecksNetwork):
    name = "freeze"
    field = "mitigation"
    level = "freeze"
    applies_to = "rise"
    is_mitigation = True
    settings_type = FreezeSettings
    card = Card(
        name="Freezing of early blocks",
        claim="Early features stay exactly as they were, and each step is cheaper.",
        response="stability",
        why="Early blocks hold edges and textures that serve every task; what must change sits near the head. A "
        "frozen block has no gradients, and its batch-norm statistics and dropout stay as in evaluation: otherwise "
        "batch-norm statistics would drift towards the new images although the weights are frozen.",
        paper="Yosinski, Clune, Bengio and Lipson 2014, How transferable are features in deep neural networks? "
        "(https://arxiv.org/abs/1411.1792)",
        defaults="The head and the block before it are trained.",
        cost="None; no backward pass through frozen blocks, so steps take about half the time.",
        fails="When the new resolution shows details that early filters have never seen, they cannot learn them.",
    )

    def __init__(self, recipe: CoreRecipe) -> None:
        super().__init__(recipe)
        self._frozen: list[int] = []

    def network_problem(self, network: NetworkFacts) -> str | None:
        """A network with too few blocks to freeze any."""
        try:
            frozen_blocks(range(network.blocks), self.settings.freeze_trained)
        except ValueError as error:
            return str(error)
        return None

    def on_phase_start(self, phase: Phase) -> None:
        """Freezes all but the last blocks."""
        frozen = frozen_blocks(phase.blocks, self.settings.freeze_trained)
        for block in frozen:
            phase.freeze(block)
        self._frozen = [block.index for block in frozen]

    def describe(self) -> dict[str, Any]:
        """Indices of the frozen blocks; 0 is the stem."""
        return {"frozen_blocks": self._frozen}
