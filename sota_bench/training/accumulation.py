"""Gradient accumulation where memory runs out: the same batch in smaller parts, until a part fits.

The images and targets of a step are drawn, mixed and normalized as one batch in any case. Each part's loss counts with
its share of the batch, so the gradient is that of the whole batch but for the order of sums. Such a training is marked,
since two things do differ: batch norm takes its statistics from each part (and moves its running ones once a part), and
dropout draws its masks a part at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from types import TracebackType

import torch
from torch import Tensor, nn

from sota_bench.errors import ran_out_of_memory


class Accumulation:
    """The parts that the batches of one phase are computed in.

    Args:
        model: the network; its buffers are restored when an attempt fails.
        micro_batch: most images of a part, as an earlier part of the phase found them to fit; 0 for the whole batch.
        allowed: whether a batch may be computed in parts at all.
    """

    def __init__(self, model: nn.Module, micro_batch: int, allowed: bool) -> None:
        self.micro_batch = micro_batch
        self.shrank = False
        self._model, self._allowed = model, allowed
        self._images, self._fits = 0, True
        normalizes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
        self._smallest = 2 if normalizes else 1
        self._buffers = list(model.buffers())
        self._saved: list[Tensor] = []

    def attempts(self, pixels: Tensor) -> Iterator[Accumulation]:
        """Yields a context manager for each attempt at a step, until one fits.

        Args:
            pixels: [B, C, H, W], the whole batch.

        Raises:
            Exception: what the last attempt raised, when no smaller part is left or memory was not the cause.
        """
        self._images = len(pixels)
        self.shrank, self._fits = False, False
        while not self._fits:
            yield self

    def parts(self) -> list[tuple[slice, float]]:
        """Returns where each part of the batch lies, and its share of the batch."""
        count = 1
        if self.micro_batch:
            count = min(-(-self._images // self.micro_batch), max(1, self._images // self._smallest))
        edges = [self._images * part // count for part in range(count + 1)]
        return [(slice(first, end), (end - first) / self._images) for first, end in pairwise(edges)]

    def __enter__(self) -> None:
        # In every step, since memory also runs out where a batch of the same shape has fitted before. Batch norm's
        # buffers are small, and copied by one call.
        if not self._allowed or not self._buffers:
            return
        if self._saved:
            torch._foreach_copy_(self._saved, self._buffers)
        else:
            self._saved = [buffer.clone() for buffer in self._buffers]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self._fits = True
            return False
        largest = max(part.stop - part.start for part, _ in self.parts())
        if not (self._allowed and ran_out_of_memory(error) and largest // 2 >= self._smallest):
            return False
        self.micro_batch, self.shrank = largest // 2, True
        self._model.zero_grad()
        for buffer, before in zip(self._buffers, self._saved, strict=True):
            buffer.copy_(before)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return True
