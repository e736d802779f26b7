"""The schedule that a cell trains where cells are compared at equal cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class MatchedSchedule:
    """The schedule of one cell at equal cost.

    Attributes:
        written: its resize schedule as the grid has it.
        schedule: the one that it trains.
        cost_written, cost: of one training with each, in minutes or floating-point operations.
        budget: the cost of the baseline's training.
    """

    written: str
    schedule: str
    cost_written: float
    cost: float
    budget: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MatchedSchedule:
        """From the values that :meth:`to_json` made.

        Raises:
            TypeError: they are not those of a matched schedule.
        """
        return cls(**values)
