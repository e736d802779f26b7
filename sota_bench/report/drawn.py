"""Figures that were drawn before, filed under all that they are made of, so that a finished run is shown at once.

Drawing is most of the time that a page takes. A figure is a function of its data, its words, the code of this package
and a few libraries: under the digest of all of these its SVG is the one that would be drawn again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sota_bench.report.parts import Chart
from sota_bench.report.theme import drawing, to_svg

NARROW = 316
LIBRARIES = ("matplotlib", "seaborn", "numpy", "pandas")


def figure(chart: Chart) -> str:
    """The chart as SVG: one drawing, or one each for wide and narrow screens."""
    with drawing():
        if not chart.narrow:
            return to_svg(chart.draw(chart.width), chart.key, chart.title, chart.finding)
        wide = to_svg(chart.draw(chart.width), chart.key, chart.title, chart.finding, "wide")
        return wide + to_svg(chart.draw(NARROW), f"{chart.key}-n", chart.title, chart.finding, "narrow")


class Drawn:
    """The figures of one run's page.

    Args:
        file: where they are kept; None keeps nothing.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._known = _read(file) if file is not None else {}
        self._used: dict[str, str] = {}

    def get(self, chart: Chart) -> str:
        """The chart as SVG."""
        if self.file is None:
            return figure(chart)
        try:
            key = key_of(chart)
        except TypeError:
            return figure(chart)
        svg = self._known.get(key) or figure(chart)
        self._used[key] = svg
        return svg

    def save(self) -> None:
        """Keeps the figures that were asked for, and no others; a folder that cannot be written is left alone."""
        if self.file is None or self._used == self._known:
            return
        from sota_bench.errors import UserError
        from sota_bench.report.output import write_files

        text = json.dumps({key: [_digest(svg), svg] for key, svg in self._used.items()}, ensure_ascii=False)
        try:
            write_files(self.file.parent, {self.file.name: text})
        except UserError:
            return


def figures_file(store: Path, name: str) -> Path:
    """Where the figures of the run of that name are kept: in the user's cache, since the page shows them as they are
    and a store may come from elsewhere."""
    from platformdirs import user_cache_path

    return user_cache_path("sota_bench") / "figures" / f"{_digest(f'{store.absolute()}: {name}')[:16]}.json"


def key_of(chart: Chart) -> str:
    """Digest of all that decides how a chart looks."""
    draw = chart.draw
    arguments: list[Any] = []
    while isinstance(draw, partial):
        arguments += [*draw.args, draw.keywords]
        draw = draw.func
    said = [chart.key, chart.title, chart.finding, chart.width, chart.narrow]
    function = f"{draw.__module__}.{getattr(draw, '__qualname__', type(draw).__qualname__)}"
    return _digest(json.dumps([_made_by(), function, plain(said), plain(arguments)]))


def plain(value: Any) -> Any:
    """Nested lists of texts that are equal for equal values and differ for different ones.

    Raises:
        TypeError: for a type that this does not know.
    """
    if isinstance(value, pd.DataFrame):
        columns = [[repr(name), str(part.dtype), [repr(one) for one in part]] for name, part in value.items()]
        return ["frame", repr(value.index.names), [repr(one) for one in value.index], repr(value.columns.name), columns]
    if isinstance(value, np.ndarray):
        return ["array", str(value.dtype), list(value.shape), [repr(one) for one in value.ravel().tolist()]]
    if isinstance(value, Mapping):
        return ["mapping", [[plain(key), plain(item)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [plain(item) for item in value]]
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, [plain(getattr(value, field.name)) for field in fields(value)]]
    if value is None or isinstance(value, str | int | float | np.generic):
        return repr(value)
    raise TypeError(f"no text stands for {type(value).__name__}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _made_by() -> str:
    """Digest of this package's code and the versions of what draws."""
    root = resources.files("sota_bench.report")
    code = [part.read_text("utf-8") for folder in (root, root / "sections") for part in _modules(folder)]
    return _digest(json.dumps([sys.version, *(metadata.version(name) for name in LIBRARIES), *code]))


def _modules(folder: Any) -> list[Any]:
    return sorted((part for part in folder.iterdir() if part.name.endswith(".py")), key=lambda part: part.name)


def _read(file: Path) -> dict[str, str]:
    """What the file holds, without what does not match its digest."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {key: svg for key, (digest, svg) in found.items() if _digest(svg) == digest}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
