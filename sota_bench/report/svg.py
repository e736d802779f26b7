"""A matplotlib figure as inline SVG of the page: the page's colours, unique ids, a title for screen readers.

matplotlib's own SVG cannot stand in a page as it is: its colours do not follow dark mode, its ids (``figure_1``) come
again in the next figure, and it is half again as large.
"""

from __future__ import annotations

import html
import io
import re
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING, Any

from sota_bench.report.theme import Ink

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VARIABLES = {str(ink): f"var(--{ink.name.lower()})" for ink in Ink}
_STAND_IN = re.compile("|".join(_VARIABLES))
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"


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
    return {(href or url): f"{key}-{index}" for index, (href, url) in enumerate(used)}


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
