"""The report's own sentences, each asserted here alone: a better wording changes this file and no other.

Sentences about contrasts are those of ``stats.sentences`` and are tested there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from synthetic import FACTORS, synthetic

from sota_bench.report.answers import answers_of
from sota_bench.report.run_notes import busy_notes, memory_notes, memory_warnings, stored_size_notes
from sota_bench.report.run_record import MeasuredMinutes, PredictedMinutes, RunRecord, Sharing
from sota_bench.report.sections import forgetting, iteration, learning, sensitivity, verdict
from sota_bench.report.summary import totals
from sota_bench.report.tables import RunTables
from sota_bench.report.view import View


@pytest.fixture(scope="module")
def view(tables: RunTables, analysis: Any) -> View:
    return View(tables, analysis)


def micro_batches(*sizes: float) -> pd.DataFrame:
    """Two cells of two seeds, and a trial that failed."""
    cells = ["c00", "c00", "c01", "c01", "c01"]
    return pd.DataFrame({"cell": cells, "status": ["done"] * 4 + ["failed"], "micro_batch": [*sizes, 2.0]})


NONE = (math.nan,) * 4


def test_memory_that_ran_out_is_told_with_its_remedy() -> None:
    assert memory_notes(micro_batches(*NONE)) == []
    assert memory_notes(micro_batches(math.nan, math.nan, math.nan, 8.0)) == [
        "Memory ran out in 1 trial, so its batches were computed in parts of at most 8 images (gradient accumulation). "
        "The gradient is that of the whole batch, but batch norm and dropout see one part at a time; set a smaller "
        "batch_size to avoid it."
    ]
    assert (
        "in 2 trials, so their batches were computed in parts of at most 4 to 8 images"
        in (memory_notes(micro_batches(math.nan, math.nan, 8.0, 4.0))[0])
    )


@pytest.mark.parametrize("sizes", [NONE, (8.0,) * 4])
def test_cells_that_agree_in_their_parts_need_no_warning(sizes: tuple[float, ...]) -> None:
    assert memory_warnings(micro_batches(*sizes)) == []


def test_cells_that_differ_in_their_parts_are_named() -> None:
    assert memory_warnings(micro_batches(math.nan, math.nan, 8.0, 4.0)) == [
        "Memory ran out in some cells only (c01), and their batches were computed in parts. Networks with batch norm "
        "or dropout train differently that way, so effects on these cells include this difference. Set a smaller "
        "batch_size for all cells."
    ]


def test_a_busy_machine_is_told() -> None:
    assert busy_notes(None, False) == busy_notes(0.05, False) == []
    assert busy_notes(0.42, True) == [
        "The CPU was busy with other work for 42% of the training time, so the times below are too long. Run with "
        "--exclusive-timing on an idle machine to measure iterations alone.",
        "Another process used the same GPU, so the times below are too long. Run with --exclusive-timing on an idle "
        "machine to measure iterations alone.",
    ]
    assert busy_notes(None, True, measured_alone=True) == [
        "Another process used the same GPU, so the times below are too long. The times of iterations measured alone "
        "are not affected."
    ]


def test_a_stored_size_that_depends_on_other_cells_is_told() -> None:
    assert stored_size_notes(128, [128], []) == []
    assert stored_size_notes(160, [64, 128], [256]) == [
        "Images are stored at 160 px (shorter side), as the largest size in this grid needs. In a grid with other "
        "sizes the same recipe sees slightly different pixels, so compare cells within one grid.",
        "Some cells train or evaluate at 256 px, above the stored size: this adds pixels and no detail. Use larger "
        "images to test these sizes.",
    ]


def test_the_totals_of_a_run(tables: RunTables) -> None:
    run = tables.run
    median, whole = run.measured.iteration_minutes_median, run.measured.run_minutes
    assert median is not None and whole is not None
    assert totals(run) == (
        f"127 trials done, 1 failed, 64 not applicable; {median:.1f} min per iteration (goal: 2.0 min), {whole:.0f} "
        "min in total."
    )
    bare = replace(run, goal_minutes=None, measured=MeasuredMinutes(0.05))
    assert totals(bare).endswith("64 not applicable; 3.0 s per iteration.")


def shown(run: RunRecord) -> dict[str, str]:
    return {term: value for term, value, _ in iteration.totals(run)}


def test_what_sharing_saved(tables: RunTables) -> None:
    facts = shown(replace(tables.run, sharing=Sharing(216, 84, 216 / 84, 30.0, 12.0)))
    assert facts["Training"] == "Shared stages cut 216 epochs to 84."
    assert facts["Compute time"] == "12 min over all workers; 30 min if every trial ran alone"
    assert not {"Training", "Compute time"} & set(shown(replace(tables.run, sharing=Sharing(84, 84, 1.0, 12.0, 12.0))))


def test_an_error_of_prediction_is_not_shown_where_the_machine_was_busy(tables: RunTables) -> None:
    run = replace(tables.run, predicted=PredictedMinutes(1.0, None, 3.24))
    assert shown(run)["Prediction error"] == "324% (median over trials)"
    assert shown(replace(run, cpu_wait=0.4))["Prediction error"] == (
        "unknown: the CPU was busy with other work, so the measured times are too long"
    )


def test_minutes_measured_alone(tables: RunTables) -> None:
    run = replace(tables.run, minutes_alone=0.1, cpu_wait_alone=0.2)
    assert shown(run)["Iteration, measured alone"] == (
        "6.0 s (median); the CPU was busy with other work for 20% of the time"
    )


def test_the_lead_names_the_best_cells(view: View) -> None:
    lead = verdict.section(view).lead
    assert lead.startswith("Most accurate: the baseline with normalize dataset, ")
    assert "cannot be told apart from it" in lead


def test_a_run_without_a_verdict_says_what_to_do() -> None:
    single = synthetic(seeds=1, factors={"mixup": FACTORS["mixup"]})
    analysis = answers_of(single)
    first: Any = verdict.section(View(single, analysis)).blocks[0]
    assert analysis.first.warnings and first.items == list(analysis.first.warnings)
    fixed = synthetic(seeds=2, factors={"mixup": ["0.0"]})
    section = verdict.section(View(fixed, answers_of(fixed)))
    note: Any = section.blocks[0]
    assert note.paragraphs == ["No factor has two levels with finished trials, so there is nothing to compare."]
    assert section.lead.startswith("The only cell: the baseline at ")


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ([2.0, 1.1, 1.0], "The loss still fell by 9.1% in the last epoch: longer training may change the ranking."),
        (
            [2.0, 1.005, 1.0],
            "The loss has levelled off in the cell shown: the last epoch brought at most 1% of its total fall.",
        ),
        (
            [2.0, 1.0, 1.2],
            "The loss has levelled off in 0 of 1 cells shown; it rose in the last epoch of baseline.",
        ),
        ([2.0, 1.0], "Too few epochs to see whether the loss has levelled off, or a loss that did not fall."),
    ],
)
def test_learning_curves(losses: list[float], says: str) -> None:
    part = pd.DataFrame({"epoch": range(len(losses)), "loss": losses, "seed": 0})
    assert learning.finding([("baseline", part)]) == says


def test_what_the_phases_forgot() -> None:
    gained = pd.DataFrame({"64 px": [50.0, 55.3], "128 px": [40.0, 60.0]}, index=["phase 1", "phase 2"])
    lost = pd.DataFrame({"64 px": [50.0, 48.0], "128 px": [40.0, 60.0]}, index=["phase 1", "phase 2"])
    assert forgetting.matrix_finding([("all trials", gained)]) == (
        "No resolution lost accuracy from the best earlier phase to the last; the smallest gain was +5.3 pp at 64 px."
    )
    assert forgetting.matrix_finding([("none", lost), ("ewc", gained)]) == (
        "Largest loss from the best earlier phase to the last: none −2.0 pp at 64 px; nothing with ewc."
    )


def test_what_more_seeds_would_detect(view: View) -> None:
    section = sensitivity.section(view)
    assert section is not None
    chart: Any = section.blocks[0]
    assert chart.finding.startswith("This run could detect effects of ")
    assert chart.finding.endswith("every contrast could detect the smallest effect of interest (1.0 pp).")
