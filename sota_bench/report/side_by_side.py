"""Several runs on one page: what differs between their grids, the totals, and each contrast in every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from sota_bench.report.answers import Answers
from sota_bench.report.effects import Effect, effects, typeset
from sota_bench.report.page import fill
from sota_bench.report.parts import Block, Cell, Chart, Facts, Head, Listing, Prose, Section, Table
from sota_bench.report.run_record import RunRecord
from sota_bench.report.sections.order import CONTROL
from sota_bench.report.tables import RunTables
from sota_bench.report.text import MISSING, duration, finite, first_of, interval, measured
from sota_bench.report.theme import Ink, legend_above, sheet, short, styles
from sota_bench.report.view import View
from sota_bench.stats.wording import join
from sota_bench.units import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Runs = Sequence[tuple[str, View]]


def render_side_by_side(runs: Sequence[tuple[str, RunTables, Answers]]) -> str:
    """Several runs on one page: what differs between their grids, then the verdicts beside each other.

    Args:
        runs: name, tables and analyses of each run; names that occur again get a number.
    """
    names = distinct([name for name, _, _ in runs])
    views = [(name, View(tables, answers)) for name, (_, tables, answers) in zip(names, runs, strict=True)]
    controls = [name for name, view in views if view.run.control]
    head = Head(
        over="sota_bench report, side by side",
        title=" and ".join(names) if len(names) < 3 else join(names),
        facts=[counted(len(views), "run"), *dict.fromkeys(view.run.source for _, view in views)],
        notes=[f"{join(controls)}: {CONTROL}"] if controls else [],
    )
    return fill(head, [_differences(views), _verdicts(views), _totals(views), _provenance(views)])


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that occur again."""
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return numbered


def flatten(value: object, key: str = "") -> dict[str, str]:
    """Nested settings as ``recipe.lr: 0.01``; lists as text."""
    if isinstance(value, Mapping):
        return {
            inner: text
            for name, part in value.items()
            for inner, text in flatten(part, f"{key}.{name}" if key else str(name)).items()
        }
    return {key: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)}


def _differences(runs: Runs) -> Section:
    settings = [_settings(view.run) for _, view in runs]
    keys = list(dict.fromkeys(key for run in settings for key in run))
    rows = [
        [key, *(run.get(key, MISSING) for run in settings)]
        for key in keys
        if len({run.get(key) for run in settings}) > 1
    ]
    lead = (
        f"{len(rows)} of {len(keys)} settings {'differs' if len(rows) == 1 else 'differ'} between the runs."
        if rows
        else "Grid, data, code and software are the same in all runs."
    )
    blocks: list[Block] = (
        [Table("Settings that differ", ["Setting", *(name for name, _ in runs)], rows)] if rows else []
    )
    return Section("differences", "What differs", lead, blocks)


def _settings(run: RunRecord) -> dict[str, str]:
    """All that may differ between runs, as text."""
    values = asdict(run)
    names = ("source", "data_digest", "git_commit", "goal_minutes", "workers", "versions")
    return flatten(values["grid"]) | flatten({name: values[name] for name in names}) | {"device": run.device_name}


def _verdicts(runs: Runs) -> Section:
    several = len({view.response for _, view in runs}) > 1
    by_run = [
        {f"{effect.response.noun}: {effect.name}" if several else effect.name: effect for effect in effects(view)}
        for _, view in runs
    ]
    contrasts = list(dict.fromkeys(name for shown in by_run for name in shown))
    names = [name for name, _ in runs]
    rows: list[list[Cell | str]] = [
        [contrast, *(_cell(shown.get(contrast)) for shown in by_run)] for contrast in contrasts
    ]
    table = Table("Effect with its 95% interval, by run", ["Contrast", *names], rows)
    estimated = {
        contrast: [shown[contrast] for shown in by_run if contrast in shown and finite(shown[contrast].row.low)]
        for contrast in contrasts
    }
    shared = [contrast for contrast in contrasts if len(estimated[contrast]) > 1]
    agree = [contrast for contrast in shared if len({effect.row.verdict for effect in estimated[contrast]}) == 1]
    blocks: list[Block] = [table]
    if shared:
        data = [(contrast, [shown.get(contrast) for shown in by_run]) for contrast in shared]
        blocks.insert(
            0,
            Chart(
                "side-by-side",
                "Contrasts that the runs share",
                _finding(shared, agree),
                partial(draw_side_by_side, data, names),
                None,
                "Each mark is one run with its own 95% interval. The runs are separate experiments; nothing here tests "
                "one against another.",
            ),
        )
    blocks += [
        Listing(f"Warnings of {name}", [typeset(warning) for warning in view.analysis.warnings], "warning")
        for name, view in runs
        if view.analysis.warnings
    ]
    if not contrasts:
        blocks = [Prose(["None of these runs compares anything."])]
    return Section(
        "verdicts", "Verdicts", "Each verdict is that of its own run, with the seeds and the noise of that run.", blocks
    )


