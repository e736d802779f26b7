"""What differs from seed to seed: the sources of chance that a grid varies, and the seed of each one in a trial."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Source = Literal["init", "order", "augment", "split"]
SOURCES: tuple[Source, ...] = get_args(Source)

FIXED = 0
"""The seed of every source of chance that a grid does not vary."""

MEANING: dict[Source, str] = {
    "init": "initial weights",
    "order": "the order of the training images",
    "augment": "crops, flips, dropout and the random draws of techniques",
    "split": "the split into training and selection images",
}


class Draws(NamedTuple):
    """The seed of each source of chance in one trial.

    Attributes:
        init: of the initial weights, and of the head of a new task.
        order: of the order of the images in each epoch.
        augment: of everything else that training and random views draw.
        split: of the division into images that train and images that choose; None for that of the data set.
    """

    init: int
    order: int
    augment: int
    split: int | None

    @classmethod
    def of(cls, seed: int, vary: tuple[Source, ...]) -> Draws:
        """Those of a trial's seed: it is that of the sources that vary, and the others have ``FIXED``."""
        init, order, augment = (seed if source in vary else FIXED for source in SOURCES[:3])
        return cls(init, order, augment, seed if "split" in vary else None)
