"""What a user says about how a data set is to be read, where its files alone do not say it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from sota_bench.errors import UserError

Role = Literal["train", "val", "test", "class", "skip"]
ROLES: tuple[str, ...] = get_args(Role)
FOLDERS = "folders"
"""The value of ``labels`` that takes class folders, whatever tables there are."""


def roles_key(roles: Mapping[str, str]) -> str:
    """``data.folders`` as a user writes it into a grid: ``data.folders = {"masks" = "skip"}``."""
    entries = ", ".join(f"{json.dumps(name, ensure_ascii=False)} = {json.dumps(role)}" for name, role in roles.items())
    return f"data.folders = {{{entries}}}"


@dataclass(frozen=True)
class ReadingOptions:
    """How to read a source; every field is a key of ``[data]`` and documented there.

    Attributes:
        root: folder inside the source in which the data set lies; "" to look for it.
        folders: folder name, or path below the root -> what it is: a split, a class, or nothing to read.
        labels: a table of labels inside the source, or ``folders``; "" to look for one.
        file_column, label_column, split_column: columns of that table; "" to look for them.
        group: a column of a table, or a pattern with parentheses on the path: what images of one split only share.
        pixel_range: the values that become black and white, of images with more than 8 bits; None to find them.
    """

    root: str = ""
    folders: Mapping[str, str] = field(default_factory=dict)
    labels: str = ""
    file_column: str = ""
    label_column: str = ""
    split_column: str = ""
    group: str = ""
    pixel_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name, role in self.folders.items():
            if role not in ROLES:
                raise UserError("data", f"folders.{name}", f"{role!r} is no role", f"write one of {', '.join(ROLES)}")
        if self.pixel_range is not None and not self.pixel_range[0] < self.pixel_range[1]:
            problem = f"{list(self.pixel_range)} does not rise"
            raise UserError("data", "pixel_range", problem, "write black before white, such as [0, 4095]")

    def to_json(self) -> dict[str, Any]:
        """The options that are set, as JSON values."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ReadingOptions:
        """The options of :meth:`to_json`."""
        pixel_range = values.get("pixel_range")
        return cls(**{**values, "pixel_range": tuple(pixel_range) if pixel_range else None})

    def role(self, name: str, path: str) -> str:
        """The role that was given to a folder, by its path below the root or by its name; "" where none was."""
        return self.folders.get(path, self.folders.get(name, ""))
