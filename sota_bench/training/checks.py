"""Checks of what techniques return, at the first batch that each of them acts on: a mistake in a technique is named as
one, instead of ending as a loss that is no number."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sota_bench.stages.protocol import Diverged
from sota_bench.technique import Technique

ROW_TOLERANCE = 1e-3
"""By how much the sum of a row of targets may differ from 1: far more than float32 rounds."""


class FirstResults:
    """Checks the first result of each technique in each hook; later ones would make a GPU wait."""

    def __init__(self) -> None:
        self._checked: set[tuple[str, str]] = set()

    def targets(self, technique: Technique, hook: str, before: Tensor, after: Tensor) -> None:
        """Checks targets.

        Args:
            technique: whose they are.
            hook: that returned them.
            before: float32 [B, K], what it was given.
            after: what it returned.

        Raises:
            ValueError: they have another shape or type, are not finite, or a row does not sum to 1.
        """
        if not self._is_first(technique, f"{hook} targets"):
            return
        _check_like(technique, hook, "targets", before, after)
        sums = after.sum(dim=1)
        if (sums - 1).abs().max().item() > ROW_TOLERANCE:
            spread = f"{sums.min().item():.4g} to {sums.max().item():.4g}"
            raise _mistake(technique, hook, f"targets whose rows sum to {spread}", "each row is a probability vector")

    def images(self, technique: Technique, hook: str, before: Tensor, after: Tensor) -> None:
        """Checks images.

        Args:
            technique: whose they are.
            hook: that returned them.
            before: float32 [B, C, H, W], what it was given.
            after: what it returned.

        Raises:
            ValueError: they have another shape or type, or are not finite.
        """
        if self._is_first(technique, f"{hook} images"):
            _check_like(technique, hook, "images", before, after)

    def loss(self, technique: Technique, loss: Tensor) -> None:
        """Checks a loss.

        Args:
            technique: whose it is.
            loss: what it returned.

        Raises:
            ValueError: it is no finite scalar.
        """
        if not self._is_first(technique, "loss"):
            return
        if loss.ndim:
            raise _mistake(technique, "loss", f"a loss of shape {list(loss.shape)}", "return one number, a mean")
        if not torch.isfinite(loss).item():
            raise _mistake(technique, "loss", f"a loss that is {loss.item()}", "a loss must be finite")

    def _is_first(self, technique: Technique, what: str) -> bool:
        key = (technique.name, what)
        if key in self._checked:
            return False
        self._checked.add(key)
        return True


def _check_like(technique: Technique, hook: str, what: str, before: Tensor, after: Tensor) -> None:
    if after.shape != before.shape:
        shapes = f"{what} of shape {list(after.shape)} for {list(before.shape)}"
        raise _mistake(technique, hook, shapes, "shapes must stay")
    if after.dtype != torch.float32:
        raise _mistake(technique, hook, f"{what} of type {after.dtype}", "return float32")
    if not torch.isfinite(after).all().item():
        raise _mistake(technique, hook, f"{what} that are not finite", "look for a division by 0")


def _mistake(technique: Technique, hook: str, problem: str, remedy: str) -> ValueError:
    return ValueError(f"the technique {technique.name} returned {problem} from {hook}; {remedy}")


def check_loss(loss_sum: Tensor, epoch: int, step: int) -> None:
    """Waits for the loss and looks at it.

    Raises:
        Diverged: it is not finite.
    """
    if not torch.isfinite(loss_sum).item():
        raise Diverged(f"the loss is {loss_sum.item()} in epoch {epoch + 1}, by step {step + 1}; try a smaller lr")


def check_weights(model: nn.Module) -> None:
    """Looks at the weights after the last step, which may spoil them after the last loss has been seen.

    Raises:
        Diverged: one is not finite.
    """
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all().item():
            raise Diverged(f"{name} is not finite after the last step; try a smaller lr")
