"""``status GRID.toml``: done, running, failed, blocked, left."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of


@click.command()
@grid_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Show how far a grid is: stages and trials done, running, failed, blocked and left."""
    from sota_bench.forecast.match import settle_schedules
    from sota_bench.plan.make import make_plan
    from sota_bench.store import Store

    question = load_grid(grid, overrides, seeds, out, writes=False)
    selected = {trial.id for trial in question.only(only)} if only else None
    machine = machine_of(store, device, workers, writes=False)
    plan, _ = make_plan(settle_schedules(question, machine, measure=False), machine)
    shelf = Store(store)
    rows = shelf.rows()
    holder = shelf.holder()
    states = {key: _state(key, shelf, rows, holder is not None) for key in plan.stages}
    trials = {}
    for trial in plan.trials:
        if selected is None or trial.trial.id in selected:
            keys = () if trial.inapplicable else (*trial.computed, *trial.training, trial.final.key)
            trials[trial.trial.id] = "not applicable" if trial.inapplicable else _worst([states[key] for key in keys])
    failures = [
        {
            "stage": plan.stages[key].title,
            "trials": list(plan.stages[key].trials),
            "reason": rows[key].reason,
            "log": rows[key].log,
        }
        for key, state in states.items() if state == "failed"
    ]  # fmt: skip
    answer: dict[str, Any] = {
        "grid": question.name,
        "trials": dict(Counter(trials.values())),
        "stages": dict(Counter(states.values())),
        "running": [plan.stages[key].title for key, state in states.items() if state == "running"],
        "failures": failures,
        "holder": str(holder) if holder else None,
    }
    if as_json:
        click.echo(json.dumps(answer))
        return 0
    order = ("done", "running", "failed", "blocked", "left", "not applicable")
    for what in ("trials", "stages"):
        counts = answer[what]
        total = sum(counts.values())
        click.echo(
            f"{what}: {total} ("
            + ", ".join(f"{counts.get(name, 0)} {name}" for name in order if counts.get(name) or name in order[:1])
            + ")"
        )
    for title in answer["running"]:
        click.echo(f"running: {title}")
    for failure in failures:
        click.echo(
            f"failed: {failure['stage']}: {failure['reason']}" + (f" (log: {failure['log']})" if failure["log"] else "")
        )
    if holder:
        click.echo(f"in use by {holder}")
    return 0


def _state(key: str, shelf: Any, rows: Any, held: bool) -> str:
    if shelf.is_done(key):
        return "done"
    status = rows[key].status if key in rows else "left"
    if status in ("failed", "blocked"):
        return str(status)
    return "running" if status == "running" and held else "left"


def _worst(states: list[str]) -> str:
    return next((state for state in ("failed", "blocked", "running", "left") if state in states), "done")
