"""(3) The path of each question over the looks of a run that goes on until it is decided, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from sota_bench.report.effects import LOOKS, Effect, effects, typeset
from sota_bench.report.parts import Block, Cell, Chart, Prose, Section, Table
from sota_bench.report.summary import stopping_sentences
from sota_bench.report.text import finite, interval, number, signed
from sota_bench.report.theme import TONES, Ink, sheet, short
from sota_bench.report.view import View
from sota_bench.responses import Response, response_named
from sota_bench.runs.looks import LookRecord, QuestionAtLook, QuestionCost
from sota_bench.units import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 12
Step = tuple[int, QuestionAtLook]
"""Seeds of a look, and what the question was at it."""


def section(view: View) -> Section | None:
    """None for a run with the seeds that its grid gives."""
    stopped, looks = view.run.until_decided, view.run.looks
    if stopped is None or not looks:
        return None
    lead = " ".join(typeset(text) for text in stopping_sentences(stopped, view.run, view.answers))
    blocks: list[Block] = []
    for analysis in view.answers.asked:
        response, delta = response_named(analysis.overview.response), analysis.overview.delta
        paths = [(effect, path(effect, response.name, looks)) for effect in effects(view, analysis=analysis)]
        drawn = [(effect, steps) for effect, steps in paths if any(finite(question.low) for _, question in steps)]
        if drawn:
            blocks.append(
                Chart(
                    f"paths-{response.name}",
                    f"Effect of each level on {response.noun} at each look{response.unit_in_words}",
                    _finding(paths),
                    partial(_draw, drawn[:MOST_PANELS], delta, stopped.planned),
                    _path_table(paths, response),
                    "Bars are repeated confidence intervals: all of a question's intervals contain its true effect in "
                    "95 of 100 such runs, whatever made the run stop. A square marks the look that decided. The dashed "
                    "line is zero" + ("." if delta is None else "; the band is smaller than the smallest effect of "
                    "interest."),
                )
            )
        costs = [cost for cost in stopped.questions if cost.response == response.name]
        if costs:
            blocks.append(_cost_table(costs, paths, response))
    seeds = ", ".join(map(str, stopped.planned))
    blocks.append(
        Prose(
            [
                f"The looks, at {seeds} seeds, were planned before the first one. Each spends a share of the 5% error "
                "rate, so that all of them together stay within it; Holm's correction applies at each look."
            ],
            "how",
        )
    )
    return Section("looks", "Until it is decided", lead, blocks)


def path(effect: Effect, response: str, looks: Sequence[LookRecord]) -> list[Step]:
    """A question at each look, up to the one that decided it."""
    steps: list[Step] = []
    asked = (response, effect.row.factor, effect.row.level)
    for number_of_look, record in enumerate(looks, 1):
        for question in record.questions:
            same = (question.response, question.factor, question.level) == asked
            if same and question.look == number_of_look:
                steps.append((record.seeds, question))
    return steps


def _finding(paths: Sequence[tuple[Effect, list[Step]]]) -> str:
    decided = [steps[-1] for _, steps in paths if steps and steps[-1][1].decided]
    text = f"{len(decided)} of {counted(len(paths), 'question')} {'is' if len(decided) == 1 else 'are'} decided"
    if not decided:
        return f"{text}."
    fewest, most = min(seeds for seeds, _ in decided), max(seeds for seeds, _ in decided)
    return f"{text}, with {fewest} seeds." if fewest == most else f"{text}, with {fewest} to {most} seeds."


def _path_table(paths: Sequence[tuple[Effect, list[Step]]], response: Response) -> Table:
    digits = response.digits + 1
    rows: list[list[Cell | str]] = [
        [
            effect.name,
            Cell(str(seeds), seeds),
            Cell(signed(question.estimate, digits), question.estimate),
            interval(question.low, question.high, digits),
            Cell(effect.head if question.decided else "open", tone=effect.tone if question.decided else ""),
        ]
        for effect, steps in paths
        for seeds, question in steps
    ]
    unit = f", {response.unit}" if response.unit else ""
    heads = ["Question", "Seeds#", f"Effect{unit}#", "Repeated 95% interval#", "Verdict"]
    return Table(f"Every question about {response.noun} at every look", heads, rows)


def _cost_table(
    costs: Sequence[QuestionCost], paths: Sequence[tuple[Effect, list[Step]]], response: Response
) -> Table:
    by_question = {(effect.row.factor, effect.row.level): effect for effect, _ in paths}
    rows: list[list[Cell | str]] = []
    for cost in costs:
        effect = by_question.get((cost.factor, cost.level))
        if effect is None:
            continue
        rows.append([
            effect.name,
            Cell(effect.head, tone=effect.tone),
            Cell(f"{cost.look}, {counted(cost.seeds, 'seed')}", cost.look),
            Cell(f"{cost.trainings:,}", cost.trainings),
            Cell(number(cost.fixed_trainings, 0), cost.fixed_trainings),
            Cell(number(cost.fixed_seeds, 0), cost.fixed_seeds),
            number(None if cost.power is None else 100 * cost.power, 0),
        ])  # fmt: skip
    return Table(
        "What each question took, in trainings of the cells that it compares (questions share them), beside a design "
        "with a fixed number of seeds that finds the smallest effect of interest as often",
        ["Question", "Verdict", "Decided at look, or last look#", "Trainings#", "Fixed design: trainings#",
         "Fixed design: seeds#", "Chance to find it, %#"],
        rows,
        folded=f"What each question about {response.noun} took",
    )  # fmt: skip


def _draw(
    paths: Sequence[tuple[Effect, list[Step]]], delta: float | None, planned: Sequence[int], width: int
) -> Figure:
    columns = 1 if width < 500 else min(3, len(paths))
    lines = -(-len(paths) // columns)
    figure, axes = sheet(width, 170 * lines + 40, lines, columns, squeeze=False, sharex=True)
    places = {seeds: place for place, seeds in enumerate(planned)}
    for ax in axes.flat[len(paths) :]:
        ax.set_visible(False)
    for index, (effect, steps) in enumerate(paths):
        ax = axes.flat[index]
        if delta is not None:
            ax.axhspan(-delta, delta, color=str(Ink.BAND), linewidth=0)
        ax.axhline(0, color=str(Ink.SOFT), linewidth=1.2, linestyle=(0, (4, 3)))
        for seeds, question in steps:
            if question.estimate is None or question.low is None or question.high is None:
                continue
            colour = str(TONES[LOOKS[question.verdict][0]])
            at = places[seeds]
            ax.plot([at, at], [question.low, question.high], color=colour, linewidth=2.4, solid_capstyle="butt")
            ax.plot(
                at, question.estimate, marker="s" if question.decided else "o", color=colour,
                markersize=9 if question.decided else 6, markeredgecolor=str(Ink.PAPER),
            )  # fmt: skip
        ax.set_ylim(*_limits(steps, delta))
        ax.set_xlim(-0.5, len(planned) - 0.5)
        ax.set_xticks(range(len(planned)), [str(seeds) for seeds in planned])
        ax.set_title(short(effect.name, width // columns, 0.8), fontsize=11.5)
        if index >= len(paths) - columns:
            ax.set_xlabel("Seeds")
            ax.tick_params(labelbottom=True)
    return figure


def _limits(steps: Sequence[Step], delta: float | None) -> tuple[float, float]:
    """The range of a panel: every estimate and the band, and of the intervals as much as leaves these readable."""
    estimates = [question.estimate for _, question in steps if question.estimate is not None]
    centre = [*estimates, 0.0, *(() if delta is None else (-delta, delta))]
    low, high = min(centre), max(centre)
    span = max(high - low, 1e-9)
    ends = [end for _, question in steps for end in (question.low, question.high) if end is not None]
    lowest, highest = max(min([low, *ends]), low - 1.5 * span), min(max([high, *ends]), high + 1.5 * span)
    return lowest - 0.05 * span, highest + 0.05 * span
