"""(1) The verdicts: one sentence per contrast, and how complete the run is."""

from __future__ import annotations

from sota_bench.report.effects import effects, level_by_level, typeset
from sota_bench.report.parts import Block, Facts, Listing, Prose, Section, Verdicts
from sota_bench.report.run_notes import memory_warnings
from sota_bench.report.summary import STATUSES
from sota_bench.report.text import duration, finite, join, number
from sota_bench.report.view import View
from sota_bench.units import counted


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
    if shown:
        lines = [effect.line([simple.sentence for simple in level_by_level(view, effect)]) for effect in shown]
        blocks += [Verdicts(lines), Prose([_how_to_read(view)], "how")]
    if confirmation := view.run.confirmation:
        sentences = [typeset(sentence) for sentence in confirmation.words]
        blocks.append(Listing("Confirmation on the test split", sentences, "note", shown=6))
    blocks.append(Facts(_completeness(view), large=True))
    return Section("verdicts", "Verdicts", _lead(view), [*blocks, *warnings])


def _how_to_read(view: View) -> str:
    images = view.run.images.select
    text = f"Differences in accuracy, in percentage points (pp), on the {images:,} images of the select split."
    if view.seeds > 1:
        text += " A 95% confidence interval (CI) contains the true difference in 95 of 100 such runs."
    return text


def _lead(view: View) -> str:
    if view.cells.empty:
        return "No trial has finished yet."
    cells = view.comparable_cells
    best = cells.iloc[0]
    alone = len(view.cells) == 1
    text = f"{'The only cell' if alone else 'Most accurate'}: {_in_words(best['label'])} at "
    text += f"{number(best['accuracy'])}%, {duration(best['minutes'])} per iteration."
    if others := len(view.cells) - len(cells):
        verb = "is" if others == 1 else "are"
        text += f" {counted(others, 'cell')} judged on other images {verb} not ranked."
    if view.seeds < 2 or len(cells) == 1:
        return text
    group = view.best
    if len(group) < 2:
        return text + " Every other cell is clearly less accurate."
    quickest = view.cells.loc[group].sort_values("minutes").iloc[0]
    text += f" {counted(len(group) - 1, 'other cell')} cannot be told apart from it"
    if quickest.name == best.name:
        return text + ", and none of them is faster."
    return (
        f"{text}; the fastest of them is {_in_words(quickest['label'])} at {number(quickest['accuracy'])}%, "
        f"{duration(quickest['minutes'])}."
    )


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
    delta = ("none set", "set grid.smallest_effect") if view.delta is None else (f"{number(view.delta)} pp", "")
    added = [str(seed) for seed in run.added_seeds]
    seeds = f"{join(added)} added after a look at the results" if added else "all chosen before the run"
    whole = run.measured.run_minutes
    saved = f"shared stages saved {duration(run.sharing.saved_minutes)} of compute" if shares else ""
    return [
        ("Trials done", f"{counts.done} of {counts.asked}", ", ".join(gaps) or "none failed"),
        ("Seeds", str(view.seeds), seeds),
        ("Time per iteration", duration(median), f"median; {against}" if finite(median) else against),
        *([("Whole run", duration(whole), saved)] if finite(whole) else []),
        ("Smallest effect of interest", *delta),
    ]
