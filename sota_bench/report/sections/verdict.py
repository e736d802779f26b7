"""(1) The verdicts: one sentence per contrast, and how complete the run is."""

from __future__ import annotations

from sota_bench.report.accumulated import difference
from sota_bench.report.parts import Block, Facts, Listing, Prose, Section, Verdicts
from sota_bench.report.text import finite, join, minutes, number, plural
from sota_bench.report.verdicts import effects, level_by_level
from sota_bench.report.view import View


def section(view: View) -> Section:
    """Always there: a run without a verdict says why."""
    found = effects(view)
    blocks: list[Block] = []
    if view.seeds < 2 or not found:
        blocks.append(Prose([_no_verdict(view)], "note"))
    if found:
        below = {place: [one.sentence for one in level_by_level(view, effect)] for place, effect in enumerate(found)}
        blocks.append(Verdicts(found, below))
        blocks.append(Prose([_how_to_read(view)], "how"))
    confirmation = view.run.get("confirmation")
    if confirmation:
        blocks.append(Listing("Confirmed on the test split", [str(words) for words in confirmation["words"]], "note"))
    blocks.append(Facts(_completeness(view), large=True))
    warnings = [*difference(view.tables.trials), *(str(warning) for warning in view.analysis.warnings)]
    if warnings:
        blocks.append(Listing("Read with care", warnings, "warning"))
    return Section("verdicts", "Verdicts", _lead(view), blocks)


def _how_to_read(view: View) -> str:
    images = view.run["images"].get("select")
    judged = f"the {images:,} images that choose (the select split)" if images else "the images that choose"
    text = f"Differences in accuracy, in percentage points (pp), on {judged}"
    return text + (", each with the interval that holds the true difference in 95 of 100 such runs." if view.seeds > 1
                   else ".")  # fmt: skip


def _no_verdict(view: View) -> str:
    if view.seeds == 1:
        return (
            "One seed is a screening: it ranks effects (see the diagnostics), and gives no verdict, because nothing "
            "here measures the noise between seeds. Two more seeds give intervals."
        )
    return "No factor has two levels with finished trials, so there is nothing to compare."


def _lead(view: View) -> str:
    if view.cells.empty:
        return "No trial has finished yet."
    cells = view.cells[view.cells.index.isin(view.alike["cell"])]
    best = cells.iloc[0]
    alone = len(view.cells) == 1
    text = f"{'The only cell' if alone else 'Most accurate'}: {_in_words(best['label'])} at "
    text += f"{number(best['accuracy'])}%, {minutes(best['minutes'])} per iteration."
    if others := len(view.cells) - len(cells):
        text += f" {plural(others, 'cell')} judged on other images cannot be ranked with it."
    if view.seeds < 2 or len(cells) == 1:
        return text
    group = view.best
    if len(group) < 2:
        return text + " Every other cell is clearly less accurate."
    quickest = view.cells.loc[group].sort_values("minutes").iloc[0]
    text += f" {plural(len(group) - 1, 'other cell')} cannot be told apart from it"
    if quickest.name == best.name:
        return text + "; none of them is quicker."
    return (
        text + f"; the quickest of them is {_in_words(quickest['label'])} at {number(quickest['accuracy'])}%, "
        f"{minutes(quickest['minutes'])}."
    )


def _in_words(label: str) -> str:
    """A cell's name in a sentence."""
    return "the baseline" if label == "baseline" else f"the baseline with {label}"


def _completeness(view: View) -> list[tuple[str, str, str]]:
    run, counts = view.run, view.run["counts"]
    asked = counts["trials"] - counts["not_applicable"]
    gaps = [f"{counts[key]} {key}" for key in ("failed", "blocked") if counts[key]]
    if counts["not_applicable"]:
        gaps.append(f"{counts['not_applicable']} not applicable")
    measured, goal = run["measured"], run["goal_minutes"]
    median = measured.get("iteration_minutes_median")
    within = "" if not finite(median) or goal is None else "within" if median <= goal else "over"
    against = "no goal declared" if goal is None else f"{within} the goal of {minutes(goal)}".strip()
    sharing = run["sharing"]
    saved = (sharing.get("minutes_alone") or 0) - (sharing.get("minutes_shared") or 0)
    shares = round(sharing.get("factor") or 1.0, 1) > 1.0 and saved > 0
    delta = "none declared" if view.delta is None else f"{number(view.delta)} pp"
    added = [str(seed) for seed in run.get("added_seeds", [])]
    return [
        ("Trials done", f"{counts['done']} of {asked}", ", ".join(gaps) or "none failed"),
        ("Seeds", str(view.seeds), f"{join(added)} added after a look" if added else "all declared before the run"),
        ("Minutes per iteration", minutes(median), against),
        (
            "Whole run",
            minutes(measured.get("run_minutes")),
            f"on the clock; sharing saved {minutes(saved)} of computing time over all workers" if shares else "",
        ),
        ("Smallest effect of interest", delta, "declared in the grid" if view.delta is not None else ""),
    ]
