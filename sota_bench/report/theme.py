"""Figures that follow the page: drawn with stand-in colours, which become CSS variables in the finished SVG.

matplotlib knows no ``var(--ink)``. So each role has a stand-in colour that nothing else uses, and ``to_svg`` swaps it
in the ``style`` attributes. One drawing then serves light, dark and print.
"""

from __future__ import annotations

import html
import io
import re
import xml.etree.ElementTree as ElementTree
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
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 2)), (0, (3, 1)))
TONES = {"good": Ink.GOOD, "bad": Ink.BAD, "flat": Ink.FLAT, "unknown": Ink.SOFT, "none": Ink.SOFT}
_VARIABLES = {str(ink): f"var(--{ink.name.lower()})" for ink in Ink}
_STAND_IN = re.compile("|".join(_VARIABLES))
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"
FONT = 12.5


def styles(count: int) -> list[tuple[Ink, str, Any]]:
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


def to_svg(figure: Figure, key: str, title: str, finding: str, css: str = "") -> str:
    """The figure as inline SVG: themed, small, with a title and a description, and ids that start with ``key``."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # Lay out once and keep it: savefig would do so at every pass, which is most of its time.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    buffer = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(buffer.getvalue())
    names = _names(root, key)
    box = root.get("viewBox", "0 0 1 1")
    body = "".join(_element(child, names) for child in root)
    width = box.split()[2]
    return (
        f'<svg class="plot {css}" viewBox="{box}" width="{float(width):.0f}" role="img" '
        f'aria-labelledby="{key}-t {key}-d"><title id="{key}-t">{html.escape(title)}</title>'
        f'<desc id="{key}-d">{html.escape(finding)}</desc>{body}</svg>'
    )


def _names(root: ElementTree.Element, key: str) -> dict[str, str]:
    """New ids for the elements that something refers to, in the order of the file."""
    text = ElementTree.tostring(root, encoding="unicode")
    used = dict.fromkeys(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    return {(one or other): f"{key}-{index}" for index, (one, other) in enumerate(used)}


def _element(element: ElementTree.Element, names: dict[str, str]) -> str:
    tag = element.tag.removeprefix(_SVG)
    if tag in ("metadata", "style") or not isinstance(element.tag, str):
        return ""
    inside = html.escape(
        (element.text or "").strip() if tag != "text" and tag != "tspan" else element.text or "", False
    )
    inside += "".join(_element(child, names) for child in element)
    attributes = _attributes(element, tag, names)
    if tag in ("g", "defs") and (not inside or (tag == "g" and not attributes)):
        return inside
    return f"<{tag}{attributes}>{inside}</{tag}>" if inside else f"<{tag}{attributes}/>"


def _attributes(element: ElementTree.Element, tag: str, names: dict[str, str]) -> str:
    kept = []
    for name, value in element.attrib.items():
        name, value = ("href" if name == _XLINK else name), " ".join(value.split())
        if name == "id":
            if value not in names:
                continue
            value = names[value]
        elif name in ("href", "clip-path"):
            value = re.sub(r"#([^)]+)", lambda match: "#" + names[match[1]], value)
        elif name == "style":
            value = _style(value)
        elif name == "transform" and value.startswith("rotate(-0 "):
            continue
        if name not in ("id", "href", "clip-path", "style"):
            value = _shorter(value)
        if value:
            kept.append(f' {name}="{html.escape(value)}"')
    return "".join(kept)


def _style(value: str) -> str:
    value = re.sub(r"font-family: [^;]+(; )?", "", value)
    value = re.sub(r"font: (?:(\d+|bold) )?([\d.]+px) [^;]+", r"font-size: \2; font-weight: \1", value)
    value = re.sub(r"; font-weight: (?=;|$)", "", value)
    value = _STAND_IN.sub(lambda match: _VARIABLES[match[0]], value)
    return _shorter(value).replace("; ", ";").replace(": ", ":").rstrip(";")


def _shorter(value: str) -> str:
    """Coordinates to a hundredth of a pixel, without trailing zeros."""
    return re.sub(r"-?\d+\.\d+", lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip(".") or "0", value).replace(
        "-0 ", "0 "
    )
