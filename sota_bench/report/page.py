"""The whole page: every section that the grid asks for, in one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from sota_bench.report.parts import Chart, Section
from sota_bench.report.sections import order
from sota_bench.report.tables import RunTables
from sota_bench.report.text import minutes, plural
from sota_bench.report.theme import drawing, to_svg
from sota_bench.report.verdicts import effects
from sota_bench.report.view import View

NARROW = 316


def render(tables: RunTables, analysis: Any) -> str:
    """One run as a page that opens from disk, needs no network and no script.

    Args:
        tables: what the ledger holds.
        analysis: the ``Analysis`` of accuracy over the trials, in percentage points.

    Returns:
        HTML; the same tables and analysis give the same bytes.
    """
    view = View(tables, analysis)
    return fill(order.head(view), order.build(view))


def render_side_by_side(runs: Sequence[tuple[str, RunTables, Any]]) -> str:
    """Several runs on one page: what differs between their grids, then the verdicts beside each other.

    Args:
        runs: name, tables and analysis of each run; names tell them apart, so they are made unique by their order.
    """
    from sota_bench.report.side_by_side import compare

    head, body = compare([(name, View(tables, analysis)) for name, tables, analysis in runs])
    return fill(head, body)


def summary_lines(tables: RunTables, analysis: Any) -> list[str]:
    """The verdict sentences and the totals, for the end of a run in a terminal."""
    view = View(tables, analysis)
    counts, measured = view.run["counts"], view.run["measured"]
    found = effects(view)
    lines = [f"{effect.sign} {effect.sentence}" for effect in found]
    if not found:
        lines = [str(warning) for warning in analysis.warnings] or ["No contrast: the grid varies nothing."]
    counted = [f"{plural(counts['done'], 'trial')} done"]
    counted += [
        f"{counts[key]} {key.replace('_', ' ')}" for key in ("failed", "blocked", "not_applicable") if counts[key]
    ]
    median, goal = measured.get("iteration_minutes_median"), view.run["goal_minutes"]
    against = "" if goal is None else f" (goal {minutes(goal)})"
    return [
        *lines,
        f"{', '.join(counted)}; {minutes(median)} per iteration{against}, "
        f"{minutes(measured.get('run_minutes'))} in all.",
    ]


def fill(head: dict[str, Any], body: Sequence[Section]) -> str:
    """The templates with a head and sections in them; figures are drawn here, one by one."""
    with drawing():
        return str(_environment().get_template("page.html").render(head=head, sections=body))


def figure(chart: Chart) -> str:
    """The chart as SVG: one drawing, or one each for wide and narrow screens."""
    if not chart.narrow:
        return to_svg(chart.draw(chart.width), chart.key, chart.title, chart.finding)
    wide = to_svg(chart.draw(chart.width), chart.key, chart.title, chart.finding, "wide")
    return wide + to_svg(chart.draw(NARROW), f"{chart.key}-n", chart.title, chart.finding, "narrow")


@cache
def _environment() -> Any:
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
    environment.globals["style"] = Markup(folder.joinpath("style.css").read_text("utf-8"))
    environment.globals["script"] = Markup(folder.joinpath("script.js").read_text("utf-8"))
    environment.globals["figure"] = lambda chart: Markup(figure(chart))
    return environment
