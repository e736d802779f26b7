"""Effects on single classes, where classes are few: which ones an average gains on, and which it loses."""

from __future__ import annotations

from sota_bench.report.effects import Effect, typeset
from sota_bench.report.parts import Block, Cell, Section, Table
from sota_bench.report.predictions import Predictions
from sota_bench.report.text import finite, first_of, interval, number, signed
from sota_bench.report.view import View
from sota_bench.responses import RECALL
from sota_bench.stats import sentences
from sota_bench.stats.by_class import effects_by_class
from sota_bench.stats.result import ContrastRow, Overview
from sota_bench.stats.verdicts import UNDETECTED
from sota_bench.units import counted

MOST_CLASSES = 20
"""More classes than that make tables that nobody reads, of effects that so few images per class cannot show."""

OVERVIEW = Overview("recall", {}, unit="pp")


def section(view: View) -> Section | None:
    """None with more than ``MOST_CLASSES`` classes, one seed, or without predictions of the same classes."""
    stored = {trial: view.tables.predictions[trial] for trial in view.comparable["trial"] if trial in
              view.tables.predictions}  # fmt: skip
    classes = next(iter(stored.values())).classes if stored else ()
    if (
        view.seeds < 2
        or not 2 <= len(classes) <= MOST_CLASSES
        or {each.classes for each in stored.values()} != {classes}
    ):
        return None
    judged = [name for name in classes if all(name in each.recalls for each in stored.values())]
    by_class = _effects(view, stored, judged)
    contrasts = [rows for rows in zip(*by_class.values(), strict=True) if any(finite(row.low) for row in rows)]
    if not contrasts:
        return None
    blocks: list[Block] = [_summary(judged, contrasts), _every_class(view, stored, judged, contrasts)]
    return Section("classes", "Classes", _lead(judged, contrasts), blocks)


def _effects(view: View, stored: dict[str, Predictions], classes: list[str]) -> dict[str, list[ContrastRow]]:
    done = view.comparable[view.comparable["trial"].isin(list(stored))]
    factors = {name: levels for name, levels in view.factors.items() if done[name].nunique() > 1}
    if not factors or not classes:
        return {}
    table = done.assign(
        **{f"{RECALL}{name}": [stored[trial].recalls[name] for trial in done["trial"]] for name in classes}
    )
    recalls = {
        column: {trial: values for trial, each in stored.items() if (values := each.per_image(column)) is not None}
        for column in (f"{RECALL}{name}" for name in classes)
    }
    return effects_by_class(
        table, recalls, factors=factors, within=[name for name in view.within if name in factors],
        shares="shared_with", judged="judged_on", scope=view.run.grid.scope,
    )  # fmt: skip


def _lead(classes: list[str], contrasts: list[tuple[ContrastRow, ...]]) -> str:
    found = [(name, row) for rows in contrasts for name, row in zip(classes, rows, strict=True) if _clear(row)]
    found.sort(key=lambda pair: -abs(pair[1].estimate or 0.0))
    clear = [f"{typeset(sentences.comparison(row))} on {name} ({Effect(row, OVERVIEW).size})" for name, row in found]
    size = counted(max(row.family_size for rows in contrasts for row in rows), "comparison")
    if not clear:
        return (
            f"No effect on a single class is clear after Holm's correction for {size}: classes have far fewer images "
            "than the whole, so only large effects can show."
        )
    return f"Clear after Holm's correction for {size}: {first_of(clear, 4)}."


def _summary(classes: list[str], contrasts: list[tuple[ContrastRow, ...]]) -> Table:
    rows: list[list[Cell | str]] = []
    for each in contrasts:
        effects = {name: row for name, row in zip(classes, each, strict=True) if row.estimate is not None}
        ranked = sorted(effects, key=lambda name: effects[name].estimate or 0.0)
        rows.append(
            [
                typeset(sentences.comparison(each[0])),
                _of_class(ranked[-1], effects[ranked[-1]]),
                _of_class(ranked[0], effects[ranked[0]]),
                str(sum(_clear(row) for row in each)),
            ]
        )
    return Table(
        "The classes with the highest and the lowest effect of each level on recall, the share of the images of a "
        "class that is right, with 95% intervals",
        ["Contrast", "Highest", "Lowest", "Clear classes#"],
        rows,
    )


def _of_class(name: str, row: ContrastRow) -> Cell:
    text = f"{name}: {signed(row.estimate)} pp ({interval(row.low, row.high)})"
    return Cell(text, row.estimate, tone=_tone(row))


def _every_class(
    view: View, stored: dict[str, Predictions], classes: list[str], contrasts: list[tuple[ContrastRow, ...]]
) -> Table:
    baseline = [
        stored[trial] for trial in view.done.loc[view.done["cell"] == view.baseline, "trial"] if trial in stored
    ]
    rows: list[list[Cell | str]] = []
    for position, name in enumerate(classes):
        images = next(iter(stored.values())).counts[next(iter(stored.values())).classes.index(name)]
        recall = sum(each.recalls[name] for each in baseline) / len(baseline) if baseline else None
        effects = [each[position] for each in contrasts]
        rows.append(
            [
                name,
                Cell(f"{images:,}", float(images)),
                Cell(number(recall), recall),
                *(
                    Cell(f"{signed(row.estimate)} ({interval(row.low, row.high)})", row.estimate, tone=_tone(row))
                    for row in effects
                ),
            ]
        )
    head = ["Class", "Images#", "Baseline, %#", *(f"{typeset(sentences.comparison(each[0]))}#" for each in contrasts)]
    return Table(
        "Recall of each class at the baseline, and its difference in percentage points by level, with 95% intervals. "
        "Coloured: clear after Holm's correction over all classes and levels",
        head,
        rows,
        interactive=True,
        folded="Every class",
    )


def _clear(row: ContrastRow) -> bool:
    return row.estimate is not None and row.p_holm is not None and row.verdict != UNDETECTED


def _tone(row: ContrastRow) -> str:
    return ("good" if (row.estimate or 0.0) > 0 else "bad") if _clear(row) else ""
