"""The whole page: every section that the grid asks for, in one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from sota_bench.report.answers import Answers
from sota_bench.report.figure_cache import FigureCache
from sota_bench.report.parts import Head, Section
from sota_bench.report.sections import order
from sota_bench.report.tables import RunTables
from sota_bench.report.view import View

if TYPE_CHECKING:
    from jinja2 import Environment


def render(tables: RunTables, answers: Answers, figures: FigureCache | None = None) -> str:
    """One run as a page that opens from disk, needs no network and no script.

    Args:
        tables: what the ledger holds.
        answers: the analyses of its trials.
        figures: figures from before, which need not be drawn again; none by default.

    Returns:
        HTML; the same tables and analyses give the same bytes.
    """
    view = View(tables, answers)
    return fill(order.head(view), order.build(view), figures)


def fill(head: Head, sections: Sequence[Section], figures: FigureCache | None = None) -> str:
    """The templates with a head and sections in them; figures are drawn here, one by one."""
    template = _environment().get_template("page.html")
    return template.render(head=head, sections=sections, figures=figures or FigureCache())


def stylesheet() -> str:
    """The CSS that all pages share: colours for light and dark, type and tables."""
    return resources.files("sota_bench.report").joinpath("templates", "style.css").read_text("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("sota_bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = resources.files("sota_bench.report").joinpath("templates")
    environment.globals["style"] = Markup(stylesheet())
    environment.globals["script"] = Markup(folder.joinpath("script.js").read_text("utf-8"))
    environment.filters["raw"] = Markup
    return environment
