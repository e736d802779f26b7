"""``status GRID.toml``: done, running, failed, blocked, left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of
from sota_bench.commands.sources import each_source

if TYPE_CHECKING:
    from sota_bench.store import Store
    from sota_bench.store.ledger import StageRow

STATES = ("done", "running", "failed", "blocked", "left", "not applicable")
"""Of stages and trials, in the order in which they are shown."""


@click.command()
@grid_options
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
@each_source()
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Show how far a grid is: stages and trials done, running, failed, blocked and left."""
    from sota_bench.forecast.match import settle_schedules
    from sota_bench.plan.make import make_plan
    from sota_bench.runs.looks import with_looks
    from sota_bench.store import Store

    loaded = load_grid(grid, overrides, seeds, out, writes=False)
    machine = machine_of(store, device, workers, writes=False, grid=loaded)
    plan, _ = make_plan(settle_schedules(loaded, machine, measure=False), machine)
    plan = with_looks(plan, store, lambda wide: make_plan(wide, machine)[0])
    selected = {trial.id for trial in plan.grid.only(only)} if only else None
    results = Store(store)
    rows, holder = results.rows(), results.holder()
    stages = {
        key: stage for key, stage in plan.stages.items() if selected is None or selected.intersection(stage.trials)
    }
    states = {key: _state(key, results, rows, holder is not None) for key in stages}
    trials = []
    for trial in plan.trials:
        if selected is None or trial.trial.id in selected:
            own = () if trial.inapplicable else (*trial.computed, *trial.training, trial.final.key)
            trials.append("not applicable" if trial.inapplicable else _worst(states[key] for key in own))
    failures = [
        {
            "stage": stages[key].title,
            "trials": list(stages[key].trials),
            "reason": rows[key].reason,
            "log": str(results.root / rows[key].log) if rows[key].log else "",
        }
        for key, state in states.items()
        if state == "failed"
    ]
    running = [stages[key].title for key, state in states.items() if state == "running"]
    if as_json:
        answer: dict[str, Any] = {
            "grid": loaded.name,
            "trials": dict(Counter(trials)),
            "stages": dict(Counter(states.values())),
            "running": running,
            "failures": failures,
            "holder": str(holder) if holder else None,
        }
        click.echo(json.dumps(answer))
        return 0
    click.echo(f"trials: {_counts(trials)}")
    click.echo(f"stages: {_counts(states.values())}")
    for title in running:
        click.echo(f"running: {title}")
    for failure in failures:
        log = f" (log: {failure['log']})" if failure["log"] else ""
        click.echo(f"failed: {failure['stage']}: {failure['reason']}{log}")
    if holder:
        click.echo(f"in use by {holder}")
    return 0


def _counts(states: Iterable[str]) -> str:
    """``12 (8 done, 4 left)``; how many are done stands there in any case."""
    counts = Counter(states)
    parts = [f"{counts[state]} {state}" for state in STATES if counts[state] or state == "done"]
    return f"{counts.total()} ({', '.join(parts)})"


def _state(key: str, results: Store, rows: Mapping[str, StageRow], held: bool) -> str:
    if results.is_done(key):
        return "done"
    status = rows[key].status if key in rows else "left"
    if status in ("failed", "blocked"):
        return status
    return "running" if status == "running" and held else "left"


def _worst(states: Iterable[str]) -> str:
    present = set(states)
    return next((state for state in ("failed", "blocked", "running", "left") if state in present), "done")
