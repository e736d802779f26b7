"""What the ledger remembers of a grid's runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sota_bench.grid import Grid
from sota_bench.plan.make import remake_plan
from sota_bench.plan.plan import Plan
from sota_bench.runs.confirmation import Confirmation, trials_digest
from sota_bench.runs.entry import Minutes, RunEntry
from sota_bench.runs.looks import trials_of_runs
from sota_bench.store import Store

_OF_IMAGES = ("prepare", "statistics")
"""Kinds of stages that depend on the images alone: grids that differ in everything else share them."""


def recorded_runs(store: Store, name: str) -> Iterator[RunEntry]:
    """What the ledger keeps of the runs of that name, the last one first; a run that was killed left nothing."""
    for row in reversed(store.runs()):
        if row.grid == name and row.summary:
            yield replace(RunEntry.from_json(row.summary), started=row.started)


def recorded_plan(grid: Grid, store: Store) -> tuple[Plan, RunEntry] | None:
    """The plan of a grid as its last run made it, and what the ledger keeps of that run; None where there is none.

    Raises:
        UserError: the run's manifest is gone from the store, or damaged.
    """
    for entry in recorded_runs(store, grid.name):
        if entry.keys:
            plan = _remade(grid, store, entry)
            if entry.keys.intersection(plan.stages):  # else it was another grid of the same name
                return plan, entry
    return None


def _remade(grid: Grid, store: Store, entry: RunEntry) -> Plan:
    """The plan of a recorded run; of one that goes on until it is decided, the trials of the looks that are done."""
    looks = entry.looks
    if looks is None or (last := looks.last_look) is None:
        return remake_plan(grid, store.root, entry.plan)
    plan = remake_plan(grid.with_seeds(looks.seeds[: last.seeds]), store.root, entry.plan)
    return plan.restricted(trials_of_runs(plan, looks.seeds, looks.runs))


def earlier_minutes(store: Store, name: str, plan: Plan) -> list[Minutes]:
    """Minutes of the earlier commands of that name that computed a part of this plan, the first one first.

    A run that was interrupted or extended is their sum, and one that is answered from the store took what it took
    then. Grids that share no more than the images are other grids.
    """
    keys = {key for key, stage in plan.stages.items() if stage.kind not in _OF_IMAGES}
    entries = [entry for entry in recorded_runs(store, name) if keys.intersection(entry.ran)]
    return [entry.minutes for entry in reversed(entries)]


def confirmed_name(grid: str) -> str:
    """Under which the ledger remembers the confirmations of a grid."""
    return f"{grid}, confirmed"


def confirmation_of(store: Store, plan: Plan) -> Confirmation | None:
    """The last confirmation of a winner among the trials of this plan; one of an edited grid does not count."""
    digest = trials_digest(plan)
    for entry in recorded_runs(store, confirmed_name(plan.grid.name)):
        if entry.confirmation is not None and entry.confirmation.chosen_from == digest:
            return entry.confirmation
    return None


def earlier_looks(store: Store, plan: Plan) -> int:
    """How often the test images have judged other trials of this grid before.

    Args:
        store: what there is.
        plan: of the trials that they are to judge now.
    """
    entries = recorded_runs(store, confirmed_name(plan.grid.name))
    return sum(bool(entry.keys) and not entry.keys >= set(plan.stages) for entry in entries)
