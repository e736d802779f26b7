"""The end of a run in a terminal: the verdicts and the totals."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sota_bench.report.answers import Answers, claimants
from sota_bench.report.effects import effects, level_by_level, typeset
from sota_bench.report.run_record import RunRecord, Stopping
from sota_bench.report.tables import RunTables
from sota_bench.report.text import duration
from sota_bench.report.view import View
from sota_bench.responses import response_named
from sota_bench.stats import Analysis, sentences, verdicts
from sota_bench.stats.wording import join
from sota_bench.units import counted

STATUSES = (("failed", "failed"), ("blocked", "blocked"), ("not_asked", "not asked for"),
            ("not_applicable", "not applicable"))  # fmt: skip


def summary_lines(tables: RunTables, answers: Answers) -> list[str]:
    """The question, the verdict sentences and the totals."""
    view = View(tables, answers)
    lines = _verdicts(view, answers.first)
    for analysis in answers.asked[1:]:
        noun = response_named(analysis.overview.response).noun
        lines += [f"{sentences.direction(analysis.overview, noun)}:", *_verdicts(view, analysis)]
    for claim in answers.claims:
        response = response_named(claim.overview.response)
        better = "" if response.higher_is_better else " (lower is better)"
        lines += [f"Claimed by {join(claimants(claim))}, but not in grid.response: {response.noun}{better}:"]
        lines += _verdicts(view, claim)
    if not lines:
        lines = [typeset(warning) for warning in answers.first.warnings] or [
            "Nothing to compare: the grid varies nothing."
        ]
    if (stopped := tables.run.until_decided) is not None:
        lines += stopping_sentences(stopped, tables.run, answers)
    question = [f"Question: {' '.join(tables.run.question.split())}"] if tables.run.question else []
    return [*question, *lines, totals(tables.run)]


def _verdicts(view: View, analysis: Analysis) -> list[str]:
    """The verdict sentences of one response."""
    lines, flat = [], dict[str, None]()
    for effect in effects(view, analysis=analysis):
        below = level_by_level(view, effect, analysis)
        if effect.row.diluted_by and not effect.row.demoted_by and below:  # the report has the average too
            lines += [f"{simple.mark} {simple.short_sentence}" for simple in below]
            flat.update(dict.fromkeys(effect.row.diluted_by))
        else:
            lines.append(f"{effect.mark} {effect.short_sentence}")
            lines += [f"    {simple.mark} {simple.short_sentence}" for simple in below]
    if flat:
        lines.append(
            f"With {join(list(flat))} nothing varies, as at chance, so the other factors are shown at the other levels."
        )
    return lines


def next_steps(
    run: RunRecord, answers: Answers, grid: str, options: Sequence[str], out: Sequence[str] = ()
) -> list[str]:
    """What to do with a finished run: commands as they can be given, each with what it is for.

    Args:
        run: what is known of the run.
        answers: its verdicts.
        grid: the grid's file as the user named it.
        options: that led to this run and that further commands on it need.
        out: the option that names the folder of the report, where it was given.
    """
    again = [grid, *options, *out]
    steps = []
    if run.counts.done < run.counts.asked:
        steps.append((["run", *again, "--retry", "failed"], "tries the failed stages again"))
    open_questions = [row for row in answers.first.headlines() if row.shown_verdict == verdicts.UNDETECTED]
    if open_questions and run.until_decided is None:
        steps.append((["run", *again, "--until-decided"], "adds seeds until every question is decided"))
    if run.confirmation is None and run.counts.cells > 1:
        what = "trains the best cell and the baseline with new seeds, and judges them on the test split"
        steps.append((["confirm", *again], what))
    if run.control:
        steps.append((["init", "my-grid.toml", "--data", "folder:PATH"], "writes a grid for your own images"))
    else:
        what = "writes the best trial as a folder that timm opens"
        steps.append((["export", grid, *options, "--out", "model"], what))
    lines = [(shlex.join(["python", "-m", "sota_bench", *words]), what) for words, what in steps]
    return ["Next:", *(line for command, what in lines for line in (f"  {command}", f"      {what}"))]


def stopping_sentences(stopped: Stopping, run: RunRecord, answers: Answers) -> list[str]:
    """How a run that goes on until it is decided has ended, and what it took."""
    last = run.looks[-1]
    return sentences.stopping(
        stopped.ended,
        decided=len(last.questions) - len(last.undecided),
        questions=len(last.questions),
        looks=len(run.looks),
        seeds=last.seeds,
        trainings=stopped.trainings,
        fixed=stopped.fixed_trainings,
        smallest_effects=[
            sentences.amount(analysis.overview.delta, analysis.overview.unit)
            for analysis in answers.asked
            if analysis.overview.delta is not None
        ],
    )


def totals(run: RunRecord) -> str:
    """How many trials finished, and how long they took."""
    counts = run.counts
    parts = [f"{counted(counts.done, 'trial')} done"]
    parts += [f"{getattr(counts, status)} {shown}" for status, shown in STATUSES if getattr(counts, status)]
    goal = "" if run.goal_minutes is None else f" (goal: {duration(run.goal_minutes)})"
    text = f"{', '.join(parts)}; {duration(run.measured.iteration_minutes_median)} per iteration{goal}"
    whole = run.measured.run_minutes
    return f"{text}." if whole is None else f"{text}, {duration(whole)} in total."