def _finding(shared: list[str], agree: list[str]) -> str:
    if len(agree) == len(shared):
        which = "this contrast" if len(shared) == 1 else f"all {len(shared)} contrasts"
        return f"The runs reach the same verdict on {which}."
    return (
        f"The runs reach the same verdict on {len(agree)} of {len(shared)} contrasts; they differ on "
        f"{first_of([contrast for contrast in shared if contrast not in agree], 5)}."
    )


def _cell(effect: Effect | None) -> Cell:
    if effect is None:
        return Cell("not in this grid")
    row = effect.row
    if not finite(row.low):
        return Cell(effect.head)
    limits = interval(row.low, row.high, effect.response.digits)
    return Cell(f"{effect.head}: {effect.size} ({limits})", tone=effect.tone)


def _totals(runs: Runs) -> Section:
    rows: list[list[Cell | str]] = []
    for name, view in runs:
        counts, times = view.run.counts, view.run.measured
        best = None if view.cells.empty else view.cells.iloc[0]
        rows.append(
            [
                name,
                f"{counts.done} of {counts.asked}",
                str(counts.failed),
                str(view.seeds),
                MISSING if best is None else str(best["label"]),
                MISSING if best is None else measured(best["value"], view.response, view.response.digits + 1),
                duration(times.iteration_minutes_median),
                duration(times.run_minutes),
            ]
        )
    titles = {f"{view.response.title}#" for _, view in runs}
    columns = [
        "Run",
        "Trials done#",
        "Failed#",
        "Seeds#",
        "Best cell",
        titles.pop() if len(titles) == 1 else "Its value#",
        "Time per iteration#",
        "Whole run#",
    ]
    return Section(
        "totals",
        "Totals",
        "The best cell of each run, on its own select split, and how long the run took.",
        [Table("Runs", columns, rows)],
    )


def _provenance(runs: Runs) -> Section:
    pairs = [(name, view.run.command, f"{view.run.started}, {view.run.device_name}") for name, view in runs]
    return Section("provenance", "Provenance", "The page of each run has everything else.", [Facts(pairs)])


def draw_side_by_side(data: list[tuple[str, list[Effect | None]]], names: list[str], width: int) -> Figure:
    """Contrasts with one interval for each name.

    Args:
        data: contrast, and its effect under each name, None where it has none.
        names: of runs or data sets.
        width: in CSS pixels.
    """
    narrow, lines = width < 500, len(names)
    figure, axes = sheet(width, len(data) * (16 * lines + (34 if narrow else 18)) + 90)
    axes.axvline(0, color=str(Ink.SOFT), linewidth=1.2)
    for run, (name, (colour, marker, _)) in enumerate(zip(names, styles(lines), strict=True)):
        label: str | None = name
        for y, (_, shown) in enumerate(data):
            effect = shown[run]
            if effect is None or not finite(effect.row.low):
                continue
            at = y + (run - (lines - 1) / 2) * 0.5 / lines + (0.16 if narrow else 0)
            limits = [effect.row.low, effect.row.high]
            axes.plot(limits, [at, at], color=str(colour), linewidth=2.4, solid_capstyle="butt")
            axes.plot(
                effect.row.estimate,
                at,
                marker=marker,
                color=str(colour),
                markeredgecolor=str(Ink.PAPER),
                markersize=8,
                linestyle="",
                label=label,
            )
            label = None
    for y, (contrast, _) in enumerate(data):
        if narrow:
            axes.annotate(
                short(contrast, width, 0.9),
                (0, y - 0.34),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=11.5,
            )
    axes.set_yticks(
        [] if narrow else range(len(data)),
        [] if narrow else [short(contrast, width) for contrast, _ in data],
        color=str(Ink.INK),
    )
    axes.set_ylim(len(data) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    responses = {effect.response for _, shown in data for effect in shown if effect is not None}
    words = {f"Difference in {response.noun}{response.unit_in_words}" for response in responses}
    axes.set_xlabel(words.pop() if len(words) == 1 else "Difference")
    legend_above(figure, axes, width)
    return figure
