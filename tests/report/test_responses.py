"""Several responses of one run: an analysis, a verdict list and a plot for each, in its own unit and direction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import FACTORS, synthetic

from sota_bench.report.answers import analysis_of, answers_of, claimed_responses
from sota_bench.report.output import write
from sota_bench.report.predictions import Predictions
from sota_bench.report.sections import classes, forest, verdict
from sota_bench.report.summary import summary_lines
from sota_bench.report.tables import RunTables
from sota_bench.report.view import View
from sota_bench.responses import RESPONSES, response_named

ASKED = ("nll", "balanced_accuracy", "minutes")


def asking(*responses: str, **deltas: float) -> RunTables:
    tables = synthetic(factors={name: FACTORS[name] for name in ("normalize", "mixup")})
    grid = replace(tables.run.grid, response=list(responses), smallest_effects=deltas)
    return replace(tables, run=replace(tables.run, grid=grid))


@pytest.fixture(scope="module")
def several() -> RunTables:
    return asking(*ASKED, nll=0.02, minutes=0.1)


def test_each_response_has_its_own_unit_direction_delta_and_family(several: RunTables) -> None:
    answers = answers_of(several)
    found = [
        (about.response, about.unit, about.higher_is_better, about.delta)
        for about in (analysis.overview for analysis in answers.asked)
    ]
    assert found == [
        ("nll", "nats", False, 0.02),
        ("balanced_accuracy", "pp", True, None),
        ("minutes", "min", False, 0.1),
    ]
    assert all(row.family_size == 2 for analysis in answers.asked for row in analysis.headlines())
    mixup = next(row for row in answers.first.headlines() if row.factor == "mixup")
    assert mixup.estimate is not None and mixup.estimate < 0 and mixup.verdict == "helps"


def test_the_first_response_ranks_the_cells_in_its_direction(several: RunTables) -> None:
    view = View(several, answers_of(several))
    by_cell = view.done.groupby("cell")["nll"].mean()
    assert view.cells.index[0] == by_cell.idxmin() == view.best[0]
    lead = verdict.section(view).lead
    assert lead.startswith("Lowest NLL: ") and " nats, " in lead


def test_the_page_has_a_plot_and_verdicts_for_each(several: RunTables) -> None:
    view = View(several, answers_of(several))
    effects = forest.section(view)
    assert effects is not None
    charts: list[Any] = [block for block in effects.blocks if block.kind == "chart"]
    assert [chart.key for chart in charts] == ["forest", "forest-balanced-accuracy", "forest-minutes"]
    assert "in nats" in charts[0].title and "left of zero" in charts[0].note and "right of zero" in charts[1].note
    titles = [block.title for block in verdict.section(view).blocks if block.kind == "verdicts"]
    assert titles == ["NLL", "Balanced accuracy", "Time per iteration", "Claimed by normalize: accuracy"]


def test_what_only_a_card_claims_is_secondary_and_of_its_claimants_alone() -> None:
    tables = asking("accuracy", accuracy=1.0)
    assert claimed_responses(tables) == {"nll": ["mixup"]}
    answers = answers_of(tables)
    (claim,) = answers.claims
    assert {row.factor for row in claim.contrasts} == {"mixup"} and not claim.interactions
    assert all(row.family == "claim" and row.family_size == 1 for row in claim.headlines())
    lines = summary_lines(tables, answers)
    assert sum(line.startswith("Claimed by mixup") for line in lines) == 1
    assert answers_of(asking("accuracy", "nll")).claims == ()


def test_the_files_hold_every_response(several: RunTables, tmp_path: Path) -> None:
    write(tmp_path, several)
    contrasts = pd.read_csv(tmp_path / "contrasts.csv")
    assert list(dict.fromkeys(contrasts["response"])) == list(ASKED)
    values = json.loads((tmp_path / "analysis.json").read_text())
    assert values["about"]["response"] == "nll"
    assert [part["about"]["response"] for part in values["responses"]] == list(ASKED[1:])
    record = json.loads((tmp_path / "run.json").read_text())["grid"]
    assert record["response"] == list(ASKED) and record["smallest_effects"] == {"nll": 0.02, "minutes": 0.1}


def test_a_response_without_values_says_so() -> None:
    tables = asking("stability")
    tables.trials["stability"] = np.nan
    analysis = analysis_of(tables)
    assert analysis.contrasts == () and "stability" in analysis.warnings[0]


def test_predictions_by_class() -> None:
    correct = np.array([True, True, False, True, False, False])
    judged = Predictions(correct, np.ones(6, np.float32), np.array([0, 0, 0, 0, 2, 2]), ("a", "b", "c"))
    assert judged.recalls == {"a": 75.0, "c": 0.0}
    for response, value in (("balanced_accuracy", 37.5), ("recall:a", 75.0), ("recall:c", 0.0)):
        per_image = judged.per_image(response)
        assert per_image is not None and float(per_image.mean()) == pytest.approx(value)
    assert judged.per_image("recall:b") is None and judged.per_image("ece") is None
    assert judged.constant_guess("accuracy") == (pytest.approx(100 * 4 / 6), "always answering a")
    assert judged.constant_guess("balanced_accuracy") == (50.0, "always answering the same class")
    entropy, _ = judged.constant_guess("nll") or (0.0, "")
    assert entropy == pytest.approx(-(2 / 3) * np.log(2 / 3) - (1 / 3) * np.log(1 / 3))
    assert judged.constant_guess("ece") is None


def test_classes_are_shown_where_they_are_few() -> None:
    tables = asking("accuracy")
    section = classes.section(View(tables, answers_of(tables)))
    assert section is not None
    summary, every = section.blocks
    assert len(summary.rows) == 2 and len(every.rows) == 10  # type: ignore[union-attr]
    many = tuple(f"class {number}" for number in range(21))
    changed = {trial: replace(each, classes=many) for trial, each in tables.predictions.items()}
    tables = replace(tables, predictions=changed)
    assert classes.section(View(tables, answers_of(tables))) is None


def test_every_response_of_a_card_and_every_recall_has_words() -> None:
    recall = response_named("recall:golf ball")
    assert (recall.class_name, recall.unit, recall.with_unit) == ("golf ball", "pp", "recall of golf ball, %")
    assert RESPONSES["nll"].unit_in_words == ", in nats" and RESPONSES["ece"].unit_in_words == ""
    for unknown in ("acc", "recall:"):
        with pytest.raises(KeyError):
            response_named(unknown)
