"""Several runs on one page: what differs between their grids, the totals, and each contrast in every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sota_bench.report.parts import Block, Cell, Chart, Facts, Listing, Prose, Section, Table
from sota_bench.report.sections.order import CONTROL
from sota_bench.report.text import MISSING, finite, join, minutes, number, plural, signed
from sota_bench.report.theme import Ink, legend_above, sheet, short, styles
from sota_bench.report.verdicts import Effect, effects
from sota_bench.report.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Runs = Sequence[tuple[str, View]]
ELSEWHERE = ("source", "data_digest", "git_commit", "goal_minutes", "workers")


def compare(runs: Runs) -> tuple[dict[str, Any], list[Section]]:
    """Head and sections of the page for several runs."""
    runs = [(name, view) for name, (_, view) in zip(distinct([name for name, _ in runs]), runs, strict=True)]
    names = [name for name, _ in runs]
    controls = [name for name, view in runs if view.run["control"]]
    notes = [f"{join(controls)}: {CONTROL}"] if controls else []
    head = {
        "over": "sota_bench report, side by side",
        "title": " and ".join(names) if len(names) < 3 else join(names),
        "facts": [plural(len(runs), "run"), *dict.fromkeys(str(view.run["source"]) for _, view in runs)],
        "notes": notes,
    }
    return head, [_differences(runs), _verdicts(runs), _totals(runs), _provenance(runs)]


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that occur again."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def flatten(value: Any, key: str = "") -> dict[str, str]:
    """Nested settings as ``recipe.lr: 0.01``; lists as text."""
    if isinstance(value, Mapping):
        return {
            inner: text
            for name, part in value.items()
            for inner, text in flatten(part, f"{key}.{name}" if key else str(name)).items()
        }
    return {key: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)}


def _differences(runs: Runs) -> Section:
    settings = []
    for _, view in runs:
        run = view.run
        more = {name: run.get(name) for name in ELSEWHERE} | {
            "versions": run["versions"],
            "device": run["device"].get("name"),
        }
        settings.append(flatten(run["grid"]) | flatten(more))
    keys = dict.fromkeys(key for one in settings for key in one)
    rows = [
        [key, *(one.get(key, MISSING) for one in settings)]
        for key in keys
        if len({one.get(key) for one in settings}) > 1
    ]
    lead = (
        f"{plural(len(rows), 'setting')} of {len(keys)} {'differs' if len(rows) == 1 else 'differ'} between the runs."
        if rows
        else "The grids, data, code and software are the same."
    )
    blocks: list[Block] = (
        [Table("Settings that differ", ["Setting", *(name for name, _ in runs)], rows)] if rows else []
    )
    return Section("differences", "What differs", lead, blocks)


def _verdicts(runs: Runs) -> Section:
    found = [{effect.name: effect for effect in effects(view)} for _, view in runs]
    contrasts = list(dict.fromkeys(name for one in found for name in one))
    names = [name for name, _ in runs]
    rows: list[list[Cell | str]] = [[contrast, *(_cell(one.get(contrast)) for one in found)] for contrast in contrasts]
    table = Table("Effect in percentage points with its 95% interval, by run", ["Contrast", *names], rows)
    shared = [c for c in contrasts if sum(c in one and finite(one[c].low) for one in found) > 1]
    agree = [c for c in shared if len({one[c].verdict for one in found if c in one}) == 1]
    blocks: list[Block] = [table]
    if shared:
        data = [(c, [one.get(c) for one in found]) for c in shared]
        blocks.insert(
            0,
            Chart(
                "side-by-side",
                "Contrasts that the runs share",
                _finding(shared, agree),
                partial(_draw, data, names),
                None,
                "Each mark is one run with its own 95% interval. The runs are separate experiments: nothing "
                "here tests one against the other.",
            ),
        )
    blocks += [
        Listing(f"Warnings of {name}", [str(warning) for warning in view.analysis.warnings], "warning")
        for name, view in runs
        if view.analysis.warnings
    ]
    if not contrasts:
        blocks = [Prose(["None of these runs compares anything."])]
    return Section(
        "verdicts", "Verdicts", "Each verdict belongs to its own run, with that run's noise and seeds.", blocks
    )


def _finding(shared: list[str], agree: list[str]) -> str:
    if len(agree) == len(shared):
        return f"The runs reach the same verdict on {'it' if len(shared) == 1 else f'all {len(shared)}'}."
    return (
        f"The runs reach the same verdict on {len(agree)} of {len(shared)}; they differ on "
        + join([contrast for contrast in shared if contrast not in agree])
        + "."
    )


def _cell(effect: Effect | None) -> Cell:
    if effect is None:
        return Cell("not asked")
    if not finite(effect.low):
        return Cell(effect.head)
    return Cell(
        f"{effect.head}: {signed(effect.estimate)} ({number(effect.low)} to {number(effect.high)})", tone=effect.tone
    )


def _totals(runs: Runs) -> Section:
    rows: list[list[Cell | str]] = []
    for name, view in runs:
        counts, measured = view.run["counts"], view.run["measured"]
        best = None if view.cells.empty else view.cells.iloc[0]
        rows.append(
            [
                name,
                f"{counts['done']} of {counts['trials'] - counts['not_applicable']}",
                str(counts["failed"]),
                str(view.seeds),
                MISSING if best is None else str(best["label"]),
                MISSING if best is None else number(best["accuracy"], 2),
                minutes(measured.get("iteration_minutes_median")),
                minutes(measured.get("run_minutes")),
            ]
        )
    table = Table(
        "Runs",
        [
            "Run",
            "Trials done#",
            "Failed#",
            "Seeds#",
            "Most accurate cell",
            "Accuracy, %#",
            "Minutes per iteration#",
            "Whole run#",
        ],
        rows,
    )
    return Section(
        "totals",
        "Totals",
        "The most accurate cell of each run, on its own select split, and what the run took.",
        [table],
    )


def _provenance(runs: Runs) -> Section:
    pairs = [
        (name, str(view.run["command"]), f"{view.run['started']}, {view.run['device'].get('name')}")
        for name, view in runs
    ]
    return Section("provenance", "Provenance", "Each run has its own page with everything else.", [Facts(pairs)])


def _draw(data: list[tuple[str, list[Effect | None]]], names: list[str], width: int) -> Figure:
    narrow, lines = width < 500, len(names)
    figure, axes = sheet(width, len(data) * (16 * lines + (34 if narrow else 18)) + 90)
    axes.axvline(0, color=str(Ink.SOFT), linewidth=1.2)
    for run, (name, (colour, marker, _)) in enumerate(zip(names, styles(lines), strict=True)):
        label: str | None = name
        for y, (_, found) in enumerate(data):
            effect = found[run]
            if effect is None or not finite(effect.low):
                continue
            place = y + (run - (lines - 1) / 2) * 0.5 / lines + (0.16 if narrow else 0)
            axes.plot(
                [effect.low, effect.high], [place, place], color=str(colour), linewidth=2.4, solid_capstyle="butt"
            )
            axes.plot(
                effect.estimate,
                place,
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
    axes.set_xlabel("Difference in accuracy, percentage points")
    legend_above(figure, axes, width)
    return figure
