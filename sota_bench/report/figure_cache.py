"""Figures that were drawn before, so that a finished run is shown at once: drawing is most of the time of a page.

A figure is kept under the digest of all that decides how it looks: its data and words, the code of this package, and
the drawing libraries. Nothing is unpickled: pickled bytes only name a figure.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from functools import cache
from importlib import metadata, resources
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.report.files import write_files
from sota_bench.report.parts import Chart
from sota_bench.report.svg import to_svg
from sota_bench.report.theme import drawing

NARROW = 316
"""Width of the drawing for phones, in CSS pixels."""

LIBRARIES = ("matplotlib", "seaborn", "numpy", "pandas")


def draw(chart: Chart) -> str:
    """The chart as SVG: one drawing, or one each for wide and narrow screens."""
    with drawing():
        if not chart.narrow:
            return to_svg(chart.draw(chart.width), chart.key, chart.title, chart.finding)
        wide = to_svg(chart.draw(chart.width), chart.key, chart.title, chart.finding, "wide")
        return wide + to_svg(chart.draw(NARROW), f"{chart.key}-n", chart.title, chart.finding, "narrow")


class FigureCache:
    """The figures of one run's page, in a file of the user's cache.

    Args:
        file: where they are kept; None keeps nothing.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._kept = _read(file) if file is not None else {}
        self._used: dict[str, str] = {}

    def get(self, chart: Chart) -> str:
        """The chart as SVG, drawn only where it is not kept."""
        if self.file is None:
            return draw(chart)
        key = chart_key(chart)
        svg = self._kept.get(key) or draw(chart)
        self._used[key] = svg
        return svg

    def save(self) -> None:
        """Keep the figures that were asked for, and no others; a folder that cannot be written is left alone."""
        if self.file is None or self._used == self._kept:
            return
        text = json.dumps({key: [_digest(svg.encode()), svg] for key, svg in self._used.items()}, ensure_ascii=False)
        try:
            write_files(self.file.parent, {self.file.name: text})
        except UserError:
            return


def figures_file(store: Path, name: str) -> Path:
    """Where the figures of the run of that name are kept: in the user's cache, since the page shows them as they are
    and a store may come from somebody else."""
    from platformdirs import user_cache_path

    run = _digest(f"{store.absolute()}: {name}".encode())[:16]
    return user_cache_path("sota_bench") / "figures" / f"{run}.json"


def chart_key(chart: Chart) -> str:
    """Digest of all that decides how a chart looks."""
    content = (chart.key, chart.title, chart.finding, chart.width, chart.narrow, chart.draw)
    return _digest(_code().encode() + pickle.dumps(content, protocol=5))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def _code() -> str:
    """Digest of this package's code and the versions of what draws."""
    root = resources.files("sota_bench.report")
    files = sorted(
        (file for folder in (root, root / "sections") for file in folder.iterdir() if file.name.endswith(".py")),
        key=lambda file: file.name,
    )
    versions = [sys.version, *(metadata.version(name) for name in LIBRARIES)]
    return _digest(json.dumps([versions, [file.read_text("utf-8") for file in files]]).encode())


def _read(file: Path) -> dict[str, str]:
    """The figures of a file, without those that do not match their digest."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {key: svg for key, (digest, svg) in kept.items() if _digest(svg.encode()) == digest}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
