"""Resolution schedules as people write them: ``"64x3 128x2"`` is 3 epochs at 64 px, then 2 at 128 px."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

MIN_SIZE, MAX_SIZE, MAX_EPOCHS, MAX_PHASES = 8, 2048, 10_000, 64
_PHASE = re.compile(r"([0-9]{1,5})\s*[xX×]\s*([0-9]{1,6})")
_BETWEEN = re.compile(r"(?:\s|,|;|->|→)+")
_EXAMPLE = 'write for example "64x3 128x2" (3 epochs at 64 px, then 2 at 128 px)'


@dataclass(frozen=True)
class SizePhase:
    """``epochs`` passes over the training images at ``size`` x ``size`` pixels."""

    size: int
    epochs: int

    def __str__(self) -> str:
        return f"{self.size}x{self.epochs}"


@lru_cache(maxsize=4096)
def parse_schedule(text: str) -> tuple[SizePhase, ...]:
    """Reads a schedule; phases are separated by blanks, commas, semicolons or arrows.

    Raises:
        ValueError: it is empty, a part is not ``SIZExEPOCHS``, or a number is out of range.
    """
    # "64 x 3" is one phase: blanks around the x are taken out before blanks separate phases.
    joined = re.sub(r"(?<=[0-9])\s*([xX×])\s*(?=[0-9])", r"\1", text)
    parts = [part for part in _BETWEEN.split(joined) if part]
    if not parts:
        raise ValueError(f"an empty schedule trains nothing; {_EXAMPLE}")
    if len(parts) > MAX_PHASES:
        raise ValueError(f"{len(parts)} phases are more than {MAX_PHASES}; write fewer phases")
    return tuple(_phase(part) for part in parts)


def _phase(part: str) -> SizePhase:
    match = _PHASE.fullmatch(part)
    if not match:
        raise ValueError(f"{part[:40]!r} is not SIZExEPOCHS; {_EXAMPLE}")
    size, epochs = int(match[1]), int(match[2])
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size {size} is out of range; write {MIN_SIZE} to {MAX_SIZE} px")
    if not 1 <= epochs <= MAX_EPOCHS:
        raise ValueError(f"{epochs} epochs is out of range; write 1 to {MAX_EPOCHS}")
    return SizePhase(size, epochs)


def schedule_text(value: object) -> object:
    """A schedule written as a list, ``["64x3", "128x2"]`` or ``[[64, 3], [128, 2]]``, as text; anything else as it is.

    Raises:
        ValueError: a part of the list is neither text nor a pair of whole numbers.
    """
    if not isinstance(value, list | tuple):
        return value
    parts = []
    for part in value:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, Sequence) and len(part) == 2 and all(type(number) is int for number in part):
            parts.append(f"{part[0]}x{part[1]}")
        else:
            raise ValueError(f'{str(part)[:40]!r} is not a phase; write "64x3" or [64, 3]')
    return " ".join(parts)


def format_schedule(phases: Sequence[SizePhase]) -> str:
    """The canonical text: parts joined by one blank."""
    return " ".join(str(phase) for phase in phases)


def rises(phases: Sequence[SizePhase]) -> bool:
    """Whether any phase has a higher resolution than all phases before it."""
    sizes = (phase.size for phase in phases)
    return any(after > before for before, after in itertools.pairwise(itertools.accumulate(sizes, max)))
