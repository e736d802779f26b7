"""What all figures have in common: colours by role, fonts, markers, legends.

matplotlib knows no ``var(--ink)``, so each role has a stand-in colour that nothing else uses; ``svg.to_svg`` turns it
into the page's CSS variable. One drawing then serves light, dark and print.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import cycle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure


class Ink(StrEnum):
    """Stand-in colours by role; the name in lower case is the CSS variable."""

    INK = "#0b0101"
    SOFT = "#0b0202"
    LINE = "#0b0303"
    PAPER = "#0b0404"
    BAND = "#0b0505"
    GOOD = "#0b0606"
    BAD = "#0b0707"
    FLAT = "#0b0808"
    C1 = "#0c0101"
    C2 = "#0c0202"
    C3 = "#0c0303"
    C4 = "#0c0404"
    C5 = "#0c0505"
    C6 = "#0c0606"
    D0 = "#0d0101"
    D1 = "#0d0202"
    D2 = "#0d0303"
    D3 = "#0d0404"
    D4 = "#0d0505"
    D5 = "#0d0606"
    D6 = "#0d0707"
    D7 = "#0d0808"
    D8 = "#0d0909"


SERIES = (Ink.C1, Ink.C2, Ink.C3, Ink.C4, Ink.C5, Ink.C6)
MARKERS = ("o", "s", "^", "D", "v", "P")
LineStyle = str | tuple[float, tuple[float, ...]]
DASHES: tuple[LineStyle, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 2)), (0, (3, 1)))
TONES = {"good": Ink.GOOD, "bad": Ink.BAD, "flat": Ink.FLAT, "unknown": Ink.SOFT, "none": Ink.SOFT}
FONT = 12.5


def styles(count: int) -> list[tuple[Ink, str, LineStyle]]:
    """Colour, marker and dash for each of ``count`` series: told apart without colour too."""
    pool = zip(cycle(SERIES), cycle(MARKERS), cycle(DASHES), strict=False)
    return [style for _, style in zip(range(count), pool, strict=False)]


def diverging() -> ListedColormap:
    """Nine steps from hurts over zero to helps, for a symmetric range."""
    from matplotlib.colors import ListedColormap

    return ListedColormap([str(Ink[f"D{step}"]) for step in range(9)])


def sequential() -> ListedColormap:
    """Five steps from little to much."""
    from matplotlib.colors import ListedColormap

    return ListedColormap([str(Ink[f"D{step}"]) for step in range(4, 9)])


@contextmanager
def drawing() -> Iterator[None]:
    """The matplotlib settings that every figure shares; fixed, so that the same tables give the same bytes."""
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "sota_bench",
        "figure.dpi": 72,
        "savefig.dpi": 72,
        "font.size": FONT,
        "font.family": "DejaVu Sans",
        "axes.titlesize": FONT + 0.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 10,
        "axes.labelsize": FONT,
        "xtick.labelsize": FONT - 0.5,
        "ytick.labelsize": FONT - 0.5,
        "legend.fontsize": FONT - 0.5,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": str(Ink.SOFT),
        "axes.labelcolor": str(Ink.SOFT),
        "xtick.color": str(Ink.SOFT),
        "ytick.color": str(Ink.SOFT),
        "text.color": str(Ink.INK),
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "grid.color": str(Ink.LINE),
        "grid.linewidth": 1.0,
        "axes.axisbelow": True,
        "lines.linewidth": 2.0,
        "lines.markersize": 7,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "axes.linewidth": 1.0,
        "axes.unicode_minus": True,
        "path.simplify": True,
        "figure.constrained_layout.use": True,
    }
    with matplotlib.rc_context(settings):
        yield


def sheet(width: int, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """An empty figure of ``width`` x ``height`` CSS pixels, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72))
    if rows * columns > 1:
        figure.set_layout_engine("constrained", w_pad=8 / 72, h_pad=8 / 72)
    return figure, figure.subplots(rows, columns, **options)


def legend_above(figure: Figure, axes: Axes, width: int, columns: int = 3) -> None:
    """A legend over the plot, out of the data's way; long labels stand one under the other on a narrow drawing."""
    handles, labels = axes.get_legend_handles_labels()
    fits = width / (max(map(len, labels), default=1) * 7.5 + 50)
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=max(1, min(columns, int(fits))),
        handlelength=2.4,
        columnspacing=1.4,
        borderpad=0.2,
        borderaxespad=0.2,
    )


def short(text: str, width: int, share: float = 0.4) -> str:
    """A label that takes at most ``share`` of a drawing of ``width`` pixels; the table beside it has the whole text."""
    most = max(8, int(width * share / 7))
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def name_y(axes: Axes, text: str) -> None:
    """The name of the vertical axis, written horizontally above it, where it can be read."""
    axes.set_title(text, fontsize=FONT, fontweight="normal", color=str(Ink.SOFT))
