"""What a finished run advises to do next: commands that can be given as they stand."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from sota_bench import cli
from sota_bench.commands.options import kept_options
from sota_bench.report.answers import Answers
from sota_bench.report.output import answers_of
from sota_bench.report.summary import next_steps
from sota_bench.report.tables import RunTables
from sota_bench.stats import verdicts


def advised(lines: list[str]) -> list[str]:
    """The commands of the advice; each is one that exists, with options that it knows."""
    commands = [line.split("sota_bench ", 1)[1] for line in lines if line.startswith("  python -m sota_bench ")]
    assert all(cli.main([*shlex.split(command), "--help"]) == 0 for command in commands)
    return commands


def decided(answers: Answers, verdict: str) -> Answers:
    """The same answers with one verdict for every question."""
    first = replace(answers.first, contrasts=tuple(replace(row, verdict=verdict) for row in answers.first.contrasts))
    return replace(answers, asked=(first, *answers.asked[1:]))


def test_a_control_leads_to_a_confirmation_and_to_the_users_own_images(hostile: RunTables) -> None:
    run = replace(hostile.run, counts=replace(hostile.run.counts, failed=0, blocked=0, done=hostile.run.counts.asked))
    answers = decided(answers_of(hostile), verdicts.HELPS)
    confirm, init = advised(next_steps(run, answers, "my grid.toml", ["--seeds", "0,1"], ["--out", "there"]))
    assert confirm == "confirm 'my grid.toml' --seeds 0,1 --out there"
    assert init.startswith("init ") and "folder:PATH" in init


def test_photographs_lead_to_a_model_and_failures_to_another_try(tables: RunTables, analysis: Any) -> None:
    assert tables.run.counts.done < tables.run.counts.asked and not tables.run.control
    options = kept_options(Path("elsewhere"), ("recipe.lr=0.1",), None)
    retry, *_, export = advised(next_steps(tables.run, analysis, "g.toml", options, ["--out", "there"]))
    assert retry == "run g.toml --store elsewhere --set recipe.lr=0.1 --out there --retry failed"
    assert export == "export g.toml --store elsewhere --set recipe.lr=0.1 --out model"


def test_open_questions_lead_to_more_seeds_unless_the_run_already_added_them(tables: RunTables, analysis: Any) -> None:
    def advice(run: Any, answers: Answers) -> bool:
        return "run g.toml --until-decided" in advised(next_steps(run, answers, "g.toml", []))

    undecided = decided(analysis, verdicts.UNDETECTED)
    assert advice(tables.run, undecided)
    assert not advice(tables.run, decided(analysis, verdicts.EQUIVALENT))
    assert not advice(replace(tables.run, until_decided=object()), undecided)  # type: ignore[arg-type]


def test_a_confirmed_run_is_not_confirmed_again(tables: RunTables, analysis: Any) -> None:
    confirmed = replace(tables.run, confirmation=tables.run.confirmation or object())  # type: ignore[arg-type]
    commands = advised(next_steps(confirmed, analysis, "g.toml", []))
    assert not [command for command in commands if command.startswith("confirm")]
