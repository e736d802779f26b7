"""Grids written to a temporary folder, and a technique file beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sota_bench.grid import Grid, load

Write = Callable[[str], Path]
Load = Callable[..., Grid]

TECHNIQUE = '''
"""Two techniques for tests: one that needs a rise, one with settings that must agree."""
from pydantic import field_validator
from sota_bench.technique import Card, Settings, Technique, TrainsBaseModel, setting

CARD = Card(name="n", claim="c", response="accuracy", why="w", paper="p", defaults="d", cost="c", fails="f")


class AnchorSettings(Settings):
    anchor: str = setting("off", "holds the weights", scope="rise", levels=("off", "on"))
    anchor_classes: tuple[str, ...] | int = setting(0, "classes by name or number", scope="data")

    @field_validator("anchor", mode="before")
    @classmethod
    def _switch(cls, value):
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class Anchor(Technique):
    name, field, off, applies_to, card, settings_type = "anchor", "anchor", "off", "rise", CARD, AnchorSettings

    def problem(self):
        return "anchor needs a dropout; set recipe.dropout" if self.recipe.dropout == 0.5 else None


class WarmStartSettings(Settings):
    warm_start: bool = setting(False, "trains a base first", scope="train")

    @field_validator("warm_start")
    @classmethod
    def _switch(cls, value):  # the same name as above, which must not shadow it
        return value


class WarmStart(Technique, TrainsBaseModel):
    name, field, off, card, settings_type = "warm-start", "warm_start", False, CARD, WarmStartSettings

    def base_phases(self):
        return ()
'''


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes ``grid.toml`` and answers its path."""

    def write_grid(text: str) -> Path:
        path = tmp_path / "grid.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_grid


@pytest.fixture
def read(write: Write) -> Load:
    """Loads a grid from its text."""

    def read_grid(text: str, *overrides: str, **options: object) -> Grid:
        return load(write(text), overrides, **options)  # type: ignore[arg-type]

    return read_grid


@pytest.fixture
def technique(tmp_path: Path) -> str:
    """The line of ``[grid]`` that names the technique file."""
    (tmp_path / "anchor.py").write_text(TECHNIQUE, encoding="utf-8")
    return 'techniques = ["anchor.py"]\n'
