"""(1) The verdicts: one sentence per contrast, and how complete the run is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sota_bench.report.answers import claimants
from sota_bench.report.effects import effects, level_by_level, typeset
from sota_bench.report.parts import Block, Facts, Listing, Prose, Section, VerdictLine, Verdicts
from sota_bench.report.run_notes import memory_warnings
from sota_bench.report.summary import STATUSES
from sota_bench.report.text import duration, finite, measured
from sota_bench.report.view import View
from sota_bench.responses import response_named
from sota_bench.stats import Analysis, sentences
from sota_bench.stats.wording import join
from sota_bench.units import counted

if TYPE_CHECKING:
    import pandas as pd


def section(view: View) -> Section:
    """Always there: a run without a verdict says why."""
    shown = effects(view)
    texts = [*memory_warnings(view.tables.trials), *map(typeset, view.analysis.warnings)]
    warnings: list[Block] = [Listing("Warnings", texts, "warning")] if texts else []
    blocks: list[Block] = []
    if view.seeds == 1:  # the warnings say why there is no verdict
        blocks, warnings = warnings, []
    if not shown:
        blocks.append(Prose(["No factor has two levels with finished trials, so there is nothing to compare."], "note"))
    for analysis in view.answers.asked if shown else ():
        lines = _lines(view, analysis)
        about = response_named(analysis.overview.response)
        title = about.title if len(view.answers.asked) > 1 else ""
        texts = [typeset(text) for text in analysis.warnings if text not in view.analysis.warnings]
        blocks += [Verdicts(lines, title), Prose([_how_to_read(view, analysis)], "how")]
        blocks += [Listing(f"Warnings about {about.noun}", texts, "warning")] if texts else []
    for claim in view.answers.claims:
        about, factors = response_named(claim.overview.response), claimants(claim)
        texts = [sentences.claimed(factors, about.noun), _how_to_read(view, claim)]
        blocks += [Verdicts(_lines(view, claim), f"Claimed by {join(factors)}: {about.noun}"), Prose(texts, "how")]
    if confirmation := view.run.confirmation:
        outcome = [typeset(sentence) for sentence in confirmation.words]
        blocks.append(Listing("Confirmation on the test split", outcome, "note", shown=6))
    blocks.append(Facts(_completeness(view), large=True))
    return Section("verdicts", "Verdicts", _lead(view), [*blocks, *warnings])


def _lines(view: View, analysis: Analysis) -> list[VerdictLine]:
    return [
        effect.line([simple.sentence for simple in level_by_level(view, effect, analysis)])
        for effect in effects(view, analysis=analysis)
    ]


def _how_to_read(view: View, analysis: Analysis) -> str:
    response = response_named(analysis.overview.response)
    text = sentences.direction(analysis.overview, response.noun)
    if response.name == "minutes":
        text += (
            ". A trial counts the measured time of its training, shared stages in full, and of its evaluation; "
            "decoding images, which all trials share, is left out."
        )
    else:
        text += f", on the {view.run.images.select:,} images of the select split."
    if view.seeds > 1 and analysis is view.analysis:
        text += " A 95% confidence interval (CI) contains the true difference in 95 of 100 such runs with "
        text += f"{sentences.covered(analysis.overview)}."
    return text


def _lead(view: View) -> str:
    if view.cells.empty:
        return "No trial has finished yet."
    cells = view.comparable_cells
    best, response = cells.iloc[0], view.response
    alone = len(view.cells) == 1
    text = f"{'The only cell' if alone else response.best}: {_in_words(best['label'])} at {_value(view, best)}."
    if others := len(view.cells) - len(cells):
        verb = "is" if others == 1 else "are"
        text += f" {counted(others, 'cell')} judged on other images {verb} not ranked."
    if view.seeds < 2 or len(cells) == 1:
        return text
    group = view.best
    if len(group) < 2:
        worse = "less accurate" if response.name == "accuracy" else "worse"
        return text + f" Every other cell is clearly {worse}."
    quickest = view.cells.loc[group].sort_values("minutes").iloc[0]
    text += f" {counted(len(group) - 1, 'other cell')} cannot be told apart from it"
    if response.name == "minutes":
        return f"{text}."
    if quickest.name == best.name:
        return text + ", and none of them is faster."
    value = measured(quickest["value"], response)
    return f"{text}; the fastest of them is {_in_words(quickest['label'])} at {value}, {duration(quickest['minutes'])}."


def _value(view: View, cell: pd.Series) -> str:
    """The value of a cell, and what its iteration takes: ``71.2%, 38 s per iteration``."""
    value = measured(cell["value"], view.response)
    if view.response.name == "minutes":
        return f"{value} per iteration"
    noun = "" if view.response.name == "accuracy" else f"{view.response.noun} "
    return f"{noun}{value}, {duration(cell['minutes'])} per iteration"


def _in_words(label: str) -> str:
    """A cell's name in a sentence."""
    return "the baseline" if label == "baseline" else f"the baseline with {label}"


def _completeness(view: View) -> list[tuple[str, str, str]]:
    run, counts = view.run, view.run.counts
    gaps = [f"{getattr(counts, status)} {shown}" for status, shown in STATUSES if getattr(counts, status)]
    median, goal = run.measured.iteration_minutes_median, run.goal_minutes
    if goal is None:
        against = "no goal set"
    elif median is None:
        against = f"goal: {duration(goal)}"
    else:
        against = f"{'within' if median <= goal else 'over'} the goal of {duration(goal)}"
    shares = round(run.sharing.factor, 1) > 1.0 and run.sharing.saved_minutes > 0
    deltas = [
        f"{sentences.amount(analysis.overview.delta, analysis.overview.unit)}"
        + (f" ({response_named(analysis.overview.response).noun})" if len(view.answers.asked) > 1 else "")
        for analysis in view.answers.asked
        if analysis.overview.delta is not None
    ]
    delta = (", ".join(deltas), "") if deltas else ("none set", "set grid.smallest_effect")
    added = [str(seed) for seed in run.added_seeds]
    seeds = f"{join(added)} added after a look at the results" if added else "all chosen before the run"
    seeds += f"; they vary {join(list(run.grid.vary))}"
    whole = run.measured.run_minutes
    saved = f"shared stages saved {duration(run.sharing.saved_minutes)} of compute" if shares else ""
    guess = view.constant_guess
    return [
        *([("Constant guess", measured(guess[0], view.response), guess[1])] if guess else []),
        ("Trials done", f"{counts.done} of {counts.asked}", ", ".join(gaps) or "none failed"),
        ("Seeds", str(view.seeds), seeds),
        ("Time per iteration", duration(median), f"median; {against}" if finite(median) else against),
        *([("Whole run", duration(whole), saved)] if finite(whole) else []),
        ("Smallest effect of interest", *delta),
    ]
