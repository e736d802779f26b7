"""The text of a grid in which every recipe field is written out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sota_bench.grid.template import toml_value
from sota_bench.stages.values import Json


@dataclass(frozen=True)
class GridFile:
    """A grid of few cells.

    Attributes:
        comments: lines at its top.
        name: of the grid.
        seeds: of its trials.
        files: local technique files.
        data: the table ``[data]``; values that are empty are left out.
        recipe: every recipe field.
        levels: factor -> its levels, the baseline first.
        notes: recipe field -> a comment on it.
        vary: what differs from seed to seed; none for the default.
    """

    comments: Sequence[str]
    name: str
    seeds: Sequence[int]
    files: Sequence[Path]
    data: Mapping[str, Json]
    recipe: Mapping[str, Json]
    levels: Mapping[str, Sequence[Json]]
    notes: Mapping[str, str]
    vary: Sequence[str] = ()

    def text(self) -> str:
        """The file."""
        return "\n".join(self._lines()).rstrip() + "\n"

    def _lines(self) -> Iterator[str]:
        yield from (f"# {comment}".rstrip() for comment in self.comments)
        yield from ("", "[grid]", f"name = {toml_value(self.name[:64])}", f"seeds = {toml_value(list(self.seeds))}")
        if self.vary:
            yield f"vary = {toml_value(list(self.vary))}"
        if self.files:
            yield f"techniques = {toml_value([str(file) for file in self.files])}"
        yield from ("", "[data]")
        yield from (f"{name} = {toml_value(value)}" for name, value in self.data.items() if value)
        yield from ("", "[recipe]")
        for name, value in self.recipe.items():
            if name not in self.levels:
                note = f"  # {self.notes[name]}" if name in self.notes else ""
                yield f"{name} = {toml_value(value)}{note}"
        yield from ("", "[factors]")
        for name, levels in self.levels.items():
            note = f"  # {self.notes[name]}" if name in self.notes else ""
            yield f"{name} = {toml_value(list(levels))}{note}"
