"""From a plan and what a store holds of it to tables: no training, results are written as a worker would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sota_bench.grid import load
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.plan.plan import Plan
from sota_bench.report.collect import Collector
from sota_bench.report.output import write
from sota_bench.report.rows import TrialRow
from sota_bench.runs.entry import Minutes, RunEntry
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

GRID = """
[grid]
name = "collected"
question = "Does mixup help?"
notes = "Only a try."
seeds = [0, 1]
smallest_effect = 1.0

[recipe]
backbone = "test_resnet"
resize = "32x2"

[factors]
resize = ["32x2", "32x1 64x1"]
mixup = [0.0, 0.4]
mitigation = ["none", "freeze"]
"""

SCORES = {"accuracy": 70.0, "nll": 1.0, "ece": 0.05, "brier": 0.4, "confidence": 0.75, "images": 100}
BINS = {"low": [0.0, 0.5], "high": [0.5, 1.0], "count": [40, 60], "confidence": [0.4, 0.8], "accuracy": [0.5, 0.8]}
EVALUATED = {
    **SCORES, "reliability": BINS, "latency_ms": 0.4, "images_per_s": 900.0, "params": 1000, "layers": 10, "flops": 5000
}  # fmt: skip


def values(stage: Stage) -> dict[str, Any]:
    """A result of a stage as its kind writes it."""
    if stage.kind == "train":
        curve = [
            {"epoch": epoch, "size": 32, "loss": 2.0 - epoch, "lr": 0.1, "seconds": 1.0, "images_per_s": 100.0}
            for epoch in range(stage.epochs)
        ]
        times = {"first": 9.0, "median": 2.0, "p90": 3.0, "p99": 4.0}
        return {
            "curve": curve, "steps": 10, "batch_size": 64, "steps_at_size": {"32": 10}, "pixels": 1024,
            "step_ms": times, "images_per_s": 100.0, "trained_parameters": 1000, "cpu_wait": 0.25,
            "techniques": {"mixup": {"alpha": 0.4}},
        }  # fmt: skip
    return EVALUATED if stage.kind == "evaluate" else {"images": 100, "bytes": 1000}


def finish(store: Store, stage: Stage) -> None:
    """Commit a stage as if it had been run alone in six seconds."""
    part = stage.kind if stage.kind in ("train", "evaluate") else "prepare"
    store.running(stage, 1)
    store.commit(stage, store.workspace(stage.key), values(stage), {part: 6.0}, 100.0, 1)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("plan")
    file = folder / "grid.toml"
    file.write_text(GRID)
    return make_plan(load(file), Machine(folder / "store", "cpu", 1))[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    held = Store(tmp_path / "store")
    with held.hold("test"):
        yield held


def rows(collector: Collector) -> dict[str, dict[str, Any]]:
    return {str(row["trial"]): row for row in collector.trial_table().to_dict("records")}


def test_a_trial_counts_its_own_stages_and_shared_ones_in_full(plan: Plan, store: Store) -> None:
    for stage in plan.stages.values():
        finish(store, stage)
    collector = Collector(plan, store, RunEntry(predicted_minutes={"c00-s0": 0.5}))
    table = rows(collector)
    first = table["c00-s0"]
    assert first["status"] == "done" and first["accuracy"] == 70.0
    assert first["minutes"] == pytest.approx(0.2), "one training and one evaluation of 6 s each"
    assert first["predicted_minutes"] == 0.5
    rising = next(row for row in table.values() if row["resize"] == "32x1 64x1" and row["status"] == "done")
    assert rising["minutes"] == pytest.approx(0.3), "two phases and one evaluation"
    assert (rising["stability"], rising["forgetting"]) == (70.0, 0.0)
    assert {row["status"] for row in table.values() if row["mitigation"] == "freeze" and row["resize"] == "32x2"} == {
        "not_applicable"
    }
    assert list(first)[:6] == ["trial", "cell", "resize", "mixup", "mitigation", "seed"]
    assert set(first) >= {name for name in TrialRow.__annotations__ if name not in ("levels", "recalls")}


def test_what_the_run_is_told_by_its_plan_and_its_stages(plan: Plan, store: Store, tmp_path: Path) -> None:
    for stage in plan.stages.values():
        finish(store, stage)
    tables = Collector(plan, store, RunEntry(command="run grid.toml", total_minutes=Minutes(2.0))).tables()
    run = tables.run
    assert (run.question, run.grid.notes) == ("Does mixup help?", "Only a try.")
    assert run.counts.done == run.counts.asked == 12 and run.counts.not_applicable == 4
    assert run.sharing.epochs_run < run.sharing.epochs_asked == 24
    assert run.cpu_wait == pytest.approx(0.25)
    assert run.grid.data["stored_size"] == plan.images.size
    assert {technique.field for technique in tables.techniques} >= {"mixup", "mitigation"}
    assert {t.field for t in tables.techniques if t.is_mitigation} == {"mitigation"}
    assert len(tables.evaluations) > 12 and set(tables.evaluations["accuracy"]) == {70.0}
    assert len(tables.curves) == 24 and len(tables.reliability) == 2 * 12
    write(tmp_path / "out", tables)
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert written == json.loads(json.dumps(run.to_json()))
    assert written["measured"]["run_minutes"] == 2.0 and written["grid"]["factors"]["mixup"] == ["0.0", "0.4"]


def test_stages_of_different_cells_have_different_titles(plan: Plan, store: Store) -> None:
    titles = Collector(plan, store).tables().stages["title"]
    assert titles.is_unique


def test_a_trial_that_was_not_asked_for_is_not_blocked(plan: Plan, store: Store) -> None:
    """``--only`` left it out: it is neither done nor waiting, and nothing that it would share is counted as saved."""
    selected = {trial.trial.id for trial in plan.trials if trial.trial.cell.text["mixup"] == "0.0"}
    for stage in plan.stages.values():
        if selected.intersection(stage.trials):
            finish(store, stage)
    collector = Collector(plan, store, RunEntry(selected=tuple(sorted(selected))))
    table = rows(collector)
    assert {row["status"] for name, row in table.items() if name not in selected} == {"not_asked", "not_applicable"}
    assert {row["status"] for name, row in table.items() if name in selected} == {"done", "not_applicable"}
    run = collector.tables().run
    assert (run.counts.not_asked, run.counts.blocked, run.counts.asked) == (6, 0, 6)
    assert run.sharing.epochs_asked == 12


def test_a_failed_trial_names_a_log_that_can_be_opened(plan: Plan, store: Store) -> None:
    trial = next(trial for trial in plan.trials if trial.inapplicable is None)
    stage = plan.stages[trial.training[0]]
    store.running(stage, 1)
    store.fail(stage, "the loss was not finite", "diverged")
    row = rows(Collector(plan, store))[trial.trial.id]
    assert row["status"] == "failed"
    assert row["error"] == f"diverged: the loss was not finite (log: {store.shown_log(stage.key)})"
