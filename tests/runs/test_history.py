"""What the ledger remembers of a grid's runs, and to which grid it belongs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sota_bench.plan.plan import Plan
from sota_bench.plan.recorded import plan_record
from sota_bench.runs.confirmation import Confirmation, Difference, trials_digest
from sota_bench.runs.entry import Minutes, RunEntry, total_minutes
from sota_bench.runs.history import (
    confirmation_of,
    confirmed_name,
    earlier_looks,
    earlier_minutes,
    recorded_plan,
    recorded_runs,
)
from sota_bench.store import Store

PlanOf = Callable[[str], Plan]


def enter(store: Store, name: str, entry: RunEntry) -> None:
    """A run in the ledger."""
    with store.hold("test"):
        store.end_run(store.begin_run(name, "out", "command"), entry.to_json())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def confirmed(plan: Plan) -> Confirmation:
    difference = Difference(1.0, 0.2, 2.0, 0.1, 1.9, 0.04, 3, "seeds and images", 0.1, 0.17, "helps")
    return Confirmation(trials_digest(plan), "c00", "c01", {"lr": "0.002"}, difference, difference, 0.9, 1, ("a",))


def test_an_entry_is_read_as_it_was_written_and_by_other_versions(plan: Plan) -> None:
    entry = RunEntry(
        "now", "run", "abc", 2, plan_record(plan), ("c00-s0",), ("a",), ("b",), {"a": "new"}, Minutes(1.5, 1.2),
        Minutes(3.0), {"c00-s0": 0.5}, {"c00-s0": 0.4}, 0.1, confirmed(plan),
    )  # fmt: skip
    values = json.loads(json.dumps(entry.to_json()))
    assert RunEntry.from_json(values) == entry
    assert RunEntry.from_json({**values, "later": 1}) == entry
    assert RunEntry.from_json({}) == RunEntry()
    earlier = {"confirmation": {"baseline": "c00", "winner": "c01", "words": []}}
    assert RunEntry.from_json(earlier).confirmation is None


def test_minutes_add_up_and_their_prediction_only_where_each_has_one() -> None:
    assert total_minutes([]) is None
    assert total_minutes([Minutes(1.0, 2.0), Minutes(0.5, 0.25)]) == Minutes(1.5, 2.25)
    assert total_minutes([Minutes(1.0, 2.0), Minutes(0.5)]) == Minutes(1.5, None)


def test_a_confirmation_belongs_to_the_trials_that_it_confirmed(store: Store, plan: Plan, plan_of: PlanOf) -> None:
    assert confirmation_of(store, plan) is None
    enter(store, confirmed_name("rates"), RunEntry(confirmation=confirmed(plan)))
    assert confirmation_of(store, plan) == confirmed(plan)
    assert confirmation_of(store, plan_of("[0.001, 0.004]")) is None, "another winner may be the best now"
    assert confirmation_of(store, plan_of("[0.001, 0.002]")) is not None, "edited back"


def test_minutes_in_all_are_those_of_commands_that_computed_a_part(store: Store, plan: Plan, plan_of: PlanOf) -> None:
    training = [key for key, stage in plan.stages.items() if stage.kind == "train"]
    images = [key for key, stage in plan.stages.items() if stage.kind in ("prepare", "statistics")]
    assert images and training
    enter(store, "rates", RunEntry(minutes=Minutes(0.8), ran=(*images, training[0])))
    enter(store, "rates", RunEntry(minutes=Minutes(0.7), ran=(training[1],)))
    enter(store, "others", RunEntry(minutes=Minutes(9.0), ran=(training[1],)))
    assert earlier_minutes(store, "rates", plan) == [Minutes(0.8), Minutes(0.7)]
    edited = plan_of("[0.003, 0.004]")
    assert set(images) <= set(edited.stages), "they share the decoded images"
    assert earlier_minutes(store, "rates", edited) == []


def test_a_plan_is_made_again_as_the_last_run_of_the_grid_made_it(store: Store, plan: Plan, plan_of: PlanOf) -> None:
    assert recorded_plan(plan.grid, store) is None
    plan.images.manifest.save(plan.prepare_context.manifest)
    enter(store, "rates", RunEntry(workers=1, plan=plan_record(plan)))
    enter(store, "rates", RunEntry(plan=plan_record(plan_of("[0.003]"))))
    recorded = recorded_plan(plan.grid, store)
    assert recorded is not None and set(recorded[0].stages) == set(plan.stages)
    with store.hold("test"):
        store.begin_run("rates", "out", "killed")
    assert len(list(recorded_runs(store, "rates"))) == 2


def test_looks_at_the_test_images_are_counted(store: Store, plan: Plan, plan_of: PlanOf) -> None:
    enter(store, confirmed_name("rates"), RunEntry(plan=plan_record(plan)))
    assert earlier_looks(store, plan) == 0, "the same trials again"
    assert earlier_looks(store, plan_of("[0.003]")) == 1
    assert earlier_looks(store, replace(plan, grid=plan.grid.model_copy(update={"name": "other"}))) == 0
