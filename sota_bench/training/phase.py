"""One training phase as techniques see it: the network, its blocks, and how fast each block learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sota_bench.technique import Forward
from sota_bench.training.blocks import Block, blocks_of


@dataclass
class Phase:
    """State of one phase.

    Attributes:
        size: pixels of this phase's images.
        epochs: passes over the training images.
        rise: the resolution is higher than before, or a base model is fine-tuned: mitigations act now.
        earlier_sizes: sizes trained at before, oldest first, each once.
        model: the network.
        start: where mitigations act, detached copies of the parameters as the phase before left them, by name (theta*
            of EWC); a new task's head is not among them. The same when a phase is resumed.
        computed: precompute results by technique name.
        teachers: by technique name, a teacher: images float32 [B, C, H, W] 0..255 to logits float32 [B, K], without
            gradient.
        blocks: the network from stem to head.
        learning_rate_scales: per block, a factor on the learning rate; 0 is frozen.
        statistics_fixed: batch norm uses and keeps the statistics that it came with.
    """

    size: int
    epochs: int
    rise: bool
    earlier_sizes: tuple[int, ...]
    model: nn.Module
    start: Mapping[str, Tensor] = field(default_factory=dict)
    computed: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    teachers: Mapping[str, Forward] = field(default_factory=dict)
    blocks: list[Block] = field(init=False)
    learning_rate_scales: list[float] = field(init=False)
    statistics_fixed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.blocks = blocks_of(self.model)
        self.learning_rate_scales = [1.0] * len(self.blocks)

    def freeze(self, block: Block) -> None:
        """No gradients for this block's parameters, and its batch-norm statistics and dropout stay as in evaluation."""
        self.learning_rate_scales[block.index] = 0.0
        parameters = dict(self.model.named_parameters())
        for name in block.parameters:
            parameters[name].requires_grad_(False)

    def fix_statistics(self) -> None:
        """Batch norm normalizes as in evaluation and keeps its statistics; its scale and offset are trained on."""
        self.statistics_fixed = True

    def scale_learning_rate(self, factor: float, block: Block | None = None) -> None:
        """Multiplies the learning rate of one block, or of all."""
        for index in [block.index] if block else range(len(self.blocks)):
            self.learning_rate_scales[index] *= factor

    def training_mode(self) -> None:
        """Training mode for all but what is frozen: batch norm ignores ``requires_grad``, so it must be told."""
        self.model.train()
        for module in self.model.modules():
            if self.statistics_fixed and isinstance(module, _BatchNorm):
                module.train(False)
        modules = dict(self.model.named_modules())
        for block in self.blocks:
            if self.learning_rate_scales[block.index] == 0.0:
                for name in block.modules:
                    modules[name].train(False)

    @contextmanager
    def statistics_kept(self) -> Iterator[None]:
        """Within it, batch norm normalizes by the batch as before, and its running statistics stay as they are."""
        tracking = [layer for layer in self._normalizing if layer.track_running_stats]
        for layer in tracking:
            layer.track_running_stats = False
        try:
            yield
        finally:
            for layer in tracking:
                layer.track_running_stats = True

    @cached_property
    def _normalizing(self) -> list[_BatchNorm]:
        return [module for module in self.model.modules() if isinstance(module, _BatchNorm)]
