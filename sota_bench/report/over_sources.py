"""One grid on several data sets: an effect on each of them, whether it differs, and one verdict over all.

The trials of all data sets are analysed together, with the data set as a fixed block: differences are taken on one data
set within one seed, and averaged over data sets. Accuracies on different data sets are never compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from sota_bench.report.answers import Answers, analysis_of
from sota_bench.report.effects import Effect, effects, typeset
from sota_bench.report.files import write_files
from sota_bench.report.page import fill
from sota_bench.report.parts import Block, Cell, Chart, Facts, Head, Links, Listing, Prose, Section, Table, Verdicts
from sota_bench.report.sections.order import CONTROL
from sota_bench.report.side_by_side import draw_side_by_side
from sota_bench.report.tables import RunTables
from sota_bench.report.text import duration, finite, interval, p_value, signed
from sota_bench.report.view import View
from sota_bench.stats import Analysis, sentences, warning_sentences
from sota_bench.stats.result import SIMPLE
from sota_bench.stats.wording import join
from sota_bench.units import counted

SOURCE = "source"
"""The column that names the data set of a trial."""

AVERAGE = "average"


def join_sources(name: str, runs: Mapping[str, RunTables]) -> RunTables:
    """The trials of all data sets in one table, with the column ``source`` and names that differ between them.

    Args:
        name: of the grid.
        runs: the tables of each data set by its name.
    """
    parts, predictions = [], {}
    for label, tables in runs.items():
        trials = tables.trials.copy()
        trials["trial"] = label + "/" + trials["trial"]
        trials["shared_with"] = [f"{label}/{cell}" if cell else "" for cell in trials["shared_with"]]
        trials.insert(1, SOURCE, label)
        parts.append(trials)
        predictions.update({f"{label}/{trial}": told for trial, told in tables.predictions.items()})
    first = next(iter(runs.values()))
    trials = pd.concat(parts, ignore_index=True)
    return replace(first, run=replace(first.run, name=name), trials=trials, predictions=predictions)


def analyses_over_sources(joined: RunTables) -> Answers:
    """The analyses over data sets, one for each response that the grid asks about."""
    return Answers(tuple(analysis_of(joined, name, sources=SOURCE) for name in joined.run.grid.response))


def write_over_sources(out: Path, name: str, runs: Mapping[str, RunTables]) -> list[str]:
    """Writes the files over all data sets, and gives the verdicts as lines for a terminal.

    Args:
        out: the grid's folder, in which each data set has one of its own.
        name: of the grid.
        runs: the tables of each data set by its name.
    """
    joined = join_sources(name, runs)
    answers = analyses_over_sources(joined)
    view = View(joined, answers)
    record = {"name": name, "sources": {label: tables.run.to_json() for label, tables in runs.items()}}
    write_files(out, {
        "trials.csv": joined.trials.to_csv(index=False, lineterminator="\n"),
        "contrasts.csv": answers.table().to_csv(index=False, lineterminator="\n"),
        "analysis.json": json.dumps(answers.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "run.json": json.dumps(record, indent=1, allow_nan=False) + "\n",
        "report.html": render_over_sources(view, runs),
    })  # fmt: skip
    lines = []
    for analysis in answers.asked:
        for effect in effects(view, analysis=analysis):
            lines.append(f"{effect.mark} {effect.short_sentence}")
            lines += [f"    {part.mark} {part.short_sentence}" for part in _on_each(view, effect, analysis)]
    return lines


def render_over_sources(view: View, runs: Mapping[str, RunTables]) -> str:
    """The page over all data sets.

    Args:
        view: of the joined trials.
        runs: the tables of each data set by its name.
    """
    controls = [label for label, tables in runs.items() if tables.run.control]
    head = Head(
        over="sota_bench report over data sets",
        title=view.run.name,
        facts=[join(list(runs)), counted(view.seeds, "seed"), view.run.device_name],
        question=view.run.question.strip(),
        notes=[f"{join(controls)}: {CONTROL}"] if controls else [],
    )
    analyses = view.answers.asked
    sections = [
        _verdicts(view, list(runs)),
        *(section for analysis in analyses if (section := _effects(view, analysis, list(runs))) is not None),
        *(section for analysis in analyses if (section := _differences(view, analysis)) is not None),
        _runs(runs),
    ]
    return fill(head, sections)


def _on_each(view: View, effect: Effect, analysis: Analysis) -> list[Effect]:
    """A main effect on each data set."""
    own = (effect.row.factor, effect.row.level)
    return [
        part
        for part in effects(view, kind=SIMPLE, analysis=analysis)
        if (part.row.factor, part.row.level) == own and part.row.at_factor == SOURCE
    ]


def _verdicts(view: View, labels: list[str]) -> Section:
    blocks: list[Block] = []
    for analysis in view.answers.asked:
        shown = effects(view, analysis=analysis)
        lines = [effect.line([part.sentence for part in _on_each(view, effect, analysis)]) for effect in shown]
        about = sentences.direction(analysis.overview, shown[0].response.noun if shown else analysis.overview.response)
        title = about if len(view.answers.asked) > 1 else ""
        blocks += [Verdicts(lines, title), Prose([f"{about}, on the images of each data set's select split."], "how")]
        texts = [typeset(warning) for warning in analysis.warnings]
        blocks += [Listing("Warnings", texts, "warning")] if texts else []
    return Section("verdicts", "Verdicts over data sets", warning_sentences.over_sources(labels), blocks)


def _effects(view: View, analysis: Analysis, labels: list[str]) -> Section | None:
    """Each effect on each data set and on average; None where nothing could be estimated."""
    names = [*labels, AVERAGE]
    rows: list[list[Cell | str]] = []
    drawn: list[tuple[str, list[Effect | None]]] = []
    for effect in effects(view, analysis=analysis):
        on_each = {str(part.row.at_level): part for part in _on_each(view, effect, analysis)}
        shown = [*(on_each.get(label) for label in labels), effect]
        rows.append([effect.name, *(_cell(part) for part in shown)])
        if any(part is not None and finite(part.row.low) for part in shown):
            drawn.append((effect.name, shown))
    if not drawn:
        return None
    response = effects(view, analysis=analysis)[0].response
    chart = Chart(
        f"over-sources-{response.name}",
        f"Effect of each level on {response.noun}, on each data set and on average",
        _finding(drawn),
        partial(draw_side_by_side, drawn, names),
        Table("Effect with its 95% interval, by data set", ["Contrast", *names], rows),
        "Each mark is a mean difference within seeds on one data set, with its 95% interval; the average counts each "
        "data set alike.",
    )
    key = "effects" if analysis is view.analysis else f"effects-{response.name}"
    return Section(key, f"Effects on {response.noun}", "An effect that holds points the same way everywhere.", [chart])


def _cell(effect: Effect | None) -> Cell:
    if effect is None or not finite(effect.row.low):
        return Cell("not estimable")
    limits = interval(effect.row.low, effect.row.high, effect.response.digits)
    return Cell(f"{effect.head}: {effect.size} ({limits})", tone=effect.tone)


def _finding(drawn: list[tuple[str, list[Effect | None]]]) -> str:
    turning = []
    for name, shown in drawn:
        tones = {part.tone for part in shown[:-1] if part is not None}
        if {"good", "bad"} <= tones:
            turning.append(name)
    if turning:
        verb = "helps" if len(turning) == 1 else "help"
        return f"{join(turning)} {verb} on one data set and {'hurts' if len(turning) == 1 else 'hurt'} on another."
    return "No level helps on one data set and hurts on another."


def _differences(view: View, analysis: Analysis) -> Section | None:
    """How much each effect differs between data sets; None where that could not be estimated."""
    compared = [
        Effect(row, analysis.overview)
        for row in analysis.interactions
        if row.headline and row.factor_b == SOURCE and finite(row.low)
    ]
    if not compared:
        return None
    digits = compared[0].response.digits + 1
    rows: list[list[Cell | str]] = [
        [
            effect.name,
            Cell(signed(effect.row.estimate, digits), effect.row.estimate),
            interval(effect.row.low, effect.row.high, digits),
            p_value(effect.row.p_holm),
            Cell("differs" if effect.row.flagged else "not shown to differ", tone="bad" if effect.row.flagged else ""),
        ]
        for effect in compared
    ]
    unit = compared[0].unit
    columns = ["Effect and data sets", f"Difference{unit}#", "95% interval#", "p (Holm)#", "Result"]
    table = Table("An effect on one data set minus the same effect on the first one", columns, rows)
    clear = sum(effect.row.flagged for effect in compared)
    lead = f"{clear} of {counted(len(compared), 'comparison')} {'is' if clear == 1 else 'are'} clear."
    noun = compared[0].response.noun
    key = "differences" if analysis is view.analysis else f"differences-{compared[0].response.name}"
    return Section(key, f"Do effects on {noun} differ between data sets?", lead, [table])


def _runs(runs: Mapping[str, RunTables]) -> Section:
    facts = [
        (label, f"{tables.run.images.train:,} images to train, {tables.run.images.select:,} to select, "
         f"{tables.run.images.test:,} to test; {tables.run.counts.done} of {tables.run.counts.asked} trials done; "
         f"{duration(tables.run.measured.iteration_minutes_median)} per iteration", "")
        for label, tables in runs.items()
    ]  # fmt: skip
    links = Links([(f"{label}/report.html", f"everything about {label}") for label in runs])
    return Section("runs", "The data sets", "Each has a page of its own.", [Facts(facts), links])
