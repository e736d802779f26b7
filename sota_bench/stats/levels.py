"""Factor levels: what counts as the same level, in which order, and which of them are numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Where only a factor's name is given, a level that says "without" is the baseline.
OFF = ("false", "off", "0")


@dataclass(frozen=True)
class Factor:
    """One factor with its levels in order, the first being the baseline.

    Attributes:
        name: its column.
        levels: labels as they are shown.
        within: whether its levels are evaluations of one and the same run.
    """

    name: str
    levels: tuple[str, ...]
    within: bool = False

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The levels as distinct numbers, or None where one of them is not a number."""
        if not all(NUMBER.fullmatch(level) for level in self.levels):
            return None
        return tuple(float(level) for level in self.levels)


def is_missing(value: object) -> bool:
    """Whether a table's entry is empty: the factor does not apply to that row."""
    if value is None:
        return True
    try:
        return bool(value != value) or str(value) in ("", "<NA>", "NaT")
    except TypeError:  # pandas.NA has no truth value
        return True


def key(value: object) -> Hashable:
    """What two spellings of one level share: ``0``, ``0.0`` and ``"0"`` are one level, and ``True`` is ``"true"``."""
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    if NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def label(value: object) -> str:
    """A level as it is shown: booleans as in TOML, anything else as its text."""
    text = str(value).strip()
    return text.lower() if text in ("True", "False") else text


def ordered(values: Iterable[object]) -> tuple[str, ...]:
    """Distinct levels in the order of their first appearance, one that says off, false or 0 first."""
    first: dict[Hashable, str] = {}
    for value in values:
        first.setdefault(key(value), label(value))
    off = {key(word) for word in OFF}
    return tuple(text for _, text in sorted(first.items(), key=lambda item: item[0] not in off))


def distinct(values: Sequence[object]) -> tuple[str, ...]:
    """Given levels as labels, in their own order, each once."""
    first: dict[Hashable, str] = {}
    for value in values:
        first.setdefault(key(value), label(value))
    return tuple(first.values())
