"""Has a training levelled off? The share of the loss's whole fall that the last epoch brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.01
"""A loss has levelled off where its last epoch brought at most this share of its whole fall."""


@dataclass(frozen=True)
class LastEpoch:
    """What the last epoch did to the training loss.

    Attributes:
        share: its fall as a share of the whole fall; negative where the loss rose.
        percent: its fall in percent of the loss before it.
    """

    share: float
    percent: float

    @property
    def levelled_off(self) -> bool:
        """Whether the last epoch changed next to nothing."""
        return abs(self.share) <= LEVEL

    @property
    def still_falling(self) -> bool:
        """Whether the loss still fell noticeably."""
        return self.share > LEVEL


def last_epoch(curve: pd.DataFrame) -> LastEpoch | None:
    """The last epoch of a mean learning curve.

    Args:
        curve: one row per epoch and seed, with ``epoch`` and ``loss``.

    Returns:
        None for two epochs or fewer, or a loss that did not fall.
    """
    loss = curve.groupby("epoch")["loss"].mean().sort_index()
    if len(loss) < 3 or not loss.iloc[0] > loss.iloc[-1]:
        return None
    share = (loss.iloc[-2] - loss.iloc[-1]) / (loss.iloc[0] - loss.iloc[-1])
    return LastEpoch(float(share), 100 * float(1 - loss.iloc[-1] / loss.iloc[-2]))
