"""The whole page: every section that the grid asks for, in one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from sota_bench.report.drawn import Drawn
from sota_bench.report.parts import Section
from sota_bench.report.sections import order
from sota_bench.report.tables import RunTables
from sota_bench.report.text import join, minutes, plural
from sota_bench.report.verdicts import effects, level_by_level
from sota_bench.report.view import View


def render(tables: RunTables, analysis: Any, drawn: Drawn | None = None) -> str:
    """One run as a page that opens from disk, needs no network and no script.

    Args:
        tables: what the ledger holds.
        analysis: the ``Analysis`` of accuracy over the trials, in percentage points.
        drawn: figures from before, which need not be drawn again; none by default.

    Returns:
        HTML; the same tables and analysis give the same bytes.
    """
    view = View(tables, analysis)
    return fill(order.head(view), order.build(view), drawn)


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
    lines, flat = [], dict[str, None]()
    for effect in found:
        below = level_by_level(view, effect)
        if effect.diluted_by and not effect.demoted_by and below:  # the report has the average too
            lines += [f"{one.sign} {one.sentence}" for one in below]
            flat.update(dict.fromkeys(effect.diluted_by))
        else:
            lines.append(f"{effect.sign} {effect.sentence}")
            lines += [f"    {one.sign} {one.sentence}" for one in below]
    if flat:
        lines.append(f"With {join(list(flat))} nothing else matters: the other factors are read at the other levels.")
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


def fill(head: dict[str, Any], body: Sequence[Section], drawn: Drawn | None = None) -> str:
    """The templates with a head and sections in them; figures are drawn here, one by one."""
    template = _environment().get_template("page.html")
    return str(template.render(head=head, sections=body, drawn=drawn or Drawn()))


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
    environment.filters["raw"] = Markup
    return environment
